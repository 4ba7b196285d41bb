"""Values that a log, or DynamoDB, can't hold as they are: none of them loses an event."""

import asyncio

import pytest
from agents import function_tool
from agents.testing import ModelStep
from behest_openai_agents import BehestRunner
from openai_agents_models import ASKED, USED, agent, answers, read, says, settled, streams, work_of

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded

ODD = {"": 1, "tiny": 1e-200, "long": 10**39 + 1, "lone": "a\ud800", "much": "x" * 200_000}


def weather_that(act, **how):
    @function_tool(name_override="weather", **how)
    async def weather(city: str) -> object:
        """The weather."""
        return act()

    return weather


def raiser(error):
    def act(*_):
        raise error

    return act


def test_a_lone_surrogate_in_a_tools_error_is_replaced(stack, runner):
    tool = weather_that(raiser(LookupError("no \ud800")), failure_error_function=lambda _, error: f"{error}, sorry")
    asyncio.run(runner.run(agent(*answers(), tools=[tool]), "Oslo?"))
    run = the_recorded(stack.store)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "no \ufffd, sorry"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_lone_surrogate_in_the_agents_exception_is_replaced(stack, runner):
    with pytest.raises(ConnectionError, match="\ud800"):
        asyncio.run(runner.run(agent(ModelStep(error=ConnectionError("no \ud800"))), "Oslo?"))
    run = the_recorded(stack.store)
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: no \ufffd")


def test_halves_of_a_character_that_are_streamed_are_joined(stack, runner):
    async def main():
        await read(runner.run_streamed(agent(streams("Hi \ud83d", "\ude00!")), "Oslo?"))

    asyncio.run(main())
    assert the_recorded(stack.store).text == "Hi \U0001f600!"


def test_odd_metadata_is_stored_as_near_as_can_be(stack):
    asyncio.run(BehestRunner(stack.store, metadata=ODD).run(agent(says("3 degrees.")), "Oslo?"))
    run = the_recorded(stack.store)
    found = run.record.metadata
    assert (found["(empty)"], found["tiny"], found["long"], found["lone"]) == (1, "1e-200", str(10**39 + 1), "a\ufffd")
    assert found["much"].endswith("(cut, of 200000 bytes)")
    assert run.state.status is RunStatus.COMPLETED


def test_a_result_of_half_a_megabyte_is_cut_and_says_so(stack):
    tool = weather_that(lambda: "x" * 500_000)
    asyncio.run(BehestRunner(stack.store, cut_at=None).run(agent(*answers(), tools=[tool]), "Oslo?"))
    run = the_recorded(stack.store)
    output = run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["bytes"] == 500_002
    assert len(output["cut"]) > 300_000
    assert run.state.status is RunStatus.COMPLETED


def test_the_members_of_an_exception_group_are_told(stack, runner):
    error = ExceptionGroup("both", [LookupError("a"), OSError("b")])
    with pytest.raises(ExceptionGroup):
        asyncio.run(runner.run(agent(ModelStep(error=error)), "Oslo?"))
    assert the_recorded(stack.store).state.last_error == (
        "ExceptionGroup: both (2 sub-exceptions)\n  member: LookupError: a\n  member: OSError: b"
    )


def test_a_tool_that_is_cancelled_has_an_end(stack, runner):
    async def cancel():
        is_working = asyncio.Event()

        @function_tool
        async def weather(city: str) -> str:
            """Waits for ever."""
            is_working.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(runner.run(agent(*answers(), tools=[weather]), "Oslo?"))
        await is_working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    run = settled(stack)
    assert work_of(run) == ["RunStarted", *ASKED, *USED, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}
