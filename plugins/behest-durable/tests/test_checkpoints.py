"""What a checkpoint alone tells, where nothing of an invocation is left."""

from datetime import UTC, datetime, timedelta

import pytest
from aws_durable_execution_sdk_python.lambda_service import (
    CallbackDetails,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
)
from aws_durable_execution_sdk_python.plugin import InvocationEndInfo, InvocationStatus
from behest_durable.execution import Invocation

from behest_core.recording.adapter import run_record
from behest_core.testing.recorded import recorded

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class State:
    """A checkpoint, as the SDK has it."""

    def __init__(self, *operations):
        self.operations = {each.operation_id: each for each in operations}


def operation(operation_id, kind, status, *, seconds=None, **more):
    return Operation(
        operation_id,
        OperationType[kind],
        OperationStatus[status],
        start_timestamp=BEGAN,
        end_timestamp=None if seconds is None else BEGAN + timedelta(seconds=seconds),
        **more,
    )


@pytest.fixture
def invoke(stack):
    """Record an invocation that begins with a checkpoint and ends so; return the log."""

    def invoke_(status, *operations, do=lambda run: None):
        record = run_record("lambda-durable", "arn", provider="stub", model="stub-1", session_id="s")
        invocation = Invocation(stack.store.event_log, record, {}, lambda result: "granted")
        invocation.handler_begins(State(*operations))
        do(invocation.run)
        invocation.on_invocation_end(
            InvocationEndInfo("request", "arn", is_first_invocation=False, status=InvocationStatus[status])
        )
        return recorded(stack.store, "arn")

    return invoke_


def test_the_answer_to_a_pause_that_nobody_wrote_has_its_pause_before_it(invoke):
    details = CallbackDetails("callback-1", result="yes")
    callback = operation("op", "CALLBACK", "SUCCEEDED", seconds=60, name="approval", callback_details=details)
    run = invoke("SUCCEEDED", callback)
    assert run.types == [
        "RunStarted",
        "agent.StepStarted",
        "agent.StepFinished",
        "agent.Paused",
        "agent.Resumed",
        "RunCompleted",
    ]
    assert run.of("agent.Paused")[0]["pending"] == ["callback-1"]
    assert run.of("agent.Paused")[0]["timestamp"] == "2026-01-01T00:00:00.000000Z"
    assert run.of("agent.Resumed")[0]["answers"] == {"callback-1": "granted"}
    assert run.of("agent.Resumed")[0]["timestamp"] == "2026-01-01T00:01:00.000000Z"


@pytest.mark.parametrize(
    ("status", "word"),
    [("FAILED", "denied"), ("TIMED_OUT", "expired"), ("CANCELLED", "expired"), ("STOPPED", "expired")],
)
def test_each_way_a_callback_ends_has_its_word(invoke, status, word):
    callback = operation("op", "CALLBACK", status, seconds=60, callback_details=CallbackDetails("callback-1"))
    run = invoke("FAILED", callback)
    assert run.of("agent.Resumed")[0]["answers"] == {"callback-1": word}
    assert run.of("agent.StepFinished")[0]["error"] == status.lower().replace("_", " ")


def test_attempts_that_nobody_wrote_are_told_with_the_error_that_is_left(invoke):
    error = ErrorObject(message="not yet", type="ValueError", data=None, stack_trace=None)
    step = operation("op", "STEP", "PENDING", name="try", step_details=StepDetails(attempt=2, error=error))
    run = invoke("PENDING", step)
    assert [(each["step_id"], each["error"]) for each in run.of("agent.StepFinished")] == [
        ("op", "failed, and was tried again"),
        ("op/2", "ValueError: not yet"),
    ]
    assert run.types[-1] != "RunCompleted"


def test_a_step_that_has_begun_and_not_ended_is_told_so(invoke):
    run = invoke("PENDING", operation("op", "STEP", "STARTED", step_details=StepDetails(attempt=1)))
    assert [each["step_id"] for each in run.of("agent.StepStarted")] == ["op", "op/2"]
    assert [each["step_id"] for each in run.of("agent.StepFinished")] == ["op"]


def test_a_step_that_went_well_took_as_long_as_it_took(invoke):
    step = operation("op", "STEP", "SUCCEEDED", seconds=2.5, step_details=StepDetails(attempt=1))
    run = invoke("SUCCEEDED", step)
    assert run.of("agent.StepFinished")[0]["duration_ms"] == 2500


def test_the_same_checkpoint_again_adds_nothing(invoke):
    details = CallbackDetails("callback-1")
    operations = [
        operation("op", "STEP", "SUCCEEDED", seconds=1, step_details=StepDetails(attempt=1)),
        operation("waits", "CALLBACK", "STARTED", name="approval", callback_details=details),
    ]
    first = invoke("PENDING", *operations)
    assert invoke("PENDING", *operations).events == first.events
    assert invoke("RETRY", *operations).events == first.events


def test_an_invocation_that_will_be_tried_again_is_no_end(invoke):
    assert invoke("RETRY").types == ["RunStarted"]


def test_calls_that_an_invocation_broke_off_end_when_the_next_one_begins(invoke):
    def call(run):
        run.model_call(model_call_id="call-1", step_id="op")
        run.tool_started("tool-1", "search")

    invoke("RETRY", do=call)
    run = invoke("PENDING", do=lambda run: run.model_call(model_call_id="call-2"))
    assert [each["model_call_id"] for each in run.of("agent.ModelFailed")] == ["call-1"]
    assert run.types.index("agent.ModelFailed") < len(run.types) - 1 - run.types[::-1].index("ModelStarted")
    assert [each["call_id"] for each in run.of("ToolExecutionFinished")] == ["tool-1"]


def test_what_happened_before_an_invocation_is_told_before_what_it_does(invoke):
    step = operation("op", "STEP", "SUCCEEDED", seconds=1, step_details=StepDetails(attempt=1))
    run = invoke("SUCCEEDED", step, do=lambda run: run.model_call(model_call_id="call-1").finished())
    assert run.types.index("agent.StepFinished") < run.types.index("ModelStarted")
