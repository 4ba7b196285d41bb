"""OpenTools: which tools have begun and not ended, so that each has an end when its run has.

Tools may be cancelled with the run, be killed, or be held back by their framework, which tells it late or never. An end that is
told after the recorder has told it is nothing new. Calls are told apart by their id and the model call that asked for them; where
a model gives one id twice in an answer, they end in the order in which they began.
"""

from __future__ import annotations

import sys
import time
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from behest_core.model.cache import BoundedCache
from behest_core.model.events import (
    EncodedEvent,
    ToolExecutionFinished,
    ToolExecutionResult,
    ToolExecutionStarted,
    type_name,
)
from behest_core.model.timestamps import now

_STARTED: Final = type_name(ToolExecutionStarted)
FINISHED: Final = type_name(ToolExecutionFinished)
CANCELLED: Final = "cancelled"
"""Why a tool has ended that was stopped, alone or with its run."""

TOOL_TYPES: Final = frozenset({_STARTED, FINISHED})

_BYTES: Final = 1024 * 1024
"""What is kept of tools that have not ended: of some thousand calls with ids of the usual length."""


class _Tool(Struct, gc=False):
    call_id: str
    tool_name: str
    model_call_id: str | UnsetType = UNSET
    step_id: str | UnsetType = UNSET


_read = msgspec.json.Decoder(_Tool).decode


class _Begun(Struct):
    """A tool that has begun, and when."""

    tool: _Tool
    moment: float

    @property
    def milliseconds(self) -> int:
        return round(1000 * (time.monotonic() - self.moment))


class OpenTools:
    """The tools of one run that have begun, by call id, in bounded memory: of too many, the first are forgotten."""

    def __init__(self) -> None:
        self._open: BoundedCache[list[_Begun]] = BoundedCache(_BYTES, _size)
        self._ended: BoundedCache[None] = BoundedCache(_BYTES)

    def note(self, event: EncodedEvent) -> None:
        """Note that a tool began or ended: an event of one of TOOL_TYPES."""
        tool = _read(event.raw)
        begun = self._open.pop(tool.call_id) or []
        if event.type == _STARTED:
            begun.append(_Begun(tool, time.monotonic()))
        elif begun:
            begun.remove(_of_call(begun, tool.model_call_id))
        if begun:
            self._open.put(tool.call_id, begun)

    def milliseconds_of(self, call_id: str, model_call_id: str | None = None) -> int:
        """Return how long ago a tool began, 0 where nobody knows."""
        begun = self._open.get(call_id)
        return 0 if begun is None else _of_call(begun, UNSET if model_call_id is None else model_call_id).milliseconds

    def end_all(self, reason: str) -> list[ToolExecutionFinished]:
        """Return the ends of the tools that have none."""
        ends = []
        for call_id in self._open.names():
            begun = self._open.pop(call_id)
            if begun is not None:
                self._ended.put(call_id, None)
                ends += [_end(each.tool, reason, each.milliseconds) for each in begun]
        return ends

    def was_ended(self, event: EncodedEvent) -> bool:
        """Return whether the event is the end of a tool that has been ended with the run."""
        return event.type == FINISHED and _read(event.raw).call_id in self._ended


def _of_call(begun: list[_Begun], model_call_id: str | UnsetType) -> _Begun:
    """Return the first tool of a model call among those of one id; the first of all where none is the call's."""
    return next((each for each in begun if each.tool.model_call_id == model_call_id), begun[0])


def _size(begun: list[_Begun]) -> int:
    names = _Tool.__struct_fields__
    return sum(128 + sum(sys.getsizeof(getattr(each.tool, name)) for name in names) for each in begun)


def _end(tool: _Tool, reason: str, milliseconds: int) -> ToolExecutionFinished:
    return ToolExecutionFinished(
        call_id=tool.call_id,
        tool_name=tool.tool_name,
        result=ToolExecutionResult.failed(reason),
        duration_ms=milliseconds,
        model_call_id=tool.model_call_id,
        step_id=tool.step_id,
        timestamp=now(),
    )
