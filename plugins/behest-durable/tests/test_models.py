"""Calls of a model that a step makes by hand."""

import asyncio

from aws_durable_execution_sdk_python.config import Duration
from behest_durable import current_step
from durable_models import QUESTION, ask, tried

from behest_core.model.agent_events import ModelRequested
from behest_core.model.conversation import Requests
from behest_core.testing.recorded import the_recorded


def test_a_call_belongs_to_the_step_that_makes_it(stack, service, record):
    service.run(record(lambda event, context: context.step(ask, name="ask")))
    run = the_recorded(stack.store)
    (step,) = run.of("agent.StepStarted")
    told = [each for each in run.events if "model_call_id" in each]
    assert [each["type"] for each in told] == [
        "ModelStarted",
        "agent.ModelRequested",
        "TextDelta",
        "TextDelta",
        "UsageRecorded",
        "agent.ModelFinished",
    ]
    assert {each["step_id"] for each in told} == {step["step_id"]}
    assert run.text == "It is 3 degrees."
    assert run.state.total_usage.total_tokens == 15


def test_what_a_model_was_sent_is_in_the_log_whole(stack, service, record):
    def handler(event, context):
        context.step(ask, name="ask")
        context.wait(Duration.from_seconds(60))
        context.step(lambda step: ask(messages=[*QUESTION, {"role": "user", "content": "And in Rome?"}]), name="again")

    service.run(record(handler))
    run = the_recorded(stack.store)
    requests = Requests()
    for each in stack.store.events(run.record.run_id):
        if isinstance(each.event, ModelRequested):
            requests.add(each.event)
    sent = [requests.by_call[each["model_call_id"]].messages for each in run.of("ModelStarted")]
    assert sent == [QUESTION, [*QUESTION, {"role": "user", "content": "And in Rome?"}]]


def test_calls_are_counted_on_from_one_invocation_to_the_next(stack, service, record):
    def handler(event, context):
        context.step(ask, name="one")
        context.wait(Duration.from_seconds(60))
        context.step(ask, name="two")

    service.run(record(handler))
    run = the_recorded(stack.store)
    assert [each["iteration"] for each in run.of("ModelStarted")] == [1, 2]
    assert run.of("RunCompleted")[0]["iterations"] == 2


def test_a_call_of_an_attempt_that_failed_stays_with_it(stack, service, record):
    def at_second(step):
        ask()
        if step.attempt == 1:
            raise ValueError("not yet")

    service.run(record(lambda event, context: context.step(at_second, name="ask", config=tried(2))))
    run = the_recorded(stack.store)
    assert [each["step_id"] for each in run.of("ModelStarted")] == [
        each["step_id"] for each in run.of("agent.StepStarted")
    ]


def test_a_call_that_raises_ends(stack, service, record):
    def raises(step):
        error = TimeoutError("too slow")
        current_step().model_call().failed(error)
        raise error

    service.run(record(lambda event, context: context.step(raises, name="ask", config=tried(1))))
    assert the_recorded(stack.store).of("agent.ModelFailed")[0]["error_type"] == "TimeoutError"


def test_a_call_without_an_end_has_one_when_the_run_has(stack, service, record):
    service.run(
        record(lambda event, context: context.step(lambda step: current_step().model_call() and None, name="ask"))
    )
    run = the_recorded(stack.store)
    assert [each["error_type"] for each in run.of("agent.ModelFailed")] == ["Interrupted"]


def test_a_coroutine_of_a_step_is_in_it(stack, service, record):
    async def soon():
        return ask()

    service.run(record(lambda event, context: context.step(lambda step: asyncio.run(soon()), name="ask")))
    run = the_recorded(stack.store)
    assert run.of("TextDelta")[0]["step_id"] == run.of("agent.StepStarted")[0]["step_id"]


def test_outside_of_a_step_nothing_is_recorded_and_nothing_fails(stack, service, record):
    assert ask() == "It is 3 degrees."
    service.run(record(lambda event, context: ask()))
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]
