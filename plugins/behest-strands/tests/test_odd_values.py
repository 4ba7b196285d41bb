"""Values that a log, or DynamoDB, can't hold as they are: none of them loses an event."""

import asyncio

import pytest
from strands import tool
from strands_models import ASKS, TOOL, Turn, asks, says

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded

ODD = {"": 1, "tiny": 1e-200, "long": 10**39 + 1, "lone": "a\ud800", "much": "x" * 200_000}


def weather_that(act):
    @tool(name="weather")
    def weather(city: str) -> object:
        """Tell the weather."""
        return act()

    return weather


def raiser(error):
    def act():
        raise error

    return act


def test_a_lone_surrogate_in_a_tools_error_is_replaced(stack, agent_of):
    agent_of(asks(), says("."), tools=[weather_that(raiser(LookupError("no \ud800")))])("?")
    run = the_recorded(stack.store)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "Error: LookupError - no \ufffd"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_lone_surrogate_in_the_agents_exception_is_replaced(stack, agent_of):
    with pytest.raises(ConnectionError, match="\ud800"):
        agent_of(Turn(error=ConnectionError("no \ud800")))("?")
    run = the_recorded(stack.store)
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: no \ufffd")


def test_halves_of_a_character_that_are_streamed_are_joined(stack, agent_of):
    agent_of(says("Hi \ud83d", "\ude00!"))("?")
    assert the_recorded(stack.store).text == "Hi \U0001f600!"


def test_odd_metadata_is_stored_as_near_as_can_be(stack, agent_of):
    agent_of(says("."), settings={"metadata": ODD})("?")
    run = the_recorded(stack.store)
    found = run.record.metadata
    assert (found["(empty)"], found["tiny"], found["long"], found["lone"]) == (1, "1e-200", str(10**39 + 1), "a\ufffd")
    assert found["much"].endswith("(cut, of 200000 bytes)")
    assert run.state.status is RunStatus.COMPLETED


def test_a_result_of_half_a_megabyte_is_cut_and_says_so(stack, agent_of):
    agent_of(asks(), says("."), tools=[weather_that(lambda: "x" * 500_000)], settings={"cut_at": None})("?")
    run = the_recorded(stack.store)
    output = run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["bytes"] == 500_002
    assert len(output["cut"]) > 300_000
    assert run.state.status is RunStatus.COMPLETED


def test_the_members_of_an_exception_group_are_told(stack, agent_of):
    error = ExceptionGroup("both", [LookupError("a"), OSError("b")])
    with pytest.raises(ExceptionGroup):
        agent_of(Turn(error=error))("?")
    assert the_recorded(stack.store).state.last_error == (
        "ExceptionGroup: both (2 sub-exceptions)\n  member: LookupError: a\n  member: OSError: b"
    )


def test_a_tool_that_is_cancelled_has_an_end(stack, agent_of):
    is_working = asyncio.Event()

    @tool(name="weather")
    async def wait(city: str) -> str:
        """Wait for ever."""
        is_working.set()
        await asyncio.Event().wait()

    async def cancel():
        task = asyncio.create_task(agent_of(asks(), tools=[wait]).invoke_async("?"))
        await is_working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}
