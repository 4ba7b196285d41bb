"""Values that a log, or DynamoDB, can't hold as they are: none of them loses an event."""

import asyncio

import pytest
from behest_pydantic_ai import BehestRecording
from pydantic_ai import Agent
from pydantic_ai.models.function import FunctionModel
from pydantic_ai_models import ASKED, FIRST, LAST, RAN, use_event_stream_handler, with_model

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded

ODD = {"": 1, "tiny": 1e-200, "long": 10**39 + 1, "lone": "a\ud800", "much": "x" * 200_000}


def weather_that(act):
    def weather(city: str) -> object:
        return act()

    return weather


def raiser(error):
    def act(*_):
        raise error

    return act


def test_a_lone_surrogate_in_a_tools_error_is_replaced(stack, recording):
    with pytest.raises(LookupError):
        with_model(recording, FIRST, tools=[weather_that(raiser(LookupError("no \ud800")))]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKED, *RAN, "RunFailed"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "LookupError: no \ufffd"}}


def test_a_lone_surrogate_in_the_agents_exception_is_replaced(stack, recording):
    with pytest.raises(ConnectionError, match="\ud800"):
        with_model(recording, ConnectionError("no \ud800")).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: no \ufffd")


def test_halves_of_a_character_that_are_streamed_are_joined(stack, recording):
    async def stream(messages, info):
        for piece in ("Hi \ud83d", "\ude00!"):
            yield piece

    asyncio.run(use_event_stream_handler(Agent(FunctionModel(stream_function=stream), capabilities=[recording])))
    assert the_recorded(stack.store).text == "Hi \U0001f600!"


def test_odd_metadata_is_stored_as_near_as_can_be(stack):
    with_model(BehestRecording(stack.store, metadata=ODD), LAST).run_sync("Oslo?")
    run = the_recorded(stack.store)
    found = run.record.metadata
    assert (found["(empty)"], found["tiny"], found["long"], found["lone"]) == (1, "1e-200", str(10**39 + 1), "a\ufffd")
    assert found["much"].endswith("(cut, of 200000 bytes)")
    assert run.state.status is RunStatus.COMPLETED


def test_a_result_of_half_a_megabyte_is_cut_and_says_so(stack):
    recording = BehestRecording(stack.store, cut_at=None)
    with_model(recording, FIRST, LAST, tools=[weather_that(lambda: "x" * 500_000)]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    output = run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["bytes"] == 500_002
    assert len(output["cut"]) > 300_000
    assert run.state.status is RunStatus.COMPLETED


def test_the_members_of_an_exception_group_are_told(stack, recording):
    error = ExceptionGroup("both", [LookupError("a"), OSError("b")])
    with pytest.raises(ExceptionGroup):
        with_model(recording, error).run_sync("Oslo?")
    assert the_recorded(stack.store).state.last_error == (
        "ExceptionGroup: both (2 sub-exceptions)\n  member: LookupError: a\n  member: OSError: b"
    )


def test_a_tool_that_is_cancelled_has_an_end(stack, recording):
    async def cancel():
        is_working = asyncio.Event()

        async def weather(city: str) -> str:
            is_working.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(with_model(recording, FIRST, tools=[weather]).run("Oslo?"))
        await is_working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKED, *RAN, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}
