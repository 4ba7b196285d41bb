"""What several AG-UI events of a run say together. It remembers what is open in the run, and nothing else.

- Chunks are opened and closed by the protocol's rules: a stream of chunks ends where its lane, the parent agent or a subagent,
  does anything else that is not only beside it.
- A message of anybody but the model is left out.
- A tool call is recorded when it is complete: with its name, and its arguments, decoded where they are JSON. A call without
  arguments has `{}`.
- That a tool ran is known only from its result, as calls of the frontend's tools and calls that wait for an approval end in
  the same way. So ToolExecutionStarted is recorded with the result, with the time at which the call was complete. The duration
  between the two is the longest that the tool can have run.
- A result whose call was made in an earlier run has neither name nor duration: they are "" and 0.
- The protocol doesn't say whether a tool failed: what it gave back is its output.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from ag_ui.core import (
    ActivityDeltaEvent,
    ActivitySnapshotEvent,
    BaseEvent,
    MessagesSnapshotEvent,
    RawEvent,
    ReasoningEncryptedValueEvent,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from behest_ag_ui.translation import time_of, translate
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
    from collections.abc import Iterator
    from datetime import datetime

    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON

Chunk: TypeAlias = TextMessageChunkEvent | ToolCallChunkEvent
End: TypeAlias = TextMessageEndEvent | ToolCallEndEvent

_BESIDE: Final = (
    ActivityDeltaEvent,
    ActivitySnapshotEvent,
    RawEvent,
    ReasoningEncryptedValueEvent,
    SubagentStartedEvent,
)
_OF_THE_RUN: Final = (MessagesSnapshotEvent, RunErrorEvent, RunFinishedEvent, RunStartedEvent)


class _Call:
    """A tool call that has no result yet. `written_at` is when it was complete, or began."""

    def __init__(self, name: str, written_at: datetime) -> None:
        self.name = name
        self.written_at = written_at
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


class Assembly:
    """What is open in one run."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._others: set[str] = set()  # the messages that are not the model's
        self._chunked: dict[str | None, End] = {}  # what will end the stream of chunks, by its subagent

    def take(self, event: BaseEvent) -> Iterator[NewEvent]:
        """Return what is known with this event."""
        for each in self._expanded(event):
            yield from self._assembled(each)

    # ------------------------------------------------------------ chunks

    def _expanded(self, event: BaseEvent) -> Iterator[BaseEvent]:
        """Return the event, or what a chunk stands for, and before it the end of what can't go on."""
        if isinstance(event, Chunk):
            yield from self._unchunked(event)
            return
        if isinstance(event, _OF_THE_RUN):
            yield from self._chunked.values()
            self._chunked.clear()
        elif not isinstance(event, _BESIDE):
            end = self._chunked.pop(getattr(event, "subagent_run_id", None), None)
            if end is not None:
                yield end
        yield event

    def _unchunked(self, chunk: Chunk) -> Iterator[BaseEvent]:
        lane = self._lane_of(chunk)
        end = self._chunked.get(lane)
        if end is None or not _goes_on(end, chunk):
            if end is not None:
                yield end
            start, end = _bounds(chunk)
            yield start
            self._chunked[lane] = end
        end.timestamp = round(1000 * time_of(chunk).timestamp())
        if chunk.delta:
            yield _piece(end, chunk.delta)

    def _lane_of(self, chunk: Chunk) -> str | None:
        """Return the subagent that a chunk belongs to; one that doesn't say goes on with what it fits, the parent's first."""
        if chunk.subagent_run_id is not None:
            return chunk.subagent_run_id
        fitting = (
            lane for lane in (None, *self._chunked) if lane in self._chunked and _goes_on(self._chunked[lane], chunk)
        )
        return next(fitting, None)

    # ------------------------------------------------------------ messages and calls

    def _assembled(self, event: BaseEvent) -> Iterator[NewEvent]:
        match event:
            case TextMessageStartEvent(message_id=message_id, role="developer" | "system" | "user"):
                self._others.add(message_id)
            case TextMessageContentEvent(message_id=message_id) | TextMessageEndEvent(message_id=message_id) if (
                message_id in self._others
            ):
                pass
            case ToolCallStartEvent(tool_call_id=call_id, tool_call_name=name):
                self._calls.setdefault(call_id, _Call(name, time_of(event)))
            case ToolCallArgsEvent(tool_call_id=call_id, delta=delta):
                self._calls[call_id].pieces.append(delta)
            case ToolCallEndEvent():
                yield self._called(event)
            case ToolCallResultEvent():
                yield from self._ran(event)
                yield from translate(event)
            case RunFinishedEvent():
                yield from translate(self._with_pending_calls(event))
            case _:
                yield from translate(event)

    def _called(self, event: ToolCallEndEvent) -> NewEvent:
        call = self._calls[event.tool_call_id]
        call.written_at = time_of(event)
        return ToolCallCompleted(
            call=ToolCall(event.tool_call_id, call.name, call.arguments), timestamp=from_datetime(call.written_at)
        )

    def _ran(self, event: ToolCallResultEvent) -> Iterator[NewEvent]:
        call_id, at = event.tool_call_id, time_of(event)
        call = self._calls.pop(call_id, None)
        if call is not None:
            began_at = from_datetime(call.written_at)
            yield ToolExecutionStarted(call_id=call_id, tool_name=call.name, timestamp=began_at)
        yield ToolExecutionFinished(
            call_id=call_id,
            tool_name="" if call is None else call.name,
            result=ToolExecutionResult.ok(as_json(event.content)),
            duration_ms=0 if call is None else max(0, (at - call.written_at) // timedelta(milliseconds=1)),
            timestamp=from_datetime(at),
        )

    def _with_pending_calls(self, event: RunFinishedEvent) -> RunFinishedEvent:
        """Return the event with the calls that have no result, where it names none."""
        match event.outcome:
            case None | RunFinishedSuccessOutcome(pending_tool_call_ids=None | []) if self._calls:
                outcome = RunFinishedSuccessOutcome(pending_tool_call_ids=list(self._calls))
                return event.model_copy(update={"outcome": outcome})
        return event


def _goes_on(end: End, chunk: Chunk) -> bool:
    """Return whether the chunk goes on with what `end` would end."""
    if isinstance(chunk, TextMessageChunkEvent):
        return isinstance(end, TextMessageEndEvent) and chunk.message_id in (None, end.message_id)
    return isinstance(end, ToolCallEndEvent) and chunk.tool_call_id in (None, end.tool_call_id)


def _bounds(chunk: Chunk) -> tuple[BaseEvent, End]:
    """Return the start and the end of what the chunk begins. Raises ValidationError where it doesn't say what that is."""
    about = chunk.model_dump(exclude_none=True, exclude={"type", "delta", "raw_event"})
    if isinstance(chunk, TextMessageChunkEvent):
        return TextMessageStartEvent(**about), TextMessageEndEvent(message_id=about["message_id"])
    return ToolCallStartEvent(**about), ToolCallEndEvent(tool_call_id=about["tool_call_id"])


def _piece(end: End, delta: str) -> BaseEvent:
    if isinstance(end, TextMessageEndEvent):
        return TextMessageContentEvent(message_id=end.message_id, delta=delta, timestamp=end.timestamp)
    return ToolCallArgsEvent(tool_call_id=end.tool_call_id, delta=delta, timestamp=end.timestamp)
