"""Runs that wait for somebody, and go on as other runs."""

import pytest
from strands import tool
from strands.hooks import BeforeModelCallEvent, BeforeToolCallEvent
from strands.interrupt import Interrupt, InterruptException
from strands_models import ASKS, MODEL, TOOL, asks, hook, once, says, weather

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded


def approval(event):
    if event.interrupt("approval", reason="money") != "yes":
        event.cancel_tool = "denied"


def answer(result, response):
    return [{"interruptResponse": {"interruptId": each.id, "response": response}} for each in result.interrupts]


def test_a_run_that_waits_for_an_approval_is_not_over_and_has_executed_nothing(stack, agent_of):
    agent = agent_of(asks(), hooks=[hook(BeforeToolCallEvent, approval)], tools=[weather])
    result = agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == ("approval", [result.interrupts[0].id])
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CALLING_MODEL, 12)


@pytest.mark.parametrize(("response", "executed"), [("yes", TOOL), ("no", [])])
def test_the_answer_is_a_run_of_its_own_in_the_same_session(stack, agent_of, response, executed):
    agent = agent_of(asks(), says("Done."), hooks=[hook(BeforeToolCallEvent, approval)], tools=[weather])
    agent(answer(agent("?"), response))
    asked, resumed = all_recorded(stack.store)
    assert resumed.types == ["RunStarted", *executed, *MODEL, "RunCompleted"]
    assert asked.record.session_id == resumed.record.session_id == "s"


def test_a_tool_that_asks_itself_has_begun(stack, agent_of):
    @tool(name="weather", context=True)
    def ask_first(city: str, tool_context) -> str:
        """Ask first."""
        return tool_context.interrupt("which_city")

    agent = agent_of(asks(), says("Done."), tools=[ask_first])
    agent(answer(agent("?"), "Oslo"))
    asked, resumed = all_recorded(stack.store)
    assert asked.types == ["RunStarted", *ASKS, "ToolExecutionStarted", "agent.Paused"]
    assert asked.events[-1]["reason"] == "which_city"
    assert resumed.types == ["RunStarted", *TOOL, *MODEL, "RunCompleted"]


def test_a_model_that_waits_for_an_approval_has_not_been_called(stack, agent_of):
    def ask_first(event):
        raise InterruptException(Interrupt("budget-1", "budget"))

    agent = agent_of(says("Done."), hooks=[hook(BeforeModelCallEvent, once(ask_first))])
    agent(answer(agent("?"), "yes"))
    asked, resumed = all_recorded(stack.store)
    assert asked.types == ["RunStarted", "agent.Paused"]
    assert resumed.types == ["RunStarted", *MODEL, "RunCompleted"]


def test_a_checkpoint_is_a_pause(stack, agent_of):
    agent = agent_of(asks(), tools=[weather], checkpointing=True)
    assert agent("?").stop_reason == "checkpoint"
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == ("checkpoint", [])
