"""What can be chosen, beside what is told of the run."""

import pytest
from aws_durable_execution_sdk_python.plugin import DurableInstrumentationPlugin
from behest_durable import recorded
from durable_models import ask, tried

from behest_core.testing.recorded import the_recorded


def test_a_setting_that_there_is_not_is_refused_at_once(stack):
    with pytest.raises(TypeError, match="on_error is no setting"):
        recorded(stack.store, provider="stub", model="stub-1", on_error="raise")


def test_without_content_nothing_is_told_that_was_said(stack, service, record):
    def raises(step):
        ask()
        raise ValueError("the secret")

    service.run(record(lambda event, context: context.step(raises, name="ask", config=tried(1)), content=False))
    run = the_recorded(stack.store)
    assert "secret" not in str(run.events)
    assert "degrees" not in str(run.events)
    assert run.of("agent.StepFinished")[0]["error"] == "ValueError"


def test_what_is_written_can_be_redacted(stack, service, record):
    def redact(event):
        return None if event["type"] == "TextDelta" else event

    service.run(record(lambda event, context: context.step(ask, name="ask"), redact=redact))
    run = the_recorded(stack.store)
    assert run.text == ""
    assert len(run.of("agent.ModelFinished")) == 1


def test_the_sdks_other_plugins_hear_as_before(stack, service, record):
    heard = []

    class Other(DurableInstrumentationPlugin):
        def on_invocation_end(self, info):
            heard.append(info.status.value)

    class Factory:
        def create_plugin(self, _):
            return Other()

    service.run(record(lambda event, context: 1, plugins=[Factory()]))
    assert heard == ["SUCCEEDED"]
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]


def test_the_handler_keeps_its_name(record):
    def handler(event, context):
        """Do it."""

    assert record(handler).__name__ == "handler"
