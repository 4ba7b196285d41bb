"""What one AG-UI event says in behest's events. Nothing is remembered from one event to the next.

- The protocol has no event for a call of the model: there is no ModelStarted, and `iterations` is 0. What has a message's id is
  what the model gave in one answer: the id is the `model_call_id` of the text, the tool calls and the reasoning that name it.
- What a subagent does is in the step of its id.
- Text is taken as the model's. Only TEXT_MESSAGE_START, and the first chunk of a message, say whose it is.
- A tool call's name, arguments and result are in different events, and so is what a model thought. So there are no
  ToolCallCompleted, ToolExecutionFinished and `agent.ModelFinished`; `Assembly` (assembly.py) has them.
- Tokens come once, with the end of the run: a UsageRecorded for each provider and model, which it names. The protocol's tokens
  mean what behest's mean.
- An interrupted run is paused, not over. A run that left tool calls to the frontend is completed, its finish reason `tool_calls`.
- Steps and subagents are steps. A step is known by its name, as it has no id. Custom events are kept as they are: `ag_ui.Custom`.
- State, activities, snapshots of messages, and raw events say nothing that behest has a word for, and are left out.
- Times are the event's, milliseconds since 1970, as all producers write them; where it has none, now. An empty id is none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import uuid4

from ag_ui.core import BaseEvent, Event, EventType, RunStartedEvent
from msgspec import UNSET, UnsetType
from pydantic import TypeAdapter, ValidationError

from behest_core.model.agent_events import Paused, StepFinished, StepStarted
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
from behest_core.recording.adapter import all_input, as_json, id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ag_ui.core import (
        CustomEvent,
        RunErrorEvent,
        RunFinishedEvent,
        StepFinishedEvent,
        StepStartedEvent,
        SubagentErrorEvent,
        SubagentFinishedEvent,
        SubagentStartedEvent,
        TextMessageChunkEvent,
        TextMessageContentEvent,
        TextMessageEndEvent,
        ToolCallArgsEvent,
        ToolCallChunkEvent,
        ToolCallResultEvent,
        ToolCallStartEvent,
    )
    from ag_ui.core import TokenUsage as ToldUsage

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
        session_id = id_of(seen.thread_id or uuid4())
        return [RunStarted(session_id=session_id, provider=provider, model=model, timestamp=at)]
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


def given(text: str | None) -> str | UnsetType:
    """Return an id as it stands in an event: an empty one is none."""
    return text or UNSET


def step_of(event: BaseEvent) -> str | UnsetType:
    """Return the step that an event belongs to: its subagent's."""
    return given(getattr(event, "subagent_run_id", None))


# ---------------------------------------------------------------- text


def _text(event: TextMessageContentEvent | TextMessageChunkEvent, at: str) -> list[NewEvent]:
    if not event.delta:
        return []
    call = given(event.message_id)
    return [TextDelta(delta=event.delta, model_call_id=call, step_id=step_of(event), timestamp=at)]


def _text_chunk(event: TextMessageChunkEvent, at: str) -> list[NewEvent]:
    return _text(event, at) if event.role in (None, "assistant") else []


def _message(event: TextMessageEndEvent, at: str) -> list[NewEvent]:
    return [
        AssistantMessageCommitted(
            message_id=event.message_id, model_call_id=given(event.message_id), step_id=step_of(event), timestamp=at
        )
    ]


# ---------------------------------------------------------------- tools


def _call(event: ToolCallStartEvent | ToolCallChunkEvent, at: str) -> list[NewEvent]:
    if event.tool_call_id is None or event.tool_call_name is None:
        return []
    return [
        ToolCallStarted(
            call_id=event.tool_call_id,
            tool_name=event.tool_call_name,
            model_call_id=given(event.parent_message_id),
            step_id=step_of(event),
            timestamp=at,
        )
    ]


def _arguments(event: ToolCallArgsEvent | ToolCallChunkEvent, at: str) -> list[NewEvent]:
    if event.tool_call_id is None or not event.delta:
        return []
    return [ToolCallDelta(call_id=event.tool_call_id, delta=event.delta, step_id=step_of(event), timestamp=at)]


def _call_chunk(event: ToolCallChunkEvent, at: str) -> list[NewEvent]:
    return [*_call(event, at), *_arguments(event, at)]


def _result(event: ToolCallResultEvent, at: str) -> list[NewEvent]:
    return [ToolMessageCommitted(message_id=event.message_id, step_id=step_of(event), timestamp=at)]


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
    return [*_usage(event, at), RunFailed(error=error_of(event), timestamp=at)]


def error_of(event: RunErrorEvent | SubagentErrorEvent) -> str:
    """Return why the run, or a subagent, failed: the code and the message."""
    return event.message if event.code is None else f"{event.code}: {event.message}"


def _usage(event: RunFinishedEvent | RunErrorEvent, at: str) -> list[NewEvent]:
    return [
        _used(each, at) for each in event.usage or [] if each.input_tokens is not None or each.output_tokens is not None
    ]


def _used(told: ToldUsage, at: str) -> UsageRecorded:
    cached = (told.cached_input_tokens or 0) + (told.cache_write_input_tokens or 0)
    given_tokens, written = all_input(told.input_tokens or 0, cached), told.output_tokens or 0
    usage = TokenUsage(
        given_tokens,
        written,
        given_tokens + written,
        cache_read_input_tokens=_counted(told.cached_input_tokens),
        cache_creation_input_tokens=_counted(told.cache_write_input_tokens),
    )
    return UsageRecorded(
        usage=usage,
        provider=given(told.provider),
        model=given(told.model),
        reasoning_output_tokens=_counted(told.reasoning_tokens),
        timestamp=at,
    )


def _counted(tokens: int | None) -> int | UnsetType:
    return UNSET if tokens is None else tokens


# ---------------------------------------------------------------- steps


def _step(event: StepStartedEvent, at: str) -> list[NewEvent]:
    name = event.step_name
    return [StepStarted(step_id=name, name=name, kind="step", parent_step_id=step_of(event), timestamp=at)]


def _step_ended(event: StepFinishedEvent, at: str) -> list[NewEvent]:
    return [StepFinished(step_id=event.step_name, timestamp=at)]


def _subagent(event: SubagentStartedEvent, at: str) -> list[NewEvent]:
    parent = given(event.parent_subagent_run_id)
    return [
        StepStarted(step_id=event.subagent_run_id, name=event.name, kind="agent", parent_step_id=parent, timestamp=at)
    ]


def _subagent_ended(event: SubagentFinishedEvent, at: str) -> list[NewEvent]:
    return [StepFinished(step_id=event.subagent_run_id, timestamp=at)]


def _subagent_failed(event: SubagentErrorEvent, at: str) -> list[NewEvent]:
    return [StepFinished(step_id=event.subagent_run_id, error=error_of(event), timestamp=at)]


# ---------------------------------------------------------------- the rest


def _custom(event: CustomEvent, at: str) -> list[NewEvent]:
    step = step_of(event)
    about = {} if step is UNSET else {"step_id": step}
    return [{"type": "ag_ui.Custom", "name": event.name, "value": as_json(event.value), **about, "timestamp": at}]


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
    EventType.STEP_STARTED: _step,
    EventType.STEP_FINISHED: _step_ended,
    EventType.SUBAGENT_STARTED: _subagent,
    EventType.SUBAGENT_FINISHED: _subagent_ended,
    EventType.SUBAGENT_ERROR: _subagent_failed,
    EventType.CUSTOM: _custom,
}
