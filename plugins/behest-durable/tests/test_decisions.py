"""A person's decision in behest completes the callback that an execution waits for."""

import json
import logging

import pytest
from behest_durable import plugin
from botocore.exceptions import ClientError

from behest_core.plugins import Decided
from behest_core.testing.recorded import the_recorded

FRAMEWORK = {"framework": "lambda-durable"}


class Lambda:
    """Stands in for AWS Lambda: completes callbacks of an execution, or refuses with an error."""

    def __init__(self, execution=None, code=None):
        self.execution, self.code, self.completed = execution, code, []

    def send_durable_execution_callback_success(self, CallbackId, Result):  # noqa: N803 (boto3's names)
        if self.code is not None:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "SendDurableExecutionCallbackSuccess")
        self.completed.append((CallbackId, json.loads(Result)))
        if self.execution is not None:
            self.execution.succeed(CallbackId, Result)


def decided(metadata=FRAMEWORK, **about):
    known = {"id": "r#3#c", "run_id": "r", "session_id": "s", "call_id": "c", "granted": True, "by": "anna"}
    known |= {"reason": None, "sequence": 3, "decided_at": "2026-01-31T12:00:00Z"}
    return Decided(metadata=metadata, **{**known, **about})


@pytest.fixture
def aws(monkeypatch):
    """Let the plugin meet another Lambda."""

    def meet(service):
        monkeypatch.setattr(plugin, "client", lambda: service)
        return service

    return meet


def test_what_a_person_decides_reaches_the_handler_and_is_in_the_log_once(stack, service, record, aws):
    def handler(event, context):
        return context.wait_for_callback(lambda callback_id, _: None, name="approval")

    execution = service.start(record(handler))
    callback_id = execution.callback("approval create callback id")
    execution.told(stack.store, "agent.Paused")
    run_id = the_recorded(stack.store).record.run_id
    sequence = stack.store.decide(run_id, callback_id, granted=False, by="anna", reason="too much")
    aws(Lambda(execution))
    metadata = stack.store.get_record(run_id).metadata
    plugin.behest_decided(
        decided(metadata, run_id=run_id, call_id=callback_id, granted=False, reason="too much", sequence=sequence)
    )
    assert json.loads(json.loads(execution.result().result)) == {"granted": False, "by": "anna", "reason": "too much"}
    assert [each["answers"] for each in the_recorded(stack.store).of("agent.Resumed")] == [{callback_id: "denied"}]


@pytest.mark.parametrize("metadata", [{"framework": "strands"}, {}, None, ["lambda-durable"]])
def test_runs_of_other_frameworks_are_not_its_business(aws, metadata):
    service = aws(Lambda())
    plugin.behest_decided(decided(metadata))
    assert service.completed == []


def test_a_callback_that_is_closed_is_a_warning(aws, caplog):
    aws(Lambda(code="CallbackTimeoutException"))
    with caplog.at_level(logging.WARNING, "behest_core"):
        plugin.behest_decided(decided())
    assert "r#3#c met a callback that is closed" in caplog.text


def test_anything_else_is_raised_for_the_notifier_to_put_aside(aws):
    aws(Lambda(code="AccessDeniedException"))
    with pytest.raises(ClientError):
        plugin.behest_decided(decided())
