"""Tools: asked for, executed, and what they returned."""

from unittest.mock import ANY

import pytest
from ag_ui.core import (
    AssistantMessage,
    FunctionCall,
    TextPart,
    ToolCall,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
)
from ag_ui_models import NOON, asked, assembled, call, finished, result, run, started

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import recorded, the_recorded


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        ([], {}),
        ([""], {}),
        (['{"a"', ":1}"], {"a": 1}),
        (["3"], 3),
        (['{"a":'], '{"a":'),
        (["[" * 100_000], "[" * 100_000),
    ],
)
def test_arguments_are_put_together_and_decoded_where_they_are_json(pieces, arguments):
    events = assembled(*call("c", "f", *pieces))
    assert [each["call"] for each in events] == [{"id": "c", "name": "f", "arguments": arguments}]


def test_parallel_calls_are_kept_apart(stack):
    one, two = [*call("c-1", "f", "1", at=NOON)], [*call("c-2", "g", "2", at=NOON + 5)]
    mixed = [each for pair in zip(one, two, strict=True) for each in pair]
    run(
        stack, started(asked()), *mixed, result("c-2", "b", NOON + 20), result("c-1", "a", NOON + 30), finished(asked())
    )
    seen = the_recorded(stack.store)
    assert [each["call"] for each in seen.of("ToolCallCompleted")] == [
        {"id": "c-1", "name": "f", "arguments": 1},
        {"id": "c-2", "name": "g", "arguments": 2},
    ]
    assert [
        (each["tool_name"], each["result"]["Success"]["output"], each["duration_ms"])
        for each in seen.of("ToolExecutionFinished")
    ] == [("g", "b", 15), ("f", "a", 30)]


def test_a_duration_without_times_is_measured_and_one_of_clocks_that_went_back_is_none():
    events = assembled(*call("c-1", "f"), result("c-1", ""), *call("c-2", "f", at=NOON), result("c-2", "", NOON - 9))
    durations = [each["duration_ms"] for each in events if each["type"] == "ToolExecutionFinished"]
    assert durations == [ANY, 0]
    assert isinstance(durations[0], int)


def test_parts_that_a_tool_gave_back_are_its_output():
    events = assembled(*call("c", "f"), result("c", [TextPart(text="3 degrees")]))
    assert events[2]["result"] == {"Success": {"output": [{"type": "text", "text": "3 degrees"}]}}


def test_a_result_of_an_earlier_runs_call_has_no_duration_and_the_name_that_the_input_has(stack):
    events = assembled(result("c", "done"))
    assert [each["type"] for each in events] == [
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ToolMessageCommitted",
    ]
    assert (events[1]["call_id"], events[1]["tool_name"], events[1]["duration_ms"]) == ("c", "", 0)
    asks = AssistantMessage(id="m", tool_calls=[ToolCall(id="c", function=FunctionCall(name="delete", arguments="{}"))])
    again = asked("r-2")
    again.messages.append(asks)
    run(stack, started(again), result("c", "done"), finished(again), run_input=again)
    assert recorded(stack.store, "r-2").of("ToolExecutionFinished")[0]["tool_name"] == "delete"


def test_a_call_that_is_left_to_the_frontend_was_not_run_here_and_is_why_the_run_ended(stack):
    run(stack, started(asked()), *call("c", "confirm"), finished(asked()))
    seen = the_recorded(stack.store)
    assert seen.types == ["RunStarted", "ToolCallCompleted", "RunCompleted"]
    assert (seen.state.status, seen.state.last_finish) == (RunStatus.COMPLETED, "tool_calls")


@pytest.mark.parametrize(
    "events",
    [
        [*call("c", "f", "[1]"), *call("c", "f", "[1]"), result("c", "x")],
        [*call("c", "f", "[1]"), result("c", "x"), *call("c", "f", "[1]"), result("c", "x")],
        [*[*call("c", "f", "[1]")][:-1], *call("c", "f", "[1]"), result("c", "x")],
        [*[*call("c", "f", "[1]")][:-1], result("c", "x"), ToolCallEndEvent(tool_call_id="c")],
        [*call("c", "f", "[1]"), ToolCallArgsEvent(tool_call_id="c", delta=",2]"), result("c", "x")],
        [ToolCallArgsEvent(tool_call_id="?", delta="[1]"), *call("c", "f", "[1]"), result("c", "x")],
        [ToolCallEndEvent(tool_call_id="?"), *call("c", "f", "[1]"), result("c", "x"), result("c", "x")],
    ],
    ids=["replayed", "replayed later", "begun anew", "result first", "late arguments", "stray arguments", "strays"],
)
def test_each_call_is_told_once_whatever_is_told_again(stack, caplog, events):
    run(stack, started(asked()), *events, finished(asked()))
    seen = the_recorded(stack.store)
    assert seen.types == [
        "RunStarted",
        "ToolCallCompleted",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ToolMessageCommitted",
        "RunCompleted",
    ]
    assert seen.of("ToolCallCompleted")[0]["call"] == {"id": "c", "name": "f", "arguments": [1]}
    assert caplog.text == ""


def test_chunks_of_a_tool_call_are_one_call_that_is_complete_with_its_last_chunk():
    events = assembled(
        ToolCallChunkEvent(tool_call_id="c-1", tool_call_name="f", delta='{"a"', timestamp=NOON),
        ToolCallChunkEvent(delta=":1}", timestamp=NOON + 10),
        ToolCallChunkEvent(tool_call_id="c-2", tool_call_name="g", parent_message_id="m", timestamp=NOON + 20),
        result("c-1", "one", NOON + 30),
    )
    assert [each["type"] for each in events] == [
        "ToolCallCompleted",
        "ToolCallCompleted",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ToolMessageCommitted",
    ]
    assert [each["call"]["arguments"] for each in events[:2]] == [{"a": 1}, {}]
    assert events[3]["duration_ms"] == 20
