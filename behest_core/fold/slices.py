"""Folding events into the slices of a run's extensions, beside the core.

The rules:

- The slice of an extension that goes on has come as far as the run. One that hasn't (it is new, of another version, resumed)
  needs the run from its beginning, as its handlers see the run as of each event: then all start again together (restart.py).
  Where the log no longer reaches back, it is parked instead, and what there is of its slice stays.
- What an extension folds of a commit counts whole or not at all: if a handler raises, or what it left can't be stored, the
  slice goes back to the commit's beginning, and is parked.
- An extension that isn't installed is left as it is.

A slice is JSON from one fold to the next, and an extension's state only while events concern it. Most events concern none. So
a run has a table of its own, in which only those that do have another handler than the core's.
"""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from behest_core.errors import InvalidValueError, LogTruncatedError, StateTooLargeError
from behest_core.fold.dispatch import HalfRead
from behest_core.fold.extension import Extension, ExtensionState, RunView
from behest_core.fold.restart import goes_on, is_behind
from behest_core.model.json import check_storable
from behest_core.model.limits import EXTENSION_BYTES, EXTENSIONS_BYTES
from behest_core.model.state import ExtensionSlice, Parked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from behest_core.fold.dispatch import Dispatch
    from behest_core.fold.extension import Condition
    from behest_core.fold.reducer import Handler
    from behest_core.model.events import AnyEvent
    from behest_core.model.state import RunState

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_EVERY: Final = 7  # of 39 digits in a row, five or more are among every seventh byte
_MANY: Final = b"00000"
_TOO_MANY_DIGITS: Final = b"0" * 39

_encode: Final = msgspec.json.Encoder().encode


class _Live(Struct):
    """A slice that goes on, or did until it was parked.

    `before` is what the run has of it, None for one that begins. `stored` is its state before the commit at hand, as JSON, and
    `sequence` how far that has come; `state` is None until an event concerns it.
    """

    place: int
    extension: Extension
    before: ExtensionSlice | None
    stored: bytes
    switched: tuple[type, ...]
    sequence: int = 0
    state: ExtensionState | None = None
    is_changed: bool = False
    parked: Parked | None = None


class Slices:
    """The slices of one run while it is folded, from `run.sequence` on."""

    def __init__(self, run: RunState, dispatch: Dispatch) -> None:
        self._run = run
        self._view = RunView(self._as_of_now)
        self._core = dispatch.handlers
        self._listeners = dispatch.listeners
        self._handlers: dict[type, Handler] = {
            **self._core,
            **dict.fromkeys(self._listeners, self._tell),
            HalfRead: self._tell_half_read,
        }
        self._all = _opened(run, dispatch)
        self._live: list[_Live | None] = [None] * len(dispatch.extensions)
        for live in self._all:
            if live.parked is None:
                self._live[live.place] = live
        self._touched: dict[int, _Live] = {}
        opened = {live.extension.name for live in self._all}
        self._bytes = sum(len(bytes(piece.raw)) for name, piece in run.extensions.items() if name not in opened)
        self._bytes += sum(len(live.stored) for live in self._all)

    # ---------------------------------------------------------------- a commit

    def begin_commit(
        self, events: Sequence[AnyEvent | HalfRead], left: Iterator[AnyEvent | HalfRead]
    ) -> Mapping[type, Handler]:
        """Begin a commit, given its events and what will be left of them. Give the handlers for them, by class."""
        self._events, self._left, self._start = events, left, self._run.sequence
        return self._handlers

    def end_commit(self) -> None:
        """Settle what the commit changed: keep what can be stored, park what can't."""
        for live in self._touched.values():
            if live.parked is None:
                self._settle(live)
        self._touched.clear()

    def _position(self) -> int:
        return self._start + len(self._events) - length_hint(self._left)

    def _as_of_now(self) -> RunState:
        """Return the run as it is after the event at hand; the fold itself counts once for a commit."""
        run, position = self._run, self._position()
        run.event_count += position - run.sequence
        run.sequence = position
        run.updated_at = self._events[position - self._start - 1].timestamp
        return run

    def _tell(self, run: RunState, event: AnyEvent) -> None:
        """Apply an event to the core and to the slices that listen to it."""
        event_class = event.__class__
        core = self._core.get(event_class)
        if core is not None:
            core(run, event)
        for place, handler, when in self._listeners[event_class]:
            live = self._live[place]
            if live is None or (live.state is None and not self._is_read(live)):
                continue
            try:
                if when is None or when(live.state):
                    self._touched[place] = live
                    handler(live.state, event, self._view)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is the extension's)
                # the message of a plugin's exception may hold payload
                self._park(live, error, f"raised by {handler.__name__} of extension {live.extension.name}")
            for switched in live.switched:
                self._switch(switched)

    def _is_read(self, live: _Live) -> bool:
        """Read a slice; say whether the extension's class can."""
        try:
            live.state = live.extension.decode(live.stored)
        except Exception as error:  # noqa: BLE001 (the extension's class may refuse it with anything)
            what = f"{live.extension.state.__name__} can't read the stored slice"
            self._park(live, error, f"{what}; raise the version of {live.extension.name}")
        return live.state is not None

    def _tell_half_read(self, run: RunState, event: HalfRead) -> None:
        """Apply an event to the core, and park the slices that listen to it."""
        core = self._core.get(event.event.__class__)
        if core is not None:
            core(run, event.event)
        for place, _, _ in self._listeners[event.listened]:
            live = self._live[place]
            if live is not None:
                self._park(
                    live, event.error, f"a {event.listened.__name__} that extension {live.extension.name} can't read"
                )

    def _switch(self, event_class: type) -> None:
        """Let the core alone have the events of a class while no extension waits for them."""
        handler = self._core.get(event_class)
        for place, _, when in self._listeners[event_class]:
            live = self._live[place]
            if live is not None and (live.state is None or _holds(when, live.state)):
                handler = self._tell
                break
        if handler is None:
            self._handlers.pop(event_class, None)
        else:
            self._handlers[event_class] = handler

    # ---------------------------------------------------------------- what can be stored

    def _settle(self, live: _Live) -> None:
        """Go on with the state as it will be read again: what a state holds beyond its JSON must not depend on batches."""
        try:
            stored = _encode(live.state)
            total = self._bytes + len(stored) - len(live.stored)
            live.state = self._read_back(live.extension, stored, total)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the extension's)
            self._park(live, error, f"the state of extension {live.extension.name} can't be stored")
        else:
            live.is_changed |= stored != live.stored
            self._bytes, live.stored = total, stored

    def _read_back(self, extension: Extension, stored: bytes, total: int) -> ExtensionState:
        """Return the state as it will be read again, if it can be stored: it and the others' have so many bytes in total."""
        if len(stored) > EXTENSION_BYTES:
            raise StateTooLargeError(self._run.run_id, len(stored), EXTENSION_BYTES)
        if total > EXTENSIONS_BYTES:
            raise StateTooLargeError(self._run.run_id, total, EXTENSIONS_BYTES)
        try:
            state = extension.decode(stored)
        except ValueError as error:
            raise InvalidValueError(f"extension {extension.name}", "holds what its fields can't") from error
        if _has_too_many_digits(stored) or not extension.is_plain(state):
            check_storable(msgspec.json.decode(stored), extension.name)
        return state

    def _park(self, live: _Live, error: Exception, message: str) -> None:
        """Stop folding a slice: it stays as it was before the commit."""
        self._live[live.place] = None
        live.sequence = self._start
        live.parked = _parked(live.extension, self._position(), error, message)

    def store(self) -> bool:
        """Put the slices into the run; return whether anything else than their checkpoints has changed."""
        is_news = False
        for live in self._all:
            before = live.before
            is_news |= before is None or live.is_changed or live.parked is not None
            if live.parked is None:
                live.sequence = self._run.sequence
            if before is None or live.is_changed:
                piece = ExtensionSlice(raw=Raw(live.stored), sequence=live.sequence, version=live.extension.version)
            else:
                piece = replace(before, sequence=live.sequence)
            piece.parked = live.parked
            self._run.extensions[live.extension.name] = piece
        return is_news


def _holds(when: Condition | None, state: ExtensionState) -> bool:
    try:
        return when is None or when(state)
    except Exception:  # noqa: BLE001 (the event that it is asked for raises it again)
        return True


def _has_too_many_digits(stored: bytes) -> bool:
    """Return whether a number of the JSON may have more digits than DynamoDB keeps."""
    return _MANY in stored[::_EVERY].translate(_DIGITS) and _TOO_MANY_DIGITS in stored.translate(_DIGITS)


def _opened(run: RunState, dispatch: Dispatch) -> list[_Live]:
    """Return the slices that go on: not those that are parked. One that is behind by now can't be folded."""
    opened = []
    for place, extension in enumerate(dispatch.extensions):
        before = run.extensions.get(extension.name)
        if not goes_on(extension, before):
            continue
        stored = extension.blank if before is None else bytes(before.raw)
        live = _Live(place, extension, before, stored, dispatch.switched[place])
        if is_behind(extension, before, run.sequence):
            gone = LogTruncatedError(run.run_id, run.sequence)
            live.parked = _parked(extension, 1, gone, str(gone))
            live.sequence = before.sequence if before is not None else 0
        opened.append(live)
    return opened


def _parked(extension: Extension, sequence: int, error: Exception, message: str) -> Parked:
    return Parked(sequence=sequence, error=type(error).__name__[:100], message=message[:500], version=extension.version)
