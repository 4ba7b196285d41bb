"""What several AG-UI events of a run say together. It remembers what is open in the run, and nothing else.

- A message of anybody but the model is left out.
- A tool call is recorded once, when it is complete: with its name, and its arguments, decoded where they are JSON. A call without
  arguments has `{}`. One whose result comes first is complete by that; what is told of it again is nothing new.
- That a tool ran is known only from its result, as calls of the frontend's tools and calls that wait for an approval end in
  the same way. So ToolExecutionStarted is recorded with the result, with the time at which the call was complete. The duration
  between the two is the longest that the tool can have run.
- A result whose call was made in an earlier run has no duration, 0, and only the name that the run's input has for it.
- The protocol doesn't say whether a tool failed: what it gave back is its output.
- What a model thought is told when its message ends, or the run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
from ag_ui.core import (
    BaseEvent,
    CustomEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedSuccessOutcome,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from behest_ag_ui.chunks import Chunks
from behest_ag_ui.steps import Steps
from behest_ag_ui.translation import given, step_of, time_of, translate
from behest_core.model.agent_events import ModelFinished
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.events import (
    ToolCall,
    ToolCallCompleted,
    ToolExecutionFinished,
    ToolExecutionResult,
    ToolExecutionStarted,
)
from behest_core.model.timestamps import from_datetime
from behest_core.recording.adapter import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from msgspec import UnsetType

    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON


class _Call:
    """A tool call that has no result yet. `written_at` is when it was complete, or began."""

    def __init__(self, name: str, asked_by: str | UnsetType, step_id: str | UnsetType, written_at: datetime) -> None:
        self.name = name
        self.asked_by = asked_by
        self.step_id = step_id
        self.written_at = written_at
        self.is_complete = False
        self.pieces: list[str] = []

    @property
    def arguments(self) -> JSON:
        """The arguments, as text where they are no JSON."""
        text = "".join(self.pieces)
        if not text:
            return {}
        try:
            return as_json(msgspec.json.decode(text))
        except DECODE_ERRORS:
            return as_json(text)


class _Thought:
    """What a model thinks in one message."""

    def __init__(self, step_id: str | UnsetType) -> None:
        self.step_id = step_id
        self.pieces: list[str] = []


class Assembly:
    """What is open in one run. `names` are those of the tools that were called in earlier runs, by call id."""

    def __init__(self, *, has_content: bool = True, names: Mapping[str, str] | None = None) -> None:
        self._has_content = has_content
        self._names = names or {}
        self._chunks = Chunks()
        self._steps = Steps()
        self._calls: dict[str, _Call] = {}
        self._answered: dict[str, object] = {}  # the calls that have their result, and the message that each is of
        self._others: set[str] = set()  # the messages that are not the model's
        self._thoughts: dict[str, _Thought] = {}

    def take(self, event: BaseEvent) -> Iterator[NewEvent]:
        """Return what is known with this event."""
        if not self._has_content:
            event = _without_content(event)
        for each in self._chunks.expanded(event):
            yield from self._steps.take(each)
            yield from self._assembled(each)

    def end(self, at: datetime, error: str | None = None) -> Iterator[NewEvent]:
        """Return what the end of the run, by `error` where it failed or was stopped, says of what is open."""
        for message_id in list(self._thoughts):
            yield from self._thought(message_id, at)
        yield from self._steps.end_all(at, error)

    def _assembled(self, event: BaseEvent) -> Iterator[NewEvent]:
        match event:
            case TextMessageStartEvent(message_id=message_id, role="developer" | "system" | "user"):
                self._others.add(message_id)
            case TextMessageContentEvent(message_id=message_id) | TextMessageEndEvent(message_id=message_id) if (
                message_id in self._others
            ):
                pass
            case ReasoningMessageContentEvent(message_id=message_id, delta=delta):
                self._thoughts.setdefault(message_id, _Thought(step_of(event))).pieces.append(delta)
            case ReasoningMessageEndEvent(message_id=message_id):
                yield from self._thought(message_id, time_of(event))
            case ToolCallStartEvent() | ToolCallArgsEvent() | ToolCallEndEvent() | ToolCallResultEvent():
                yield from self._of_a_call(event)
            case (
                StepStartedEvent()
                | StepFinishedEvent()
                | SubagentStartedEvent()
                | SubagentFinishedEvent()
                | SubagentErrorEvent()
            ):
                pass  # the steps have told it
            case RunFinishedEvent():
                yield from self.end(time_of(event))
                yield from translate(self._with_pending_calls(event))
            case RunErrorEvent():
                yield from self.end(time_of(event), event.message)
                yield from translate(event)
            case _:
                yield from translate(event)

    def _thought(self, message_id: str, at: datetime) -> Iterator[NewEvent]:
        thought = self._thoughts.pop(message_id, None)
        if thought is not None:
            yield ModelFinished(
                model_call_id=message_id,
                reasoning="".join(thought.pieces),
                step_id=thought.step_id,
                timestamp=from_datetime(at),
            )

    # ------------------------------------------------------------ tools

    def _of_a_call(
        self, event: ToolCallStartEvent | ToolCallArgsEvent | ToolCallEndEvent | ToolCallResultEvent
    ) -> Iterator[NewEvent]:
        call_id = event.tool_call_id
        call = self._calls.get(call_id)
        if call_id in self._answered and not self._comes_again(event):
            return
        if isinstance(event, ToolCallResultEvent):
            if call is not None and not call.is_complete:
                yield self._completed(call_id, call, time_of(event))
            yield from self._ran(event, call)
            yield from translate(event)
        elif call is not None and call.is_complete:
            return
        elif isinstance(event, ToolCallStartEvent):
            self._answered.pop(call_id, None)
            asked_by = given(event.parent_message_id)
            self._calls[call_id] = _Call(event.tool_call_name, asked_by, step_of(event), time_of(event))
        elif call is not None and isinstance(event, ToolCallArgsEvent):
            call.pieces.append(event.delta)
        elif call is not None:
            yield self._completed(call_id, call, time_of(event))

    def _comes_again(self, event: BaseEvent) -> bool:
        """Return whether the model asks for a call whose id it has used before: in another message, else it is told twice."""
        if not isinstance(event, ToolCallStartEvent) or event.parent_message_id is None:
            return False
        return self._answered[event.tool_call_id] != event.parent_message_id

    def _completed(self, call_id: str, call: _Call, at: datetime) -> NewEvent:
        call.is_complete = True
        call.written_at = at
        return ToolCallCompleted(
            call=ToolCall(call_id, call.name, call.arguments),
            model_call_id=call.asked_by,
            step_id=call.step_id,
            timestamp=from_datetime(at),
        )

    def _ran(self, event: ToolCallResultEvent, call: _Call | None) -> Iterator[NewEvent]:
        call_id, at = event.tool_call_id, time_of(event)
        self._calls.pop(call_id, None)
        made = call or _Call(self._names.get(call_id, ""), given(None), step_of(event), at)
        self._answered[call_id] = made.asked_by
        yield ToolExecutionStarted(
            call_id=call_id,
            tool_name=made.name,
            model_call_id=made.asked_by,
            step_id=made.step_id,
            timestamp=from_datetime(made.written_at),
        )
        yield ToolExecutionFinished(
            call_id=call_id,
            tool_name=made.name,
            result=ToolExecutionResult.ok(as_json(event.content)),
            duration_ms=max(0, (at - made.written_at) // timedelta(milliseconds=1)),
            model_call_id=made.asked_by,
            step_id=made.step_id,
            timestamp=from_datetime(at),
        )

    def _with_pending_calls(self, event: RunFinishedEvent) -> RunFinishedEvent:
        """Return the event with the calls that have no result, where it names none."""
        match event.outcome:
            case None | RunFinishedSuccessOutcome(pending_tool_call_ids=None | []) if self._calls:
                outcome = RunFinishedSuccessOutcome(pending_tool_call_ids=list(self._calls))
                return event.model_copy(update={"outcome": outcome})
        return event


def _without_content(event: BaseEvent) -> BaseEvent:
    """Return an event without the content that the recorder can't know: a custom value, an error that has no class before it."""
    match event:
        case CustomEvent():
            return event.model_copy(update={"value": None})
        case RunErrorEvent() | SubagentErrorEvent():
            return event.model_copy(update={"message": event.code or event.type.value, "code": None})
    return event
