"""Folding events into the slices of a run's extensions, beside the core.

The rules:

- An extension folds the event after its own checkpoint. When all keep step with the core, that is the next event. One that is
  behind (new, of another version, resumed) makes the run be folded again from the beginning: the handlers see the run as it was
  after each event, which only a fold from the beginning knows. Those that are not behind wait until it has come to them.
- What an extension folds of a commit counts whole or not at all: if a handler raises, or what it left can't be stored, the slice
  goes back to the commit's beginning, and is parked.
- An extension that isn't installed is left as it is.
- Where the core starts again because its reducer has another version, or because a record has come late, its handlers saw another
  run than there is now. So every slice becomes outdated, and is folded again: those of extensions that go on at once, the others
  when they do.
- If the log no longer reaches back, an extension that is behind is parked: it can't be folded. What there is of its slice stays.

Most events concern no extension. So a run has a table of its own, in which only those that do have another handler than the
core's; and a slice is read when the first of them comes.
"""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from behest_core.errors import InvalidValueError, LogTruncatedError, StateTooLargeError
from behest_core.fold.dispatch import HalfRead
from behest_core.fold.extension import Extension, ExtensionState, RunView
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
    """A slice that goes on.

    `follows` says whether it follows what was there before, rather than begins anew. `stored` is its state before the commit at
    hand, as JSON; `state` is None until an event concerns it. `reached` is where it stopped, if it is parked.
    """

    place: int
    extension: Extension
    before: ExtensionSlice | None
    checkpoint: int
    follows: bool
    stored: bytes
    switched: tuple[type, ...]
    state: ExtensionState | None = None
    is_changed: bool = False
    parked: Parked | None = None
    reached: int = 0


def outdated(slices: Mapping[str, ExtensionSlice]) -> dict[str, ExtensionSlice]:
    """Return slices as those of a run that is another one now."""
    return {name: replace(piece, outdated=True) for name, piece in slices.items()}


def is_behind(state: RunState, dispatch: Dispatch) -> bool:
    """Return whether an installed extension has no slice, or one that has not come as far as the core."""
    found = ((extension, state.extensions.get(extension.name)) for extension in dispatch.extensions)
    return any(
        piece is None or _checkpoint(extension, piece) != state.sequence
        for extension, piece in found
        if _goes_on(extension, piece)
    )


def _goes_on(extension: Extension, piece: ExtensionSlice | None) -> bool:
    return piece is None or piece.parked is None or piece.parked.version != extension.version


def _checkpoint(extension: Extension, piece: ExtensionSlice | None) -> int:
    if piece is None or piece.version != extension.version or piece.parked is not None or piece.outdated:
        return 0
    return piece.sequence


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
        carried = [_encode(piece.state) for name, piece in run.extensions.items() if name not in opened]
        self._bytes = sum(map(len, carried)) + sum(len(live.stored) for live in self._all)

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
            if live is None or (live.checkpoint > self._start and self._has_folded(live)):
                continue
            if live.state is None and not self._is_read(live):
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

    def _has_folded(self, live: _Live) -> bool:
        return live.checkpoint >= self._position()

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
            if live is not None and not self._has_folded(live):
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
        live.reached = max(self._start, live.checkpoint)
        live.parked = _parked(live.extension, self._position(), error, message)

    def store(self) -> bool:
        """Put the slices into the run; say whether anything else than their checkpoints has changed."""
        is_news = False
        for live in self._all:
            name, before = live.extension.name, live.before
            if live.parked is None:
                live.reached = max(self._run.sequence, live.checkpoint)
            is_news |= before is None or live.is_changed or live.parked is not None or live.reached != before.sequence
            if before is None or live.is_changed or not live.follows:
                before = ExtensionSlice(
                    state=msgspec.json.decode(live.stored), sequence=0, version=live.extension.version
                )
            self._run.extensions[name] = replace(before, sequence=live.reached, parked=live.parked)
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
    """Return the slices that go on: not those that are parked."""
    opened = []
    for place, extension in enumerate(dispatch.extensions):
        before = run.extensions.get(extension.name)
        if _goes_on(extension, before):
            checkpoint = _checkpoint(extension, before)
            stored = _encode(before.state) if before is not None and checkpoint else extension.blank
            live = _Live(place, extension, before, checkpoint, checkpoint > 0, stored, dispatch.switched[place])
            if run.sequence > checkpoint:
                gone = LogTruncatedError(run.run_id, run.sequence)
                live.parked = _parked(extension, checkpoint + 1, gone, str(gone))
                live.follows, live.reached = True, before.sequence if before is not None else 0
            opened.append(live)
    return opened


def _parked(extension: Extension, sequence: int, error: Exception, message: str) -> Parked:
    return Parked(sequence=sequence, error=type(error).__name__, message=message, version=extension.version)
