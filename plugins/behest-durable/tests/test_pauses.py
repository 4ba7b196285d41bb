"""An execution that waits for somebody: the pause, who it waits for, and the answer."""

import json
import threading

import pytest
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration, WaitForCallbackConfig
from aws_durable_execution_sdk_python.lambda_service import ErrorObject

from behest_core.testing.recorded import the_recorded


def approval(event, context):
    return context.wait_for_callback(lambda callback_id, _: None, name="approval")


def by_approved(result):
    return "granted" if json.loads(result)["approved"] else "denied"


def run(stack, service, function, answer):
    """Run it, and complete its callback in this way when it waits; return the callback's id."""
    execution = service.start(function)
    callback_id = execution.callback("approval create callback id")
    execution.told(stack.store, "agent.Paused")
    answer(execution, callback_id)
    execution.result()
    return callback_id


def test_a_callback_is_a_pause_and_its_completion_an_answer(stack, service, record):
    callback_id = run(
        stack, service, record(approval), lambda execution, callback: execution.succeed(callback, b'"yes"')
    )
    log = the_recorded(stack.store)
    (paused,), (resumed,) = log.of("agent.Paused"), log.of("agent.Resumed")
    assert (paused["reason"], paused["pending"]) == ("waits for approval", [callback_id])
    assert resumed["answers"] == {callback_id: "answered"}
    assert "paused_run_id" not in resumed
    assert log.types.index("agent.Paused") < log.types.index("agent.Resumed") < log.types.index("RunCompleted")


def test_the_user_says_what_is_a_yes(stack, service, record):
    function = record(approval, answer_of=by_approved)
    callback_id = run(stack, service, function, lambda execution, each: execution.succeed(each, b'{"approved": true}'))
    assert the_recorded(stack.store).of("agent.Resumed")[0]["answers"] == {callback_id: "granted"}


def test_the_user_says_what_is_a_no(stack, service, record):
    function = record(approval, answer_of=by_approved)
    callback_id = run(stack, service, function, lambda execution, each: execution.succeed(each, b'{"approved": false}'))
    assert the_recorded(stack.store).of("agent.Resumed")[0]["answers"] == {callback_id: "denied"}


def test_a_callback_that_fails_is_a_denial(stack, service, record):
    error = ErrorObject(message="not with me", type="Refused", data=None, stack_trace=None)
    callback_id = run(stack, service, record(approval), lambda execution, callback: execution.fail(callback, error))
    log = the_recorded(stack.store)
    assert log.of("agent.Resumed")[0]["answers"] == {callback_id: "denied"}
    assert log.types[-1] == "RunFailed"
    assert "not with me" in log.of("RunFailed")[0]["error"]


def test_a_callback_that_nobody_answers_expires(stack, service, record):
    def handler(event, context):
        config = WaitForCallbackConfig(timeout=Duration.from_seconds(1))
        return context.wait_for_callback(lambda callback_id, _: None, name="approval", config=config)

    service.run(record(handler))
    log = the_recorded(stack.store)
    assert list(log.of("agent.Resumed")[0]["answers"].values()) == ["expired"]
    assert len(log.of("agent.Paused")) == 1


def test_a_wait_for_the_time_is_no_pause(stack, service, record):
    service.run(record(lambda event, context: context.wait(Duration.from_seconds(60))))
    log = the_recorded(stack.store)
    assert log.of("agent.Paused") == []
    assert [each["kind"] for each in log.of("agent.StepStarted")] == ["wait"]


def test_an_execution_that_wakes_for_a_timer_still_waits_for_the_same(stack, service, record):
    def handler(event, context):
        callback = context.create_callback(name="approval", config=CallbackConfig())
        context.wait(Duration.from_seconds(60), name="a minute")
        return callback.result()

    execution = service.start(record(handler))
    callback_id = execution.callback("approval")
    execution.told(stack.store, "agent.StepFinished")
    execution.succeed(callback_id, b"yes")
    execution.result()
    log = the_recorded(stack.store)
    assert [each["pending"] for each in log.of("agent.Paused")] == [[callback_id]]
    assert [each["answers"] for each in log.of("agent.Resumed")] == [{callback_id: "answered"}]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_left_to_answer_is_a_pause_again(stack, service, record, order):
    def handler(event, context):
        callbacks = [context.create_callback(name=name) for name in ("legal", "money")]
        return [callbacks[index].result() for index in order]

    execution = service.start(record(handler))
    ids = [execution.callback(name) for name in ("legal", "money")]
    first, second = (ids[index] for index in order)
    execution.told(stack.store, "agent.Paused")
    execution.succeed(first, b"yes")
    execution.told(stack.store, "agent.Paused", 2)
    execution.succeed(second, b"yes")
    execution.result()
    log = the_recorded(stack.store)
    assert [each["pending"] for each in log.of("agent.Paused")] == [ids, [second]]
    assert [each["answers"] for each in log.of("agent.Resumed")] == [{first: "answered"}, {second: "answered"}]


def test_an_answer_that_comes_before_the_execution_stops_is_no_pause(stack, service, record):
    def handler(event, context):
        callback = context.create_callback(name="approval")
        context.step(lambda step: executions[0].succeed(callback.callback_id, b"yes"), name="answer it")
        return callback.result()

    executions = [service.start(record(lambda event, context: begun.wait(30) and handler(event, context)))]
    begun.set()
    executions[0].result()
    log = the_recorded(stack.store)
    assert log.of("agent.Paused") == []
    assert [list(each["answers"].values()) for each in log.of("agent.Resumed")] == [["answered"]]


begun = threading.Event()
