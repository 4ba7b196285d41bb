"""Extensions: a plugin's own slice of a run's state, and the handlers that fold events into it.

An extension has a name, a typed state, a version, and handlers for event types, the core's or its own:

    class ApprovalState(ExtensionState):
        pending: int = 0

    approvals = Extension("approvals", ApprovalState, version=1)

    @approvals.on(ApprovalRequested)
    def count(state, event, run):
        state.pending += 1

A handler changes `state` in place. It sees the run as it is after the event, and can't change it. It has to be deterministic: no
clock, no randomness, no I/O. If it raises, or its state can't be stored, the extension is parked for that run, at the beginning
of the commit; the core and the other extensions go on.

One that is given `when`, a function of the state, is called only while that says true. It is asked when the state may have
changed, not at each event: so a handler of a frequent type costs nothing while it isn't waiting for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct, to_builtins

from behest_core.errors import PluginError
from behest_core.fold.settling import Settling
from behest_core.model.events import AnyEvent, Event
from behest_core.model.state import CORE_FOLD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from behest_core.model.state import RunState


_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_HIGHEST_VERSION: Final = 2**63 - 1

ExtensionHandler: TypeAlias = Callable[[Any, Any, "RunView"], None]
Condition: TypeAlias = Callable[[Any], bool]
_Handler = TypeVar("_Handler", bound=ExtensionHandler)


class Listener(NamedTuple):
    """A handler, and what has to be true of the state for it to be called, None where it always is."""

    handler: ExtensionHandler
    when: Condition | None = None


def _is_event_class(candidate: object) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Event)


class ExtensionState(Struct):
    """The base of an extension's state: fields with defaults, of types that JSON has."""


class HalfRead(Struct, gc=False):
    """An event that the core can read and an extension that listens to it can't."""

    event: AnyEvent
    listened: type[Event]
    error: Exception

    @property
    def timestamp(self) -> str:
        """The event's."""
        return self.event.timestamp


class RunView:
    """A run's state as a handler may see it: all its fields, none of which can be changed.

    `look` gives the state as of the event at hand. It is called when the handler wants a field, as most want none.
    """

    __slots__ = ("_look",)

    def __init__(self, look: Callable[[], RunState]) -> None:
        object.__setattr__(self, "_look", look)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (it is whatever the field is)
        value = getattr(self._look(), name)
        if value is None or isinstance(value, str | int):
            return value
        return to_builtins(value) if name == "metadata" else deepcopy(value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a handler can't change the run's {name}; keep it in the extension's own state")


class Extension:
    """A plugin's slice of every run's state.

    `name` is its key in the state item's `extensions`: lower case letters, digits, ``_`` and ``-``. `state` is a subclass of
    ExtensionState whose fields all have defaults. Raise `version` whenever the handlers give another state for the same log:
    stored slices are then folded again. Raises PluginError for a name or a state class that won't do.
    """

    def __init__(self, name: str, state: type[ExtensionState], *, version: int = 1) -> None:
        if not _NAME.fullmatch(name) or name == CORE_FOLD:
            raise PluginError(
                f"extension {name!r}: the name has to be lower case letters, digits, _ and -, at most 64, and not core"
            )
        if not 1 <= version <= _HIGHEST_VERSION:
            raise PluginError(f"extension {name}: version {version} is not from 1 to {_HIGHEST_VERSION:,}")
        self.name = name
        self.state = state
        self.version = version
        self._listeners: dict[type[Event], list[Listener]] = {}
        try:
            self.settling = Settling(name, state)
        except (TypeError, ValueError) as error:
            raise PluginError(
                f"extension {name}: {state.__name__} can't be stored ({error}); "
                "give every field a default, and a type that JSON has"
            ) from error

    @property
    def listeners(self) -> Mapping[type[Event], Sequence[Listener]]:
        """The handlers by event class, in the order they were given."""
        return self._listeners

    def on(self, *events: type[Event], when: Condition | None = None) -> Callable[[_Handler], _Handler]:
        """Register a function ``(state, event, run)`` for event classes.

        With `when`, a function of the state, it is called only while that says true.
        """
        for event in events:
            if not _is_event_class(event):
                raise PluginError(f"extension {self.name}: on() takes event classes, got {event!r}")

        def register(handler: _Handler) -> _Handler:
            for event in events:
                self._listeners.setdefault(event, []).append(Listener(handler, when))
            return handler

        return register
