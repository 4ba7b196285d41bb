"""Values that a log, or DynamoDB, can't hold as they are: none of them loses an event."""

import asyncio

import pytest
from ag_ui.core import RunErrorEvent
from ag_ui_models import asked, call, drained, finished, result, run, started, text
from behest_ag_ui import record

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded

ODD = {"": 1, "tiny": 1e-200, "long": 10**39 + 1, "lone": "a\ud800", "much": "x" * 200_000}


def as_objects(*events):
    return [each.model_dump(by_alias=True, exclude_none=True, mode="json") for each in events]


def test_a_lone_surrogate_in_a_tools_error_is_replaced(stack):
    begins, *asks, gave, ends = as_objects(started(asked()), *call("c", "f"), result("c", "no"), finished(asked()))
    run(stack, begins, *asks, {**gave, "content": "no \ud800"}, ends)
    seen = the_recorded(stack.store)
    assert seen.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "no \ufffd"}}
    assert seen.state.status is RunStatus.COMPLETED


def test_a_lone_surrogate_in_the_agents_exception_is_replaced(stack):
    with pytest.raises(ConnectionError, match="\ud800"):
        run(stack, started(asked()), ConnectionError("no \ud800"))
    seen = the_recorded(stack.store)
    assert (seen.state.status, seen.state.last_error) == (RunStatus.FAILED, "ConnectionError: no \ufffd")


def test_a_lone_surrogate_in_the_agents_error_event_is_replaced(stack):
    begins, failed = as_objects(started(asked()), RunErrorEvent(message="no"))
    run(stack, begins, {**failed, "message": "no \ud800"})
    assert the_recorded(stack.store).state.last_error == "no \ufffd"


def test_halves_of_a_character_that_are_streamed_are_joined(stack):
    begins, opens, one, two, closes, ends = as_objects(started(asked()), *text("m", "a", "b"), finished(asked()))
    run(stack, begins, opens, {**one, "delta": "Hi \ud83d"}, {**two, "delta": "\ude00!"}, closes, ends)
    assert the_recorded(stack.store).text == "Hi \U0001f600!"


def test_odd_metadata_is_stored_as_near_as_can_be(stack):
    run(stack, started(asked()), finished(asked()), metadata=ODD)
    seen = the_recorded(stack.store)
    found = seen.record.metadata
    assert (found["(empty)"], found["tiny"], found["long"], found["lone"]) == (1, "1e-200", str(10**39 + 1), "a\ufffd")
    assert found["much"].endswith("(cut, of 200000 bytes)")
    assert seen.state.status is RunStatus.COMPLETED


def test_a_result_of_half_a_megabyte_is_cut_and_says_so(stack):
    gave = result("c", "x" * 500_000)
    run(stack, started(asked()), *call("c", "f"), gave, finished(asked()), cut_at=None)
    seen = the_recorded(stack.store)
    output = seen.of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["bytes"] == 500_002
    assert len(output["cut"]) > 300_000
    assert seen.state.status is RunStatus.COMPLETED


def test_an_error_event_of_half_a_megabyte_is_cut_and_parks_nothing(stack):
    run(stack, started(asked()), RunErrorEvent(message="x" * 500_000))
    seen = the_recorded(stack.store)
    assert seen.state.status is RunStatus.FAILED
    assert seen.state.last_error.endswith("(cut, of 500000 bytes)")


def test_the_members_of_an_exception_group_are_told(stack):
    error = ExceptionGroup("both", [LookupError("a"), OSError("b")])
    with pytest.raises(ExceptionGroup):
        run(stack, started(asked()), error)
    assert the_recorded(stack.store).state.last_error == (
        "ExceptionGroup: both (2 sub-exceptions)\n  member: LookupError: a\n  member: OSError: b"
    )


def test_a_tool_that_is_cancelled_has_an_end(stack):
    is_working = asyncio.Event()

    async def agent():
        for each in (started(asked()), *call("c-1", "f"), result("c-1", "done"), *call("c-2", "f")):
            yield each
        is_working.set()
        await asyncio.Event().wait()

    async def cancel():
        task = asyncio.create_task(drained(record(agent(), stack.store)))
        await is_working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    seen = the_recorded(stack.store)
    # that a tool began is known from its result only: the one that was cancelled is a call, and nothing more
    assert [each["call"]["id"] for each in seen.of("ToolCallCompleted")] == ["c-1", "c-2"]
    assert len(seen.of("ToolExecutionStarted")) == len(seen.of("ToolExecutionFinished")) == 1
    assert seen.types[-1] == "RunCancelled"
