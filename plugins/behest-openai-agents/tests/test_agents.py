"""Agents that call agents."""

import asyncio

import pytest
from agents import Agent, function_tool
from openai_agents_models import ASKED, SAID, USED, StubModel, agent, answers, asks, says, tokens

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded


def test_a_handoff_is_a_part_of_the_run_with_the_other_agents_model(stack, runner):
    other = StubModel([says("Hola", tokens(7, 1))])
    other.model = "anthropic/claude-sonnet-4-5"
    spanish = Agent(name="spanish", model=other)
    first = agent(asks("transfer_to_spanish", {}, tokens(10, 2)), handoffs=[spanish])
    result = asyncio.run(runner.run(first, "Hola"))
    run = the_recorded(stack.store)
    assert result.last_agent is spanish
    assert run.types == ["RunStarted", *ASKED, *SAID, "RunCompleted"]
    models = [(each["provider"], each["model"], each["iteration"]) for each in run.of("ModelStarted")]
    assert models == [("openai", "gpt-4o", 1), ("anthropic", "claude-sonnet-4-5", 2)]


@pytest.mark.parametrize("ends_badly", [False, True])
def test_an_agent_used_as_a_tool_is_a_tool_whose_tokens_count(stack, runner, ends_badly):
    inner = agent(*answers(), name="inner").as_tool("ask_inner", "Asks.")
    last = ConnectionError("gone") if ends_badly else says("3 degrees.", tokens(40, 8))
    outer = agent(asks("ask_inner", {"input": "Oslo?"}, tokens(1, 1)), last, tools=[inner])
    try:
        asyncio.run(runner.run(outer, "Oslo?"))
    except ConnectionError:
        assert ends_badly
    run = the_recorded(stack.store)
    end = ["ModelStarted", "RunFailed"] if ends_badly else [*SAID, "RunCompleted"]
    assert run.types == ["RunStarted", *ASKED, *USED, "UsageRecorded", "UsageRecorded", *end]
    counts = [each["usage"]["total_tokens"] for each in run.of("UsageRecorded")]
    assert counts == [2, 12, 24, 48][: len(counts)]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "3 degrees."}}


def test_a_run_that_a_tool_starts_has_a_log_of_its_own_and_its_parents_session(stack, runner):
    @function_tool
    async def ask_inner(question: str) -> str:
        """Asks."""
        result = await runner.run(agent(says("3 degrees.", tokens(5, 1)), name="inner"), question)
        return result.final_output

    outer = agent(asks("ask_inner", {"question": "Oslo?"}), says("3."), tools=[ask_inner])
    asyncio.run(runner.run(outer, "Oslo?"))
    asyncio.run(runner.run(agent(says("Bye")), "Bye"))
    parent, child, other = all_recorded(stack.store)
    assert child.record.metadata["parent_run_id"] == parent.record.run_id
    assert child.record.session_id == parent.record.session_id != other.record.session_id
    assert "parent_run_id" not in other.record.metadata
    assert [run.state.status for run in (parent, child, other)] == [RunStatus.COMPLETED] * 3
    assert (parent.state.total_usage.total_tokens, child.state.total_usage.total_tokens) == (0, 6)
