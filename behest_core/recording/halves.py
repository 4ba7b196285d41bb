"""Halves: a character that is streamed in two pieces. Both halves of a surrogate pair are text to Python, and none to UTF-8.

- A half at the end of a delta is held back until the next delta of the same call, and begins that one.
- It stays alone where the call's text ends before: then it is U+FFFD, in a delta of its own.
- Which call a delta is of, its `model_call_id` says, of a tool call's arguments its `call_id`; without either it is the latest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from behest_core.model.agent_events import ModelFailed, ModelFinished, Paused, TextDiscarded
from behest_core.model.events import (
    TERMINAL_TYPES,
    AssistantMessageCommitted,
    ModelStarted,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    type_name,
)
from behest_core.recording.storable import REPLACEMENT, as_object, type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from behest_core.model.events import NewEvent

_DELTAS: Final = frozenset(map(type_name, (TextDelta, ToolCallDelta)))
_ENDS_OF_CALLS: Final = frozenset(
    map(
        type_name,
        (ModelStarted, ToolCallCompleted, AssistantMessageCommitted, ModelFinished, ModelFailed, TextDiscarded, Paused),
    )
)

_Call = tuple[object, object, object]


class Halves:
    """The halves that are held back: `held`, each with the delta it was the end of."""

    def __init__(self) -> None:
        self.held: dict[_Call, dict[str, Any]] = {}

    def hold(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Keep the half at the end of a delta; return the event without it, None where nothing else is in it."""
        delta = event.get("delta")
        if event["type"] not in _DELTAS or not isinstance(delta, str) or not "\ud800" <= delta[-1:] <= "\udbff":
            return event
        self.held[_call(event)] = {**event, "delta": delta[-1]}
        return {**event, "delta": delta[:-1]} if len(delta) > 1 else None

    def resume(self, event: NewEvent) -> list[NewEvent]:
        """Return the event with the half that it goes on with, or behind the halves that stay alone because of it."""
        kind = type_of(event)
        if kind in _DELTAS:
            fields = as_object(event)
            held = self.held.pop(_call(fields), None)
            goes_on = held is not None and isinstance(fields.get("delta"), str)
            return [{**fields, "delta": held["delta"] + fields["delta"]} if held and goes_on else event]
        if kind in TERMINAL_TYPES:
            return [*self.left_alone(), event]
        if kind in _ENDS_OF_CALLS:
            return [*self.left_alone(as_object(event).get("model_call_id")), event]
        return [event]

    def left_alone(self, model_call_id: object = None) -> list[NewEvent]:
        """Return the halves that nothing will follow, of one model call or all, as deltas of what stands for them."""
        calls = [call for call in list(self.held) if None in {model_call_id, call[1]} or call[1] == model_call_id]
        held = [self.held.pop(call, None) for call in calls]
        return [{**each, "delta": REPLACEMENT} for each in held if each is not None]


def _call(event: Mapping[str, Any]) -> _Call:
    """Return what a delta is a piece of."""
    model_call_id = event.get("model_call_id")
    return event["type"], model_call_id if isinstance(model_call_id, str) else None, str(event.get("call_id"))
