import asyncio
import json
from unittest.mock import ANY

import pytest
from ag_ui.core import (
    ActivitySnapshotEvent,
    CustomEvent,
    EventType,
    Interrupt,
    MessagesSnapshotEvent,
    RawEvent,
    ReasoningMessageContentEvent,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedInterruptOutcome,
    RunFinishedSuccessOutcome,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextPart,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallStartEvent,
)
from ag_ui.encoder import EventEncoder
from behest_ag_ui import record, translate
from behest_ag_ui import recording as module
from behest_ag_ui.assembly import Assembly
from msgspec import UNSET
from pydantic import ValidationError
from pydantic_ai import Agent, CancellationToken, DeferredToolRequests, ModelRetry
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter

from behest_core.model.decoding import encode_event
from behest_core.model.events import (
    AssistantMessageCommitted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    ToolMessageCommitted,
    UsageRecorded,
)
from behest_core.model.state import RunStatus
from behest_core.model.state import TokenUsage as Usage
from behest_core.recording.adapter import Paused, id_of
from behest_core.testing import LocalStack
from tests.agents.ag_ui_models import NOON, asked, call, finished, result, started, text, weather_agent
from tests.agents.recorded import all_recorded, recorded, the_recorded
from tests.aws.test_recorder import away

AT = "2026-01-31T12:00:00.000000Z"


@pytest.fixture
def stack():
    with LocalStack() as local:
        yield local


async def stream(*events):
    """Return events, one after the other; an exception among them is raised."""
    for each in events:
        if isinstance(each, BaseException):
            raise each
        yield each


async def drained(events):
    return [each async for each in events]


def run(stack, *events, **how):
    """Record a stream of these events, and give what the consumer saw."""
    return asyncio.run(drained(record(stream(*events), stack.store, **how)))


def assembled(*events):
    """Return what these events of a run say together, as JSON objects."""
    assembly = Assembly()
    said = [each for event in [*events, finished(asked())] for each in assembly.take(event)]
    return [json.loads(encode_event(each)) for each in said[:-1]]


# ---------------------------------------------------------------- one event by itself


def at_noon(event):
    event.timestamp = NOON
    return event


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            started(asked()),
            [RunStarted(session_id="thread-1", provider="unknown", model="unknown", timestamp=AT)],
        ),
        (TextMessageContentEvent(message_id="m", delta="Hi"), [TextDelta(delta="Hi", timestamp=AT)]),
        (TextMessageContentEvent(message_id="m", delta=""), []),
        (TextMessageChunkEvent(message_id="m", delta="Hi"), [TextDelta(delta="Hi", timestamp=AT)]),
        (TextMessageChunkEvent(message_id="m", role="user", delta="Hi"), []),
        (TextMessageChunkEvent(message_id="m"), []),
        (TextMessageEndEvent(message_id="m"), [AssistantMessageCommitted(message_id="m", timestamp=AT)]),
        (
            ToolCallStartEvent(tool_call_id="c", tool_call_name="f"),
            [ToolCallStarted(call_id="c", tool_name="f", timestamp=AT)],
        ),
        (ToolCallArgsEvent(tool_call_id="c", delta="{"), [ToolCallDelta(call_id="c", delta="{", timestamp=AT)]),
        (ToolCallArgsEvent(tool_call_id="c", delta=""), []),
        (
            ToolCallChunkEvent(tool_call_id="c", tool_call_name="f", delta="{"),
            [
                ToolCallStarted(call_id="c", tool_name="f", timestamp=AT),
                ToolCallDelta(call_id="c", delta="{", timestamp=AT),
            ],
        ),
        (ToolCallChunkEvent(delta="}"), []),
        (result("c", "3"), [ToolMessageCommitted(message_id="c-result", timestamp=AT)]),
        (finished(asked()), [RunCompleted(finish_reason="stop", iterations=0, timestamp=AT)]),
        (
            finished(asked(), outcome=RunFinishedSuccessOutcome()),
            [RunCompleted(finish_reason="stop", iterations=0, timestamp=AT)],
        ),
        (
            finished(asked(), outcome=RunFinishedSuccessOutcome(pending_tool_call_ids=["c"])),
            [RunCompleted(finish_reason="tool_calls", iterations=0, timestamp=AT)],
        ),
        (finished(asked(), outcome=RunFinishedCancelledOutcome()), [RunCancelled(timestamp=AT)]),
        (
            finished(
                asked(),
                outcome=RunFinishedInterruptOutcome(
                    interrupts=[Interrupt(id=each, reason="tool_call") for each in ("i-1", "i-2")]
                ),
            ),
            [Paused(reason="tool_call", pending=["i-1", "i-2"], timestamp=AT)],
        ),
        (RunErrorEvent(message="no model"), [RunFailed(error="no model", timestamp=AT)]),
        (RunErrorEvent(message="no model", code="E1"), [RunFailed(error="E1: no model", timestamp=AT)]),
        (ReasoningMessageContentEvent(message_id="m", delta="Hm"), []),
        (StateSnapshotEvent(snapshot={"a": 1}), []),
        (ActivitySnapshotEvent(message_id="m", activity_type="plan", content={}), []),
        (MessagesSnapshotEvent(messages=[]), []),
        (RawEvent(event={}), []),
        (StepStartedEvent(step_name="plan"), [{"type": "ag_ui.StepStarted", "stepName": "plan", "timestamp": AT}]),
        (StepFinishedEvent(step_name="plan"), [{"type": "ag_ui.StepFinished", "stepName": "plan", "timestamp": AT}]),
        (
            SubagentStartedEvent(subagent_run_id="s", name="search"),
            [{"type": "ag_ui.SubagentStarted", "subagentRunId": "s", "name": "search", "timestamp": AT}],
        ),
        (
            CustomEvent(name="cart", value={"items": {1: object}}, raw_event=object()),
            [{"type": "ag_ui.Custom", "name": "cart", "value": {"items": {"1": str(object)}}, "timestamp": AT}],
        ),
    ],
    ids=lambda each: each.type.value if hasattr(each, "type") else "",
)
def test_an_event_by_itself_says(event, said):
    assert translate(at_noon(event)) == said
    for each in said:
        encode_event(each)


@pytest.mark.parametrize(
    ("used", "usage"),
    [
        (TokenUsage(input_tokens=9, output_tokens=1), Usage(9, 1, 10)),
        (TokenUsage(output_tokens=1), Usage(0, 1, 1)),
        (
            TokenUsage(input_tokens=9, output_tokens=1, cached_input_tokens=4, cache_write_input_tokens=3),
            Usage(6, 1, 7, cached_input_tokens=4, cache_creation_input_tokens=3),
        ),
        (TokenUsage(input_tokens=9, cached_input_tokens=0), Usage(9, 0, 9, cached_input_tokens=0)),
        (TokenUsage(input_tokens=2, cache_write_input_tokens=3), Usage(0, 0, 0, cache_creation_input_tokens=3)),
    ],
)
@pytest.mark.parametrize("end", [finished(asked()), RunErrorEvent(message="no")], ids=["finished", "error"])
def test_tokens_come_with_the_end_of_the_run_whichever_it_is(end, used, usage):
    said = translate(end.model_copy(update={"usage": [used], "timestamp": NOON}))
    assert said[:-1] == [UsageRecorded(usage=usage, timestamp=AT)]


def test_each_provider_and_model_has_its_own_usage_and_one_without_counts_has_none():
    usage = [TokenUsage(model="a", input_tokens=1), TokenUsage(model="b"), TokenUsage(model="c", input_tokens=2)]
    said = translate(finished(asked(), usage=usage))
    assert [each.usage.input_tokens for each in said[:-1]] == [1, 2]
    assert said[0].usage.cached_input_tokens is UNSET


def test_json_objects_say_the_same_as_the_events_that_they_are_of():
    async def both():
        return [(translate(each), translate(json.loads(each.model_dump_json(by_alias=True)))) async for each in timed()]

    async def timed():
        async for each in weather_agent(asked()):
            yield at_noon(each)

    for of_event, of_json in asyncio.run(both()):
        assert of_event == of_json


def test_json_of_a_type_that_the_protocol_does_not_know_says_nothing():
    assert translate({"type": "THINKING_START"}) == translate({}) == []


def test_json_that_lacks_a_field_is_refused():
    with pytest.raises(ValidationError, match="messageId"):
        translate({"type": "TEXT_MESSAGE_CONTENT", "delta": "Hi"})


@pytest.mark.parametrize("timestamp", [None, 2**53 - 1])
def test_an_event_without_a_time_of_the_calendar_happened_now(timestamp):
    [said] = translate(TextMessageEndEvent(message_id="m", timestamp=timestamp))
    assert said.timestamp > AT


def test_a_session_has_an_id_within_the_limits():
    [said] = translate(started(asked(thread_id="x" * 300)), provider="p", model="m")
    assert (said.session_id, said.provider, said.model) == (id_of("x" * 300), "p", "m")


# ---------------------------------------------------------------- a stream


def test_a_run_with_text_and_a_tool(stack):
    asyncio.run(drained(record(weather_agent(asked()), stack.store, provider="anthropic", model="claude")))
    seen = the_recorded(stack)
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
    assert state.total_usage == Usage(2060, 52, 2112, cached_input_tokens=1024, cache_creation_input_tokens=400)


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
    assert the_recorded(stack).types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]


def test_ids_beyond_the_limits_are_mapped_and_the_original_is_in_the_metadata(stack):
    run_input = asked(run_id="x" * 300, thread_id="y" * 300)
    begin = started(run_input, parent_run_id="z" * 300)
    run(stack, begin, finished(run_input), metadata={"user": "ann"})
    record = recorded(stack, id_of("x" * 300)).record
    assert record.session_id == id_of("y" * 300)
    assert record.metadata == {
        "framework": "ag-ui",
        "framework_run_id": "x" * 300,
        "parent_run_id": id_of("z" * 300),
        "user": "ann",
    }


def test_settings_reach_the_recorder(stack):
    def redact(event):
        return None if event["type"] == "TextDelta" else event

    events = [started(asked()), *text("m", "secret"), *call("c", "f", json.dumps("x" * 100)), finished(asked())]
    run(stack, *events, redact=redact, cut_at=20)
    seen = the_recorded(stack)
    assert seen.types == ["RunStarted", "AssistantMessageCommitted", "ToolCallCompleted", "RunCompleted"]
    assert seen.events[2]["call"]["arguments"] == {"cut": '"' + "x" * 19, "bytes": 102}


def test_steps_subagents_and_custom_events_are_part_of_the_run():
    events = assembled(
        StepStartedEvent(step_name="plan"),
        SubagentStartedEvent(subagent_run_id="s", name="search"),
        TextMessageContentEvent(message_id="m", delta="Hi", subagent_run_id="s"),
        SubagentFinishedEvent(subagent_run_id="s", result=3),
        CustomEvent(name="cart", value=None),
        StepFinishedEvent(step_name="plan"),
    )
    assert [each["type"] for each in events] == [
        "ag_ui.StepStarted",
        "ag_ui.SubagentStarted",
        "TextDelta",
        "ag_ui.SubagentFinished",
        "ag_ui.Custom",
        "ag_ui.StepFinished",
    ]
    assert events[4] == {"type": "ag_ui.Custom", "name": "cart", "value": None, "timestamp": ANY}


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_what_the_model_did_not_write_is_left_out(role):
    chunks = [TextMessageChunkEvent(message_id="c", role=role, delta="Hi"), TextMessageChunkEvent(delta=" there")]
    assert assembled(*text("m", "Hi", role=role), *chunks) == []


def test_reasoning_and_empty_pieces_are_left_out():
    assert assembled(ReasoningMessageContentEvent(message_id="r", delta="Hm"), *text("m", "")) == [
        {"type": "AssistantMessageCommitted", "message_id": "m", "timestamp": ANY}
    ]


# ---------------------------------------------------------------- tool calls


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
    seen = the_recorded(stack)
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


def test_a_result_of_an_earlier_runs_call_has_neither_name_nor_duration():
    events = assembled(result("c", "done"))
    assert [each["type"] for each in events] == ["ToolExecutionFinished", "ToolMessageCommitted"]
    assert (events[0]["call_id"], events[0]["tool_name"], events[0]["duration_ms"]) == ("c", "", 0)


def test_a_call_that_is_left_to_the_frontend_was_not_run_here_and_is_why_the_run_ended(stack):
    run(stack, started(asked()), *call("c", "confirm"), finished(asked()))
    seen = the_recorded(stack)
    assert seen.types == ["RunStarted", "ToolCallCompleted", "RunCompleted"]
    assert (seen.state.status, seen.state.last_finish) == (RunStatus.COMPLETED, "tool_calls")


def test_a_call_that_is_reopened_goes_on():
    events = assembled(*call("c", "f", "[1,"), *call("c", "f", "2]"), result("c", ""))
    assert [each["call"]["arguments"] for each in events[:2]] == ["[1,", [1, 2]]


# ---------------------------------------------------------------- chunks


def test_chunks_of_a_message_are_text_and_the_message_is_committed_when_they_end():
    events = assembled(
        TextMessageChunkEvent(message_id="m-1", delta="3 "),
        RawEvent(event={}),
        TextMessageChunkEvent(delta="degrees"),
        TextMessageChunkEvent(message_id="m-1", delta="."),
        TextMessageChunkEvent(message_id="m-2", delta="Bye"),
    )
    assert [(each["type"], each.get("delta", each.get("message_id"))) for each in events] == [
        ("TextDelta", "3 "),
        ("TextDelta", "degrees"),
        ("TextDelta", "."),
        ("AssistantMessageCommitted", "m-1"),
        ("TextDelta", "Bye"),
        ("AssistantMessageCommitted", "m-2"),
    ]


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


def test_chunks_of_subagents_are_kept_apart_by_their_subagent_or_else_by_what_they_go_on_with():
    events = assembled(
        TextMessageChunkEvent(message_id="m-1", delta="1", subagent_run_id="s-1"),
        TextMessageChunkEvent(message_id="m-2", delta="2", subagent_run_id="s-2"),
        TextMessageChunkEvent(delta="1", subagent_run_id="s-1"),
        TextMessageChunkEvent(message_id="m-2", delta="2"),
        SubagentFinishedEvent(subagent_run_id="s-2"),
        TextMessageChunkEvent(delta="1"),
    )
    assert [each.get("delta", each.get("message_id", each["type"])) for each in events] == [
        "1",
        "2",
        "1",
        "2",
        "m-2",
        "ag_ui.SubagentFinished",
        "1",
        "m-1",
    ]


def test_a_chunk_that_does_not_say_what_it_begins_is_logged_and_left_out(stack, caplog):
    odd = [TextMessageChunkEvent(delta="Hi"), ToolCallChunkEvent(tool_call_id="c")]
    assert run(stack, started(asked()), *odd, finished(asked()))[1:3] == odd
    assert the_recorded(stack).types == ["RunStarted", "RunCompleted"]
    assert caplog.text.count("the agent goes on") == 2


# ---------------------------------------------------------------- how a run ends


def test_a_run_that_waits_is_not_over_and_goes_on_as_another_run_of_its_session(stack):
    interrupt = Interrupt(id="int-1", reason="tool_call", tool_call_id="c")
    paused = finished(asked("r-1"), outcome=RunFinishedInterruptOutcome(interrupts=[interrupt]))
    run(stack, started(asked("r-1")), *call("c", "delete"), paused)
    run(stack, started(asked("r-2")), result("c", "deleted"), *text("m", "Done."), finished(asked("r-2")))
    first, second = recorded(stack, "r-1"), recorded(stack, "r-2")
    assert first.types == ["RunStarted", "ToolCallCompleted", "agent.Paused"]
    assert first.events[-1] == {
        "type": "agent.Paused",
        "timestamp": ANY,
        "reason": "tool_call",
        "pending": ["int-1"],
    }
    assert first.state.status is RunStatus.SESSION_LOADED
    assert second.state.status is RunStatus.COMPLETED
    assert first.record.session_id == second.record.session_id == "thread-1"


def test_a_run_that_the_agent_stopped_is_cancelled(stack):
    run(stack, started(asked()), finished(asked(), outcome=RunFinishedCancelledOutcome()))
    assert the_recorded(stack).types == ["RunStarted", "RunCancelled"]


def test_a_run_that_failed_keeps_its_tokens(stack):
    run(stack, started(asked()), RunErrorEvent(message="overloaded", code="529", usage=[TokenUsage(input_tokens=7)]))
    seen = the_recorded(stack)
    assert seen.types == ["RunStarted", "UsageRecorded", "RunFailed"]
    assert (seen.state.last_error, seen.state.total_usage.total_tokens) == ("529: overloaded", 7)


def test_an_exception_of_the_agent_is_recorded_and_goes_on(stack):
    with pytest.raises(ValueError, match="no tool"):
        run(stack, started(asked()), *text("m", "Hi"), ValueError("no tool"))
    seen = the_recorded(stack)
    assert seen.types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunFailed"]
    assert seen.state.last_error == "ValueError: no tool"


def test_an_exception_before_any_event_is_a_run_that_failed(stack):
    with pytest.raises(ValueError, match="no agent"):
        run(stack, ValueError("no agent"))
    assert the_recorded(stack).types == ["RunStarted", "RunFailed"]


def test_an_exception_after_the_end_changes_nothing_of_it(stack):
    with pytest.raises(ValueError, match="late"):
        run(stack, started(asked()), finished(asked()), ValueError("late"))
    assert the_recorded(stack).types == ["RunStarted", "RunCompleted"]


def test_a_stream_that_just_ends_has_failed(stack):
    run(stack, started(asked()), *text("m", "Hi"))
    seen = the_recorded(stack)
    assert (seen.types[-1], seen.state.last_error) == (
        "RunFailed",
        "the stream ended without RUN_FINISHED or RUN_ERROR",
    )


def test_a_stream_without_events_is_no_run(stack):
    run(stack)
    assert all_recorded(stack) == []


def test_an_error_before_any_run_is_a_run_that_failed(stack):
    run(stack, RunErrorEvent(message="no agent"))
    seen = the_recorded(stack)
    assert (seen.types, seen.state.last_error) == (["RunStarted", "RunFailed"], "no agent")


def test_an_error_that_comes_after_the_end_lets_the_run_fail(stack):
    run(stack, started(asked()), finished(asked()), RunErrorEvent(message="late"), provider="p", model="m")
    seen = the_recorded(stack)
    assert seen.types == ["RunStarted", "RunCompleted", "RunStarted", "RunFailed"]
    assert (seen.state.status, seen.state.last_error, seen.state.model) == (RunStatus.FAILED, "late", "m")


def test_what_comes_outside_of_a_run_is_not_recorded(stack):
    run(stack, *text("a", "Hi"), started(asked()), finished(asked()), *text("b", "Hi"))
    assert the_recorded(stack).types == ["RunStarted", "RunCompleted"]


def test_several_runs_on_one_stream_are_runs_of_their_own(stack):
    first, second, third = asked("r-1"), asked("r-2"), asked("r-3")
    chunk = TextMessageChunkEvent(message_id="m", delta="Hi")
    run(
        stack, started(first), chunk, finished(first), started(second), *call("c", "f"), started(third), finished(third)
    )
    assert recorded(stack, "r-1").types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert recorded(stack, "r-2").types == ["RunStarted", "ToolCallCompleted", "RunFailed"]
    assert recorded(stack, "r-3").state.last_finish == "stop"


# ---------------------------------------------------------------- stopped from outside


class Waiting:
    """An agent that wrote a word, and waits for ever; it says how it was closed."""

    def __init__(self):
        self.is_waiting = asyncio.Event()
        self.closed_by = None

    async def __call__(self, run_input):
        try:
            yield started(run_input)
            for each in text("m", "Hi"):
                yield each
            self.is_waiting.set()
            await asyncio.Event().wait()
        except BaseException as error:
            self.closed_by = type(error)
            raise


STOPPED = ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCancelled"]


def test_a_cancelled_task_is_a_cancelled_run(stack):
    agent = Waiting()

    async def cancel():
        task = asyncio.create_task(drained(record(agent(asked()), stack.store)))
        await agent.is_waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert the_recorded(stack).types == STOPPED
    assert agent.closed_by is asyncio.CancelledError


def test_a_timeout_is_a_cancelled_run(stack):
    agent = Waiting()

    async def give_up():
        async with asyncio.timeout(None) as limit:
            async for each in record(agent(asked()), stack.store):
                if isinstance(each, TextMessageEndEvent):
                    limit.reschedule(0)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert the_recorded(stack).types == STOPPED


def test_a_consumer_that_closes_the_stream_cancels_the_run_and_closes_the_agent(stack):
    agent = Waiting()

    async def close():
        events = record(agent(asked()), stack.store)
        while not isinstance(await anext(events), TextMessageEndEvent):
            pass
        await events.aclose()

    asyncio.run(close())
    assert the_recorded(stack).types == STOPPED
    assert agent.closed_by is GeneratorExit


def test_a_consumer_that_breaks_off_cancels_the_run(stack):
    async def break_off():
        async for each in record(Waiting()(asked()), stack.store):
            if isinstance(each, TextMessageEndEvent):
                break

    asyncio.run(break_off())
    assert the_recorded(stack).types == STOPPED


def test_a_consumer_that_leaves_with_the_last_event_leaves_a_completed_run(stack):
    async def leave():
        async for each in record(weather_agent(asked()), stack.store):
            if each.type is EventType.RUN_FINISHED:
                break

    asyncio.run(leave())
    assert the_recorded(stack).state.status is RunStatus.COMPLETED


def test_an_exception_of_the_consumer_cancels_the_run(stack):
    async def consume():
        async for each in record(weather_agent(asked()), stack.store):
            if isinstance(each, TextMessageContentEvent):
                raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(consume())
    assert the_recorded(stack).types[-1] == "RunCancelled"


def test_an_iterator_that_can_not_be_closed_is_recorded_too(stack):
    class Events:
        def __init__(self):
            self.left = [started(asked()), finished(asked())]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    asyncio.run(drained(record(Events(), stack.store)))
    assert the_recorded(stack).types == ["RunStarted", "RunCompleted"]


# ---------------------------------------------------------------- never in the way


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, monkeypatch):
    monkeypatch.setattr(module, "END_WAIT", 0)
    back = away(stack)
    try:
        seen = asyncio.run(drained(record(weather_agent(asked()), stack.store)))
    finally:
        back()
    assert [each.type for each in seen][-1] is EventType.RUN_FINISHED


def test_a_table_that_is_missing_changes_nothing_for_the_agent(stack, caplog):
    stack.dynamodb.delete_table(TableName=stack.event_table)
    seen = asyncio.run(drained(record(weather_agent(asked()), stack.store)))
    assert seen[-1].type is EventType.RUN_FINISHED
    assert "ResourceNotFoundException" in caplog.text


@pytest.mark.parametrize("broken", ["begin", "parsed", "Assembly"])
def test_a_mistake_of_the_adapter_changes_nothing_for_the_agent(stack, monkeypatch, caplog, broken):
    def mistake(*arguments, **how):
        raise ZeroDivisionError

    monkeypatch.setattr(module, broken, mistake if broken != "Assembly" else type("A", (), {"take": mistake}))
    events = [started(asked()), *text("m", "Hi"), finished(asked())]
    assert run(stack, *events) == events
    assert "ZeroDivisionError" in caplog.text


def test_an_event_that_is_none_changes_nothing_for_the_agent(stack, caplog):
    odd = [object(), {"type": ["x"]}, {"type": "TEXT_MESSAGE_END"}, ToolCallArgsEvent(tool_call_id="?", delta="")]
    assert run(stack, started(asked()), *odd, finished(asked())) == [ANY, *odd, ANY]
    assert the_recorded(stack).types == ["RunStarted", "RunCompleted"]


# ---------------------------------------------------------------- Pydantic AI as the agent


async def says_the_weather(messages, info):
    """Ask for the weather, then tell it in two pieces."""
    if len(messages) == 1:
        yield "Let me see. "
        yield {0: DeltaToolCall(name="get_weather", json_args='{"city":', tool_call_id="c-1")}
        yield {0: DeltaToolCall(json_args='"Oslo"}')}
    else:
        yield "3 "
        yield "degrees."


def weather(model=says_the_weather, **how):
    agent = Agent(FunctionModel(stream_function=model), **how)

    @agent.tool_plain
    def get_weather(city: str) -> dict[str, int]:
        return {"temp": 3}

    return agent


def events_of(agent, run_input, **how):
    return AGUIAdapter(agent=agent, run_input=run_input, include_usage=True).run_stream(**how)


def run_agent(stack, agent, run_input=None, **how):
    return asyncio.run(drained(record(events_of(agent, run_input or asked(), **how), stack.store)))


def test_an_agent_with_text_and_a_tool(stack):
    used = []
    run_agent(stack, weather(), on_complete=lambda result: used.append(result.usage))
    seen = the_recorded(stack)
    assert seen.types == [
        "RunStarted",
        "TextDelta",
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
    assert [each["delta"] for each in seen.of("TextDelta")] == ["Let me see. ", "3 ", "degrees."]
    assert seen.of("ToolCallCompleted")[0]["call"] == {
        "id": "c-1",
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
    }
    [done] = seen.of("ToolExecutionFinished")
    assert (done["tool_name"], done["result"]) == ("get_weather", {"Success": {"output": '{"temp":3}'}})
    assert isinstance(done["duration_ms"], int)
    state = seen.state
    assert (state.status, state.last_finish, state.session_id) == (RunStatus.COMPLETED, "stop", "thread-1")
    [usage] = used
    assert state.total_usage == Usage(usage.input_tokens, usage.output_tokens, usage.total_tokens)
    assert usage.total_tokens > 0


def test_an_agent_encodes_what_was_recorded_as_if_it_was_not(stack):
    async def frames(events):
        return [EventEncoder().encode(each) async for each in events]

    plain = asyncio.run(frames(stream(*asyncio.run(drained(weather_agent(asked()))))))
    assert asyncio.run(frames(record(weather_agent(asked()), stack.store))) == plain


def test_an_agent_whose_tool_wants_another_try(stack):
    async def model(messages, info):
        if len(messages) < 4:
            yield {0: DeltaToolCall(name="get", json_args="{}", tool_call_id=f"c-{len(messages)}")}
        else:
            yield "Done."

    agent = Agent(FunctionModel(stream_function=model))
    answers = iter([ModelRetry("not yet"), None])

    @agent.tool_plain
    def get() -> str:
        answer = next(answers)
        if answer is not None:
            raise answer
        return "it"

    run_agent(stack, agent)
    seen = the_recorded(stack)
    outputs = [each["result"]["Success"]["output"] for each in seen.of("ToolExecutionFinished")]
    assert "not yet" in outputs[0]
    assert outputs[1] == "it"
    assert (seen.state.status, seen.text) == (RunStatus.COMPLETED, "Done.")


def test_an_agent_whose_tool_raises(stack):
    agent = Agent(FunctionModel(stream_function=says_the_weather))

    @agent.tool_plain
    def get_weather(city: str) -> str:
        raise RuntimeError("no weather")

    run_agent(stack, agent)
    seen = the_recorded(stack)
    assert seen.types == [
        "RunStarted",
        "TextDelta",
        "AssistantMessageCommitted",
        "ToolCallCompleted",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ToolMessageCommitted",
        "RunFailed",
    ]
    assert seen.state.last_error == "no weather"


@pytest.mark.parametrize("calls_before", [0, 1])
def test_an_agent_whose_model_fails(stack, calls_before):
    async def model(messages, info):
        if len(messages) > 2 * calls_before:
            raise ConnectionError("overloaded")
        async for each in says_the_weather(messages, info):
            yield each

    run_agent(stack, weather(model))
    seen = the_recorded(stack)
    assert (seen.types[0], seen.types[-1]) == ("RunStarted", "RunFailed")
    assert len(seen.of("ToolCallCompleted")) == calls_before
    assert (seen.state.status, seen.state.last_error) == (RunStatus.FAILED, "overloaded")


class Endless:
    """A model that has written a word, and goes on for ever."""

    def __init__(self):
        self.is_writing = asyncio.Event()

    async def __call__(self, *_):
        yield "Hi"
        self.is_writing.set()
        await asyncio.Event().wait()
        yield "never"


def test_an_agent_whose_task_is_cancelled(stack):
    model = Endless()

    async def cancel():
        task = asyncio.create_task(drained(record(events_of(weather(model), asked()), stack.store)))
        await model.is_writing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert the_recorded(stack).types == ["RunStarted", "TextDelta", "RunCancelled"]


@pytest.mark.parametrize(("protocol", "status"), [("1.0", RunStatus.CANCELLED), (None, RunStatus.COMPLETED)])
def test_an_agent_that_is_cancelled_by_its_token_tells_only_clients_of_1_0(stack, protocol, status):
    model, token = Endless(), CancellationToken()

    async def cancel():
        run_input = asked(protocol_version=protocol)
        events = record(events_of(weather(model), run_input, cancellation_token=token), stack.store)
        task = asyncio.create_task(drained(events))
        await model.is_writing.wait()
        token.cancel()
        await task

    asyncio.run(cancel())
    seen = the_recorded(stack)
    assert seen.types[:3] == ["RunStarted", "TextDelta", "AssistantMessageCommitted"]
    assert seen.state.status is status


def test_several_agents_at_once_are_runs_of_their_own(stack):
    async def at_once():
        agent = weather()
        inputs = [asked(f"r-{number}", thread_id=f"t-{number}") for number in range(8)]
        await asyncio.gather(*(drained(record(events_of(agent, each), stack.store)) for each in inputs))

    asyncio.run(at_once())
    runs = all_recorded(stack)
    assert {each.record.run_id: each.record.session_id for each in runs} == {f"r-{n}": f"t-{n}" for n in range(8)}
    assert {tuple(each.types) for each in runs} == {tuple(runs[0].types)}
    assert {each.state.status for each in runs} == {RunStatus.COMPLETED}
    assert {each.text for each in runs} == {"Let me see. 3 degrees."}


def test_an_agent_that_waits_for_an_approval(stack):
    agent = Agent(FunctionModel(stream_function=says_the_weather), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def get_weather(city: str) -> str:
        return "3"

    run_agent(stack, agent)
    seen = the_recorded(stack)
    assert seen.types[-2:] == ["UsageRecorded", "agent.Paused"]
    assert seen.events[-1]["pending"] == ["int-c-1"]
    assert seen.of("ToolExecutionStarted") == []
    assert not seen.state.status.is_terminal
