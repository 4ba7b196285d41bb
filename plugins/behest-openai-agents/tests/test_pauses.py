"""Runs that wait for somebody, and go on as other runs."""

import asyncio

import pytest
from agents import RunConfig, RunState
from openai_agents_models import ASKED, SAID, USED, agent, asks, delete, read, says, tokens

from behest_core.testing.recorded import all_recorded, the_recorded


def pausing():
    return agent(asks("delete", {"city": "Oslo"}, tokens(10, 2)), says("Done.", tokens(20, 4)), tools=[delete])


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_run_that_waits_for_an_approval_is_paused_and_its_resume_is_another(stack, runner, is_streamed):
    async def run(an_agent, question):
        if not is_streamed:
            return await runner.run(an_agent, question, run_config=RunConfig(group_id="thread-7"))
        result = runner.run_streamed(an_agent, question, run_config=RunConfig(group_id="thread-7"))
        await read(result)
        return result

    async def main():
        an_agent = pausing()
        result = await run(an_agent, "Delete Oslo")
        state = await RunState.from_json(an_agent, result.to_state().to_json())
        state.approve(state.get_interruptions()[0])
        return await run(an_agent, state)

    assert asyncio.run(main()).final_output == "Done."
    paused, resumed = all_recorded(stack.store)
    assert paused.types == ["RunStarted", *ASKED, "agent.Paused"]
    assert [(each["reason"], each["pending"]) for each in paused.of("agent.Paused")] == [("approval", ["call-1"])]
    assert not paused.state.status.is_terminal
    assert resumed.types == ["RunStarted", *USED, *SAID, "RunCompleted"]
    assert (paused.state.total_usage.total_tokens, resumed.state.total_usage.total_tokens) == (12, 24)
    assert paused.record.session_id == resumed.record.session_id == "thread-7"


def test_a_resume_with_the_same_trace_id_continues_the_log(stack, runner):
    async def main():
        an_agent, config = pausing(), RunConfig(trace_id="trace_1")
        state = (await runner.run(an_agent, "Delete Oslo", run_config=config)).to_state()
        state.approve(state.get_interruptions()[0])
        await runner.run(an_agent, state, run_config=config)

    asyncio.run(main())
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKED, "agent.Paused", "RunStarted", *USED, *SAID, "RunCompleted"]
    assert (run.record.run_id, run.state.total_usage.total_tokens) == ("trace_1", 36)


def test_a_tool_that_is_denied_is_not_executed(stack, runner):
    async def main():
        an_agent = pausing()
        state = (await runner.run(an_agent, "Delete Oslo")).to_state()
        state.reject(state.get_interruptions()[0])
        await runner.run(an_agent, state)

    asyncio.run(main())
    assert all_recorded(stack.store)[1].types == ["RunStarted", *SAID, "RunCompleted"]


def test_an_approval_inside_of_an_agent_used_as_a_tool_counts_no_tokens_twice(stack, runner):
    async def main():
        inner = pausing().as_tool("ask_inner", "Asks.")
        outer = agent(
            asks("ask_inner", {"input": "?"}, tokens(1, 1), call_id="c"), says("Ok.", tokens(40, 8)), tools=[inner]
        )
        state = (await runner.run(outer, "Delete Oslo")).to_state()
        state.approve(state.get_interruptions()[0])
        await runner.run(outer, state)

    asyncio.run(main())
    paused, resumed = (
        [each["usage"]["total_tokens"] for each in run.of("UsageRecorded")] for run in all_recorded(stack.store)
    )
    assert (paused, resumed) == ([2, 12], [24, 48])
    assert all_recorded(stack.store)[0].types[-1] == "agent.Paused"
