"""Runs that wait for somebody, and go on as other runs."""

# ruff: noqa: ARG002, ARG005 (models and capabilities have the arguments that the framework calls them with)

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.exceptions import CallDeferred
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.output import PendingModelResponse
from pydantic_ai_models import ANSWERED, ASKED, FIRST, LAST, RAN, calls, scripted, weather

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import recorded, the_recorded


def test_a_run_that_waits_for_an_approval_is_paused_and_resumed_as_another(stack, recording):
    agent = Agent(scripted(FIRST, LAST), capabilities=[recording], output_type=[str, DeferredToolRequests])
    agent.tool_plain(requires_approval=True)(weather)
    waiting = agent.run_sync("Oslo?")
    paused = the_recorded(stack.store)
    assert paused.types == ["RunStarted", *ASKED, "agent.Paused"]
    [pause] = paused.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("approval", ["call-1"])
    assert paused.state.status is RunStatus.CALLING_MODEL

    approved = DeferredToolResults(approvals={"call-1": True})
    result = agent.run_sync(message_history=waiting.all_messages(), deferred_tool_results=approved)
    resumed = recorded(stack.store, result.run_id)
    assert resumed.types == ["RunStarted", *RAN, *ANSWERED, "RunCompleted"]
    assert resumed.record.run_id != paused.record.run_id
    assert resumed.record.session_id == paused.record.session_id


def test_a_tool_that_puts_its_call_off_has_begun_and_not_ended(stack, recording):
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
    assert run.types[-2:] == ["ToolExecutionStarted", "agent.Paused"]


def test_a_run_that_ends_while_the_model_still_works_is_paused(stack, recording):
    class Batch(FunctionModel):
        def continuation_delay(self, response):
            return 60.0

    submitted = ModelResponse([], state="suspended", provider_response_id="batch-1")
    model = Batch(lambda messages, info: submitted, model_name="stub-1")
    agent = Agent(model, capabilities=[recording], output_type=[str, PendingModelResponse])
    agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    [pause] = run.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("model response", ["batch-1"])
    assert run.types[-1] == "agent.Paused"
