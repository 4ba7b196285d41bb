"""What is one run: where it begins and ends, its id, session and metadata."""

import asyncio
import json
from contextlib import suppress

import pytest
from ag_ui.core import RunErrorEvent, TextMessageChunkEvent
from ag_ui_models import NOON, asked, call, drained, finished, run, started, stream, text, weather_agent
from behest_ag_ui import record

from behest_core.model.state import RunStatus
from behest_core.model.state import TokenUsage as Usage
from behest_core.recording.adapter import id_of
from behest_core.recording.process import unfinished
from behest_core.testing.recorded import all_recorded, recorded, the_recorded


def test_a_run_with_text_and_a_tool(stack):
    asyncio.run(drained(record(weather_agent(asked()), stack.store, provider="anthropic", model="claude")))
    seen = the_recorded(stack.store)
    assert seen.types == [
        "RunStarted",
        "AssistantMessageCommitted",
        "ToolCallCompleted",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ToolMessageCommitted",
        "TextDelta",
        "TextDelta",
        "AssistantMessageCommitted",
        "UsageRecorded",
        "RunCompleted",
    ]
    assert seen.of("ToolCallCompleted")[0]["call"] == {
        "id": "c-1",
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
    }
    assert seen.of("ToolExecutionStarted")[0]["timestamp"] == "2026-01-31T12:00:00.500000Z"
    assert seen.of("ToolExecutionFinished") == [
        {
            "type": "ToolExecutionFinished",
            "timestamp": "2026-01-31T12:00:00.542000Z",
            "model_call_id": "m-1",
            "call_id": "c-1",
            "tool_name": "get_weather",
            "result": {"Success": {"output": '{"temp": 3}'}},
            "duration_ms": 42,
        }
    ]
    assert seen.text == "3 degrees."
    assert [each["message_id"] for each in seen.of("AssistantMessageCommitted")] == ["m-1", "m-2"]
    state = seen.state
    assert (state.status, state.last_finish, state.iteration) == (RunStatus.COMPLETED, "stop", 0)
    assert (state.provider, state.model, state.session_id) == ("anthropic", "claude", "thread-1")
    assert state.total_usage == Usage(2460, 52, 2512, cache_read_input_tokens=1024, cache_creation_input_tokens=400)


def test_events_go_on_as_they_are_and_each_before_the_next_is_asked_for(stack):
    order = []
    events = [started(asked()), *text("m", "Hi"), finished(asked())]

    async def source():
        for each in events:
            order.append(("made", each))
            yield each

    async def consume():
        async for each in record(source(), stack.store):
            order.append(("seen", each))  # noqa: PERF401 (one after the other)

    asyncio.run(consume())
    assert [(step, id(each)) for step, each in order] == [
        (step, id(each)) for each in events for step in ("made", "seen")
    ]


def test_a_stream_of_json_objects_is_recorded_too(stack):
    wire = [json.loads(each.model_dump_json(by_alias=True)) for each in [started(asked()), *text("m", "Hi")]]
    unknown = {"type": "THINKING_START"}
    assert run(stack, *wire, unknown, finished(asked())) == [*wire, unknown, finished(asked())]
    assert the_recorded(stack.store).types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]


def test_ids_beyond_the_limits_are_mapped_and_the_original_is_in_the_metadata(stack):
    run_input = asked(run_id="x" * 300, thread_id="y" * 300)
    begin = started(run_input, parent_run_id="z" * 300)
    run(stack, begin, finished(run_input), metadata={"user": "ann"})
    record = recorded(stack.store, id_of("x" * 300)).record
    assert record.session_id == id_of("y" * 300)
    assert record.metadata == {
        "framework": "ag-ui",
        "framework_run_id": "x" * 300,
        "parent_run_id": id_of("z" * 300),
        "user": "ann",
    }


def test_a_run_began_when_its_event_says(stack):
    run(stack, started(asked(), timestamp=NOON), finished(asked(), timestamp=NOON + 1))
    seen = the_recorded(stack.store)
    assert [each["timestamp"] for each in seen.events] == ["2026-01-31T12:00:00.000000Z", "2026-01-31T12:00:00.001000Z"]
    assert seen.record.created_at > "2026-02"


def test_empty_ids_are_none_so_that_nobody_shares_a_run(stack):
    nobody = asked(run_id="", thread_id="")
    for said in ("one", "other"):
        run(stack, started(nobody, parent_run_id=""), *text("m", said), finished(nobody))
    one, other = all_recorded(stack.store)
    assert {one.text, other.text} == {"one", "other"}
    assert one.record.run_id != other.record.run_id
    assert one.record.session_id != other.record.session_id
    assert "parent_run_id" not in one.record.metadata


def test_a_run_that_is_recorded_already_is_recorded_once(stack, caplog):
    async def twice():
        inner = record(weather_agent(asked()), stack.store)
        return await drained(record(inner, stack.store))

    asyncio.run(twice())
    seen = the_recorded(stack.store)
    assert seen.types.count("RunStarted") == seen.types.count("RunCompleted") == 1
    assert seen.text == "3 degrees."
    assert caplog.text == ""


@pytest.mark.parametrize("end", [RunErrorEvent(message="no"), ValueError("no")], ids=["event", "exception"])
def test_a_failure_of_a_run_that_somebody_else_records_begins_none(stack, end):
    async def twice():
        inner = record(stream(started(asked()), end), stack.store)
        with suppress(ValueError):
            await drained(record(inner, stack.store))

    asyncio.run(twice())
    assert the_recorded(stack.store).types == ["RunStarted", "RunFailed"]


def test_a_stream_without_events_is_no_run(stack):
    run(stack)
    assert all_recorded(stack.store) == []


def test_what_comes_outside_of_a_run_is_not_recorded(stack):
    run(stack, *text("a", "Hi"), started(asked()), finished(asked()), *text("b", "Hi"))
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]


def test_several_runs_on_one_stream_are_runs_of_their_own(stack):
    first, second, third = asked("r-1"), asked("r-2"), asked("r-3")
    chunk = TextMessageChunkEvent(message_id="m", delta="Hi")
    run(
        stack, started(first), chunk, finished(first), started(second), *call("c", "f"), started(third), finished(third)
    )
    for outbox in unfinished(stack.store.event_log):  # the stream's end waits for its last run
        outbox.flush()
    assert recorded(stack.store, "r-1").types == [
        "RunStarted",
        "TextDelta",
        "AssistantMessageCommitted",
        "RunCompleted",
    ]
    assert recorded(stack.store, "r-2").types == ["RunStarted", "ToolCallCompleted", "RunFailed"]
    assert recorded(stack.store, "r-3").state.last_finish == "stop"
