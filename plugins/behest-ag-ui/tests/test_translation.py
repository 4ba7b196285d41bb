"""What one AG-UI event says in behest's events."""

import asyncio
import json

import pytest
from ag_ui.core import (
    ActivitySnapshotEvent,
    CustomEvent,
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
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallStartEvent,
)
from ag_ui_models import NOON, asked, finished, result, started, weather_agent
from behest_ag_ui import translate
from msgspec import UNSET
from pydantic import ValidationError

from behest_core.model.agent_events import Paused, StepFinished, StepStarted
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
from behest_core.model.state import TokenUsage as Usage
from behest_core.recording.adapter import id_of

AT = "2026-01-31T12:00:00.000000Z"


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
        (
            TextMessageContentEvent(message_id="m", delta="Hi"),
            [TextDelta(delta="Hi", model_call_id="m", timestamp=AT)],
        ),
        (
            TextMessageContentEvent(message_id="m", delta="Hi", subagent_run_id="s"),
            [TextDelta(delta="Hi", model_call_id="m", step_id="s", timestamp=AT)],
        ),
        (TextMessageContentEvent(message_id="", delta="Hi"), [TextDelta(delta="Hi", timestamp=AT)]),
        (TextMessageContentEvent(message_id="m", delta=""), []),
        (TextMessageChunkEvent(message_id="m", delta="Hi"), [TextDelta(delta="Hi", model_call_id="m", timestamp=AT)]),
        (TextMessageChunkEvent(message_id="m", role="user", delta="Hi"), []),
        (TextMessageChunkEvent(message_id="m"), []),
        (
            TextMessageEndEvent(message_id="m"),
            [AssistantMessageCommitted(message_id="m", model_call_id="m", timestamp=AT)],
        ),
        (
            ToolCallStartEvent(tool_call_id="c", tool_call_name="f"),
            [ToolCallStarted(call_id="c", tool_name="f", timestamp=AT)],
        ),
        (
            ToolCallStartEvent(tool_call_id="c", tool_call_name="f", parent_message_id="m"),
            [ToolCallStarted(call_id="c", tool_name="f", model_call_id="m", timestamp=AT)],
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
        (
            StepStartedEvent(step_name="plan"),
            [StepStarted(step_id="plan", name="plan", kind="step", timestamp=AT)],
        ),
        (StepFinishedEvent(step_name="plan"), [StepFinished(step_id="plan", timestamp=AT)]),
        (
            SubagentStartedEvent(subagent_run_id="s", name="search", parent_subagent_run_id="r"),
            [StepStarted(step_id="s", name="search", kind="agent", parent_step_id="r", timestamp=AT)],
        ),
        (SubagentFinishedEvent(subagent_run_id="s"), [StepFinished(step_id="s", timestamp=AT)]),
        (
            SubagentErrorEvent(subagent_run_id="s", message="no", code="E1"),
            [StepFinished(step_id="s", error="E1: no", timestamp=AT)],
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
            Usage(9, 1, 10, cache_read_input_tokens=4, cache_creation_input_tokens=3),
        ),
        (TokenUsage(input_tokens=9, cached_input_tokens=0), Usage(9, 0, 9, cache_read_input_tokens=0)),
        (
            TokenUsage(input_tokens=1520, output_tokens=5, cached_input_tokens=1000, cache_write_input_tokens=500),
            Usage(1520, 5, 1525, cache_read_input_tokens=1000, cache_creation_input_tokens=500),
        ),
        (
            TokenUsage(input_tokens=5, cache_write_input_tokens=500),
            Usage(505, 0, 505, cache_creation_input_tokens=500),
        ),
    ],
)
@pytest.mark.parametrize("end", [finished(asked()), RunErrorEvent(message="no")], ids=["finished", "error"])
def test_tokens_come_with_the_end_of_the_run_whichever_it_is(end, used, usage):
    said = translate(end.model_copy(update={"usage": [used], "timestamp": NOON}))
    assert said[:-1] == [UsageRecorded(usage=usage, timestamp=AT)]


def test_each_provider_and_model_has_its_own_usage_and_one_without_counts_has_none():
    usage = [
        TokenUsage(provider="p", model="a", input_tokens=1, output_tokens=7, reasoning_tokens=5),
        TokenUsage(model="b"),
        TokenUsage(model="c", input_tokens=2),
    ]
    said = translate(finished(asked(), usage=usage))
    assert [each.usage.input_tokens for each in said[:-1]] == [1, 2]
    assert [(each.provider, each.model) for each in said[:-1]] == [("p", "a"), (UNSET, "c")]
    assert [each.reasoning_output_tokens for each in said[:-1]] == [5, UNSET]
    assert said[0].usage.cache_read_input_tokens is UNSET


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


def test_an_empty_thread_is_a_session_of_its_own():
    [one], [other] = translate(started(asked(thread_id=""))), translate(started(asked(thread_id="")))
    assert one.session_id != other.session_id


def test_a_session_has_an_id_within_the_limits():
    [said] = translate(started(asked(thread_id="x" * 300)), provider="p", model="m")
    assert (said.session_id, said.provider, said.model) == (id_of("x" * 300), "p", "m")
