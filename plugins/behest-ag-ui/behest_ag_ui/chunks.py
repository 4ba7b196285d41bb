"""Chunks: events that stand for a start, its content and its end, opened and closed by the protocol's rules.

A stream of chunks ends where its lane, the parent agent or a subagent, does anything else that is not only beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from ag_ui.core import (
    ActivityDeltaEvent,
    ActivitySnapshotEvent,
    BaseEvent,
    MessagesSnapshotEvent,
    RawEvent,
    ReasoningEncryptedValueEvent,
    ReasoningMessageChunkEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
)

from behest_ag_ui.translation import time_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Chunk: TypeAlias = TextMessageChunkEvent | ReasoningMessageChunkEvent | ToolCallChunkEvent
End: TypeAlias = TextMessageEndEvent | ReasoningMessageEndEvent | ToolCallEndEvent

_BESIDE: Final = (
    ActivityDeltaEvent,
    ActivitySnapshotEvent,
    RawEvent,
    ReasoningEncryptedValueEvent,
    SubagentStartedEvent,
)
_OF_THE_RUN: Final = (MessagesSnapshotEvent, RunErrorEvent, RunFinishedEvent, RunStartedEvent)


class Chunks:
    """The streams of chunks that are open in one run."""

    def __init__(self) -> None:
        self._open: dict[str | None, End] = {}  # what will end each, by its subagent

    def expanded(self, event: BaseEvent) -> Iterator[BaseEvent]:
        """Return the event, or what a chunk stands for, and before it the end of what can't go on."""
        if isinstance(event, Chunk):
            yield from self._unchunked(event)
            return
        if isinstance(event, _OF_THE_RUN):
            yield from self._open.values()
            self._open.clear()
        elif not isinstance(event, _BESIDE):
            end = self._open.pop(getattr(event, "subagent_run_id", None), None)
            if end is not None:
                yield end
        yield event

    def _unchunked(self, chunk: Chunk) -> Iterator[BaseEvent]:
        lane = self._lane_of(chunk)
        end = self._open.get(lane)
        if end is None or not _goes_on(end, chunk):
            if end is not None:
                yield end
            start, end = _bounds(chunk)
            yield start
            self._open[lane] = end
        end.timestamp = round(1000 * time_of(chunk).timestamp())
        if chunk.delta:
            yield _piece(end, chunk.delta)

    def _lane_of(self, chunk: Chunk) -> str | None:
        """Return the subagent that a chunk belongs to; one that doesn't say goes on with what it fits, the parent's first."""
        if chunk.subagent_run_id is not None:
            return chunk.subagent_run_id
        fitting = (lane for lane in (None, *self._open) if lane in self._open and _goes_on(self._open[lane], chunk))
        return next(fitting, None)


def _goes_on(end: End, chunk: Chunk) -> bool:
    """Return whether the chunk goes on with what `end` would end."""
    if isinstance(chunk, ToolCallChunkEvent):
        return isinstance(end, ToolCallEndEvent) and chunk.tool_call_id in (None, end.tool_call_id)
    kind = TextMessageEndEvent if isinstance(chunk, TextMessageChunkEvent) else ReasoningMessageEndEvent
    return isinstance(end, kind) and chunk.message_id in (None, end.message_id)


def _bounds(chunk: Chunk) -> tuple[BaseEvent, End]:
    """Return the start and the end of what the chunk begins. Raises ValidationError where it doesn't say what that is."""
    about = chunk.model_dump(exclude_none=True, exclude={"type", "delta", "raw_event"})
    lane = chunk.subagent_run_id
    if isinstance(chunk, ToolCallChunkEvent):
        return ToolCallStartEvent(**about), ToolCallEndEvent(tool_call_id=about["tool_call_id"], subagent_run_id=lane)
    if isinstance(chunk, ReasoningMessageChunkEvent):
        return ReasoningMessageStartEvent(**about), ReasoningMessageEndEvent(
            message_id=about["message_id"], subagent_run_id=lane
        )
    return TextMessageStartEvent(**about), TextMessageEndEvent(message_id=about["message_id"], subagent_run_id=lane)


def _piece(end: End, delta: str) -> BaseEvent:
    at, lane = end.timestamp, end.subagent_run_id
    match end:
        case TextMessageEndEvent(message_id=message_id):
            return TextMessageContentEvent(message_id=message_id, delta=delta, timestamp=at, subagent_run_id=lane)
        case ReasoningMessageEndEvent(message_id=message_id):
            return ReasoningMessageContentEvent(message_id=message_id, delta=delta, timestamp=at, subagent_run_id=lane)
    return ToolCallArgsEvent(tool_call_id=end.tool_call_id, delta=delta, timestamp=at, subagent_run_id=lane)
