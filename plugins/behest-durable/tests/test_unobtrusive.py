"""Whatever happens to the recording, the execution does what it does without."""

import pytest
from aws_durable_execution_sdk_python.config import Duration
from behest_durable import execution
from durable_models import ask

from behest_core.recording.recorder import RunRecorder
from behest_core.testing.recorded import refuse_writes, the_recorded


@pytest.fixture
def short_waits(monkeypatch):
    """Don't wait long for a table that is away."""
    monkeypatch.setattr(execution, "END_WAIT", 0.05)


def handler(event, context):
    context.step(ask, name="one")
    context.wait(Duration.from_seconds(60), name="a minute")
    return context.step(ask, name="two")


@pytest.mark.usefixtures("short_waits")
def test_a_table_that_is_away_changes_nothing(stack, service, record):
    let_through = refuse_writes(stack)
    try:
        result = service.run(record(handler, give_up_after=0.1))
    finally:
        let_through()
    assert result.result == '"It is 3 degrees."'


@pytest.mark.usefixtures("short_waits")
def test_what_an_invocation_could_not_write_the_next_one_does(stack, service, record):
    let_through = refuse_writes(stack)

    def back_in_time(event, context):
        context.step(ask, name="one")
        context.wait(Duration.from_seconds(60), name="a minute")
        let_through()
        return context.step(ask, name="two")

    execution_ = service.start(record(back_in_time, give_up_after=0.1))
    execution_.result()
    run = the_recorded(stack.store)
    assert [each["name"] for each in run.of("agent.StepStarted")].count("one") == 1
    assert run.types.count("agent.StepFinished") == 3
    assert run.types[-1] == "RunCompleted"


@pytest.mark.usefixtures("short_waits")
def test_a_table_that_is_away_is_waited_for_once_and_not_at_each_step(stack, service, record, monkeypatch):
    waits, flush = [], RunRecorder.flush

    def flushed(run, timeout=None):
        waits.append(timeout)
        return flush(run, timeout)

    def many(event, context):
        for number in range(5):
            context.step(ask, name=str(number))

    monkeypatch.setattr(RunRecorder, "flush", flushed)
    let_through = refuse_writes(stack)
    running = service.start(record(many))
    running.result()
    let_through()
    running.told(stack.store, "RunCompleted")
    assert waits == [0.05, *[0.0] * 6]


def test_functions_of_the_user_that_raise_cost_what_they_would_have_told(stack, service, record):
    def raises(given):
        raise RuntimeError("a bug")

    def approval(event, context):
        return context.wait_for_callback(lambda callback_id, _: None, name="approval")

    started = service.start(record(approval, session_id=raises, answer_of=raises))
    callback_id = started.callback("approval create callback id")
    started.succeed(callback_id, b'"yes"')
    assert started.result().status.value == "SUCCEEDED"
    assert the_recorded(stack.store).of("agent.Resumed")[0]["answers"] == {callback_id: "answered"}
