"""Runs that wait for somebody, and go on as other runs."""

# ruff: noqa: ARG005 (models and capabilities have the arguments that the framework calls them with)

import threading

import pytest
from behest_pydantic_ai import BehestRecording
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.exceptions import CallDeferred
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.output import PendingModelResponse
from pydantic_ai.usage import RequestUsage
from pydantic_ai_models import ANSWERED, ASKED, FIRST, LAST, RAN, calls, scripted, weather

from behest_core.model.state import RunStatus, TokenUsage, UnknownFinishReason
from behest_core.testing.recorded import recorded, the_recorded


def when_told():
    """Wait until all answers that were given are in the logs."""
    for thread in threading.enumerate():
        if thread.name.startswith("behest-answer-"):
            thread.join(30)


def asking(stack, *answers):
    """Return an agent that asks for approvals, as another process would make it."""
    agent = Agent(
        scripted(*answers), capabilities=[BehestRecording(stack.store)], output_type=[str, DeferredToolRequests]
    )
    agent.tool_plain(requires_approval=True)(weather)
    return agent


def test_a_run_that_waits_for_an_approval_is_paused_and_resumed_as_another(stack):
    agent = asking(stack, FIRST, LAST)
    waiting = agent.run_sync("Oslo?")
    paused = the_recorded(stack.store)
    assert paused.types == ["RunStarted", *ASKED, "agent.Paused"]
    [pause] = paused.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("approval", ["call-1"])
    assert paused.state.status is RunStatus.CALLING_MODEL

    approved = DeferredToolResults(approvals={"call-1": True})
    result = agent.run_sync(message_history=waiting.all_messages(), deferred_tool_results=approved)
    resumed = recorded(stack.store, result.run_id)
    assert resumed.types == ["RunStarted", "agent.Resumed", *RAN, *ANSWERED, "RunCompleted"]
    assert resumed.record.run_id != paused.record.run_id
    assert resumed.record.session_id == paused.record.session_id
    asked_by = paused.of("ModelStarted")[0]["model_call_id"]
    assert paused.of("ToolCallCompleted")[0]["model_call_id"] == asked_by


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (True, "granted"),
        (ToolApproved(override_args={"city": "Rome"}), "granted"),
        (False, "denied"),
        (ToolDenied("Not today."), "denied"),
    ],
)
def test_another_process_that_answers_is_told_in_both_logs(stack, given, answered):
    waiting = asking(stack, FIRST, LAST).run_sync("Oslo?")
    messages = waiting.all_messages_json()
    answers = DeferredToolResults(approvals={"call-1": given})
    history = ModelMessagesTypeAdapter.validate_json(messages)
    result = asking(stack, FIRST, LAST).run_sync(message_history=history, deferred_tool_results=answers)
    when_told()
    paused, going_on = recorded(stack.store, waiting.run_id), recorded(stack.store, result.run_id)
    [told], [said] = paused.of("agent.Resumed"), going_on.of("agent.Resumed")
    assert told["answers"] == said["answers"] == {"call-1": answered}
    assert (told["answering_run_id"], said["paused_run_id"]) == (result.run_id, waiting.run_id)
    assert paused.state.last_finish == UnknownFinishReason("paused")
    refused = [(each["call_id"], each["tool_name"]) for each in going_on.of("agent.ToolRefused")]
    assert refused == ([("call-1", "weather")] if answered == "denied" else [])
    assert len(going_on.of("ToolExecutionFinished")) == (answered == "granted")


def test_results_from_elsewhere_are_answers(stack, recording):
    def forecast(city: str) -> str:
        raise CallDeferred

    agent = Agent(
        scripted(calls("forecast"), LAST),
        capabilities=[recording],
        output_type=[str, DeferredToolRequests],
        tools=[forecast],
    )
    waiting = agent.run_sync("Oslo?")
    results = DeferredToolResults(calls={"call-1": "3 degrees"})
    result = agent.run_sync(message_history=waiting.all_messages(), deferred_tool_results=results)
    when_told()
    [said] = recorded(stack.store, result.run_id).of("agent.Resumed")
    assert said["answers"] == {"call-1": "answered"}
    assert recorded(stack.store, waiting.run_id).state.status is RunStatus.COMPLETED


def test_a_run_that_only_has_a_history_answers_nobody(stack, recording):
    agent = Agent(scripted(LAST, LAST), capabilities=[recording])
    first = agent.run_sync("Oslo?")
    second = agent.run_sync("Really?", message_history=first.all_messages())
    assert recorded(stack.store, second.run_id).of("agent.Resumed") == []


def test_a_tool_that_puts_its_call_off_has_ended_by_that(stack, recording):
    def forecast(city: str) -> str:
        raise CallDeferred

    agent = Agent(
        scripted(calls("weather", "forecast", text="Let me see."), LAST),
        capabilities=[recording],
        output_type=[str, DeferredToolRequests],
        tools=[forecast],
    )
    agent.tool_plain(requires_approval=True)(weather)
    agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    [pause] = run.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("approval and external result", ["call-1", "call-2"])
    assert run.types[-3:] == [*RAN, "agent.Paused"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "CallDeferred"}}


def test_a_run_that_ends_while_the_model_still_works_is_paused(stack, recording):
    model = Batch(suspended())
    agent = Agent(model, capabilities=[recording], output_type=[str, PendingModelResponse])
    agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    [pause] = run.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("model response", ["batch-1"])
    assert run.types[-1] == "agent.Paused"


class Batch(FunctionModel):
    """A model that is asked again for the answer that it works on, which comes with the last of these answers."""

    def __init__(self, *answers):
        left = iter(answers)
        super().__init__(lambda messages, info: next(left), model_name="stub-1")

    def continuation_delay(self, response):
        return 0.0 if response.state == "suspended" else None


def suspended():
    used = RequestUsage(input_tokens=1000)
    return ModelResponse([], state="suspended", provider_response_id="batch-1", usage=used)


def done():
    used = RequestUsage(input_tokens=1000, output_tokens=10)
    return ModelResponse([TextPart("3 degrees.")], provider_response_id="batch-1", usage=used)


def test_an_answer_that_is_asked_for_again_and_again_is_one_call(stack, recording):
    model = Batch(suspended(), suspended(), suspended(), done())
    assert Agent(model, capabilities=[recording]).run_sync("Oslo?").output == "3 degrees."
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ANSWERED, "RunCompleted"]
    assert run.state.total_usage == TokenUsage(1000, 10, 1010)


def test_a_run_that_takes_up_a_models_answer_is_told_in_both_logs(stack, recording):
    model = Batch(suspended(), done())
    agent = Agent(model, capabilities=[recording], output_type=[str, PendingModelResponse])
    waiting = agent.run_sync("Oslo?")
    result = agent.run_sync(message_history=waiting.all_messages())
    when_told()
    paused, going_on = recorded(stack.store, waiting.run_id), recorded(stack.store, result.run_id)
    assert going_on.of("agent.Resumed")[0]["paused_run_id"] == waiting.run_id
    assert paused.of("agent.Resumed")[0]["answers"] == {"batch-1": "answered"}
    assert going_on.types == ["RunStarted", "agent.Resumed", *ANSWERED, "RunCompleted"]
    assert paused.state.total_usage == TokenUsage(1000, 0, 1000)
    assert going_on.state.total_usage == TokenUsage(0, 10, 10)
