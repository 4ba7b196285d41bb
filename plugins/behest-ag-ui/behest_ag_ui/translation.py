"""What one AG-UI event says in behest's events. Nothing is remembered from one event to the next.

- Text is taken as the model's. Only TEXT_MESSAGE_START, and the first chunk of a message, say whose it is.
- A tool call's name, arguments and result are in different events. So there are no ToolCallCompleted and ToolExecutionFinished;
  `Assembly` (assembly.py) has them.
- The protocol has no event for a call of the model: there is no ModelStarted, and `iterations` is 0.
- Tokens come once, with the end of the run: a UsageRecorded for each provider and model. The protocol's `inputTokens` has cache
  reads and writes in it; behest counts writes beside it.
- An interrupted run is paused, not over. A run that left tool calls to the frontend is completed, its finish reason `tool_calls`.
- Steps, subagents and custom events are kept as they are, under names such as `ag_ui.StepStarted`.
- Reasoning, state, activities, snapshots of messages, and raw events say nothing that behest has a word for, and are left out.
- Times are the event's, milliseconds since 1970, as all producers write them; where it has none, now.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ag_ui.core import BaseEvent, Event, EventType, RunStartedEvent
from pydantic import TypeAdapter, ValidationError

from behest_core.model.agent_events import Paused
from behest_core.model.events import (
    AssistantMessageCommitted,
    NewEvent,
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
from behest_core.model.state import TokenUsage
from behest_core.model.timestamps import from_datetime
from behest_core.recording.adapter import as_json, id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ag_ui.core import (
        RunErrorEvent,
        RunFinishedEvent,
        TextMessageChunkEvent,
        TextMessageContentEvent,
        TextMessageEndEvent,
        ToolCallArgsEvent,
        ToolCallChunkEvent,
        ToolCallResultEvent,
        ToolCallStartEvent,
    )

UNKNOWN: Final = "unknown"
"""The provider and the model where nobody says them: no AG-UI event does before the run's end."""

AGUIEvent: TypeAlias = "BaseEvent | Mapping[str, Any]"
"""An event as an object of `ag_ui.core`, or as the JSON object that it is on the wire."""

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: Final = frozenset(each.value for each in EventType)

_from_json = TypeAdapter[BaseEvent](Event).validate_python


def translate(event: AGUIEvent, *, provider: str = UNKNOWN, model: str = UNKNOWN) -> list[NewEvent]:
    """Return what the event says; nothing for a type that says nothing here, or that the installed protocol doesn't know.

    `provider` and `model` are for RunStarted. Raises pydantic's ValidationError for a JSON object that is no event of its type.
    """
    seen = parsed(event)
    if seen is None:
        return []
    at = from_datetime(time_of(seen))
    if isinstance(seen, RunStartedEvent):
        return [RunStarted(session_id=id_of(seen.thread_id), provider=provider, model=model, timestamp=at)]
    rule = _RULES.get(seen.type)
    return [] if rule is None else rule(seen, at)


def parsed(event: AGUIEvent) -> BaseEvent | None:
    """Return the event as an object; None for a type that the installed protocol doesn't know. Raises as `translate`."""
    if isinstance(event, BaseEvent):
        return event
    if event.get("type") not in _TYPES:
        return None
    try:
        return _from_json(event)
    except ValidationError:  # a lone surrogate, say, which is no text to pydantic
        mended = _from_json(as_json(event))
        # the recorder joins the halves of a character, so that they must come to it as they are
        return mended.model_copy(update={"delta": event["delta"]}) if "delta" in event else mended


def time_of(event: BaseEvent) -> datetime:
    """Return when the event happened, or now."""
    if event.timestamp is not None:
        try:
            return _1970 + timedelta(milliseconds=event.timestamp)
        except OverflowError:
            pass  # the protocol allows times that no calendar has
    return datetime.now(UTC)


# ---------------------------------------------------------------- text


def _text(event: TextMessageContentEvent, at: str) -> list[NewEvent]:
    return [TextDelta(delta=event.delta, timestamp=at)] if event.delta else []


def _text_chunk(event: TextMessageChunkEvent, at: str) -> list[NewEvent]:
    is_the_models = event.role in (None, "assistant")
    return [TextDelta(delta=event.delta, timestamp=at)] if event.delta and is_the_models else []


def _message(event: TextMessageEndEvent, at: str) -> list[NewEvent]:
    return [AssistantMessageCommitted(message_id=event.message_id, timestamp=at)]


# ---------------------------------------------------------------- tools


def _call(event: ToolCallStartEvent, at: str) -> list[NewEvent]:
    return [ToolCallStarted(call_id=event.tool_call_id, tool_name=event.tool_call_name, timestamp=at)]


def _arguments(event: ToolCallArgsEvent, at: str) -> list[NewEvent]:
    return [ToolCallDelta(call_id=event.tool_call_id, delta=event.delta, timestamp=at)] if event.delta else []


def _call_chunk(event: ToolCallChunkEvent, at: str) -> list[NewEvent]:
    said: list[NewEvent] = []
    if event.tool_call_id is not None and event.tool_call_name is not None:
        said.append(ToolCallStarted(call_id=event.tool_call_id, tool_name=event.tool_call_name, timestamp=at))
    if event.tool_call_id is not None and event.delta:
        said.append(ToolCallDelta(call_id=event.tool_call_id, delta=event.delta, timestamp=at))
    return said


def _result(event: ToolCallResultEvent, at: str) -> list[NewEvent]:
    return [ToolMessageCommitted(message_id=event.message_id, timestamp=at)]


# ---------------------------------------------------------------- the end


def _finished(event: RunFinishedEvent, at: str) -> list[NewEvent]:
    return [*_usage(event, at), _outcome(event, at)]


def _outcome(event: RunFinishedEvent, at: str) -> NewEvent:
    outcome = event.outcome
    if outcome is not None and outcome.type == "cancelled":
        return RunCancelled(timestamp=at)
    if outcome is not None and outcome.type == "interrupt":
        reasons = dict.fromkeys(each.reason for each in outcome.interrupts)
        pending = [each.id for each in outcome.interrupts]
        return Paused(reason=", ".join(reasons), pending=pending, timestamp=at)
    is_waited_for = outcome is not None and outcome.pending_tool_call_ids
    return RunCompleted(finish_reason="tool_calls" if is_waited_for else "stop", iterations=0, timestamp=at)


def _failed(event: RunErrorEvent, at: str) -> list[NewEvent]:
    error = event.message if event.code is None else f"{event.code}: {event.message}"
    return [*_usage(event, at), RunFailed(error=error, timestamp=at)]


def _usage(event: RunFinishedEvent | RunErrorEvent, at: str) -> list[NewEvent]:
    said: list[NewEvent] = []
    for each in event.usage or []:
        if each.input_tokens is None and each.output_tokens is None:
            continue
        written = each.cache_write_input_tokens or 0
        input_tokens = max(0, (each.input_tokens or 0) - written)
        output_tokens = each.output_tokens or 0
        usage = TokenUsage(input_tokens, output_tokens, input_tokens + output_tokens)
        if each.cached_input_tokens is not None:
            usage.cached_input_tokens = each.cached_input_tokens
        if each.cache_write_input_tokens is not None:
            usage.cache_creation_input_tokens = written
        said.append(UsageRecorded(usage=usage, timestamp=at))
    return said


# ---------------------------------------------------------------- the rest


def _as_it_is(event: BaseEvent, at: str) -> list[NewEvent]:
    name = event.type.value.title().replace("_", "")
    fields = event.model_dump(by_alias=True, exclude={"type", "timestamp", "raw_event"})
    return [{"type": f"ag_ui.{name}", **{key: as_json(value) for key, value in fields.items()}, "timestamp": at}]


_RULES: Final[Mapping[EventType, Callable[[Any, str], list[NewEvent]]]] = {
    EventType.TEXT_MESSAGE_CONTENT: _text,
    EventType.TEXT_MESSAGE_CHUNK: _text_chunk,
    EventType.TEXT_MESSAGE_END: _message,
    EventType.TOOL_CALL_START: _call,
    EventType.TOOL_CALL_ARGS: _arguments,
    EventType.TOOL_CALL_CHUNK: _call_chunk,
    EventType.TOOL_CALL_RESULT: _result,
    EventType.RUN_FINISHED: _finished,
    EventType.RUN_ERROR: _failed,
    EventType.STEP_STARTED: _as_it_is,
    EventType.STEP_FINISHED: _as_it_is,
    EventType.SUBAGENT_STARTED: _as_it_is,
    EventType.SUBAGENT_FINISHED: _as_it_is,
    EventType.SUBAGENT_ERROR: _as_it_is,
    EventType.CUSTOM: _as_it_is,
}
