"""Who listens to which events: what the slices of all runs have alike, made once per process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from behest_core.fold.extension import Condition, Extension, ExtensionHandler, HalfRead
from behest_core.model.limits import SLICE_BYTES, slice_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from behest_core.fold.reducer import Handler

Placed: TypeAlias = tuple[int, ExtensionHandler, Condition | None]
Teller: TypeAlias = Callable[[Any, Any], None]
"""What is called with a run's slices and an event."""


class Listening:
    """Who listens to what, for the slices of all runs.

    `listeners` has the extensions' handlers by class: the extension's place, the handler, and while what it is called. `core` has
    the core's handlers; `tell` and `tell_half_read` are what the slices have for events that somebody listens to.

    By place, `conditions` are those of an extension's handlers that have one, `classes` what it listens to, and `waited_for`
    those of them that nobody listens to always. `blank_sizes` are what blank slices count as, by name.
    """

    def __init__(
        self,
        extensions: tuple[Extension, ...],
        listeners: Mapping[type, tuple[Placed, ...]],
        core: Mapping[type, Handler],
        tell: Teller,
        tell_half_read: Teller,
    ) -> None:
        self.extensions = extensions
        self.heard = {each: (core.get(each), placed) for each, placed in listeners.items()}
        self.core: dict[type, Teller] = {each: _alone(handler) for each, handler in core.items()}
        self.tellers: dict[type, Teller] = {
            **self.core,
            **dict.fromkeys(listeners, tell),
            HalfRead: tell_half_read,
        }
        self.blank_sizes = {each.name: slice_size(each.settling.blank) + SLICE_BYTES for each in extensions}
        self.blank_bytes = sum(self.blank_sizes.values())
        places = range(len(extensions))
        self.conditions = [_conditions(place, listeners) for place in places]
        self.classes = [_classes(place, listeners) for place in places]
        waited_for = {each: placed for each, placed in listeners.items() if all(when for _, _, when in placed)}
        self.waited_for = [_classes(place, waited_for) for place in places]


def _alone(handler: Handler) -> Teller:
    return lambda slices, event: handler(slices.run, event)


def _classes(place: int, listeners: Mapping[type, tuple[Placed, ...]]) -> tuple[type, ...]:
    return tuple(each for each, placed in listeners.items() if any(where == place for where, _, _ in placed))


def _conditions(place: int, listeners: Mapping[type, tuple[Placed, ...]]) -> tuple[Condition, ...]:
    found = [when for placed in listeners.values() for where, _, when in placed if where == place and when is not None]
    return tuple(dict.fromkeys(found))
