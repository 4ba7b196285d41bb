"""Runs that wait for somebody, and go on as other runs."""

import asyncio

import pytest
from agents import RunConfig, RunState
from behest_openai_agents import BehestRunner
from openai_agents_models import ASKED, SAID, USED, agent, asks, delete, read, says, tokens, work_of

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded, when_answered


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
    assert work_of(paused) == ["RunStarted", *ASKED, "agent.Paused"]
    assert [(each["reason"], each["pending"]) for each in paused.of("agent.Paused")] == [("approval", ["call-1"])]
    assert not paused.state.status.is_terminal
    assert without_answer(resumed) == ["RunStarted", *USED, *SAID, "RunCompleted"]
    assert (paused.state.total_usage.total_tokens, resumed.state.total_usage.total_tokens) == (12, 24)
    assert paused.record.session_id == resumed.record.session_id == "thread-7"


def without_answer(run):
    """Return the types of a run's events without the answer that it brings: the run that waits for it is looked for meanwhile."""
    return [each for each in work_of(run) if each != "agent.Resumed"]


GOES_ON = ["agent.Resumed", *USED, *SAID, "RunCompleted"]


@pytest.mark.parametrize(("is_granted", "answer"), [(True, "granted"), (False, "denied")])
def test_another_process_that_answers_is_told_in_both_logs(stack, is_granted, answer):
    async def main():
        result = await BehestRunner(stack.store).run(pausing(), "Delete Oslo")
        return result.to_state().to_string()

    async def another(kept):
        an_agent = agent(says("Done.", tokens(20, 4)), tools=[delete])
        state = await RunState.from_string(an_agent, kept)
        (state.approve if is_granted else state.reject)(state.get_interruptions()[0])
        await BehestRunner(stack.store).run(an_agent, state)

    kept = asyncio.run(main())
    stack.deliver()
    asyncio.run(another(kept))
    when_answered()
    waited, went_on = all_recorded(stack.store)
    [told], [said] = waited.of("agent.Resumed"), went_on.of("agent.Resumed")
    assert told["answers"] == said["answers"] == {"call-1": answer}
    assert (told["answering_run_id"], said["paused_run_id"]) == (went_on.record.run_id, waited.record.run_id)
    assert waited.record.session_id == went_on.record.session_id
    assert waited.state.status is RunStatus.COMPLETED


def test_a_resume_with_the_same_trace_id_continues_the_log(stack, runner):
    async def main():
        an_agent, config = pausing(), RunConfig(trace_id="trace_1")
        state = (await runner.run(an_agent, "Delete Oslo", run_config=config)).to_state()
        state.approve(state.get_interruptions()[0])
        await runner.run(an_agent, state, run_config=config)

    asyncio.run(main())
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *ASKED, "agent.Paused", "RunStarted", *GOES_ON]
    assert (run.record.run_id, run.state.total_usage.total_tokens) == ("trace_1", 36)


def test_a_tool_that_is_denied_is_not_executed(stack, runner):
    async def main():
        an_agent = pausing()
        state = (await runner.run(an_agent, "Delete Oslo")).to_state()
        state.reject(state.get_interruptions()[0])
        await runner.run(an_agent, state)

    asyncio.run(main())
    resumed = all_recorded(stack.store)[1]
    assert without_answer(resumed) == ["RunStarted", "agent.ToolRefused", *SAID, "RunCompleted"]
    [refused] = resumed.of("agent.ToolRefused")
    assert (refused["call_id"], refused["tool_name"]) == ("call-1", "delete")


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
