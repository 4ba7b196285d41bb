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
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from behest_core.dispatch import HalfRead
from behest_core.errors import InvalidValueError, LogTruncatedError, StateTooLargeError
from behest_core.extension import EXTENSION_BYTES, EXTENSIONS_BYTES, Extension, ExtensionState, RunView
from behest_core.state import ExtensionSlice, Parked
from behest_core.storable import check_storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from behest_core.dispatch import Dispatch
    from behest_core.events import AnyEvent
    from behest_core.extension import ExtensionHandler
    from behest_core.reducer import Handler
    from behest_core.state import RunState

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_TOO_MANY_DIGITS: Final = b"0" * 39
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"')


class _Live(Struct):
    """A slice that goes on: its state, and that as it was before the commit at hand: as JSON, and as that reads back."""

    extension: Extension
    state: ExtensionState
    stored: bytes
    checkpoint: int
    reached: int
    settled: ExtensionState | None = None
    is_touched: bool = False
    is_changed: bool = False
    parked: Parked | None = None


def outdated(slices: Mapping[str, ExtensionSlice]) -> dict[str, ExtensionSlice]:
    """Give slices as those of a run that is another one now."""
    return {name: replace(piece, outdated=True) for name, piece in slices.items()}


def is_behind(state: RunState, dispatch: Dispatch) -> bool:
    """Say whether an installed extension has no slice, or one that has not come as far as the core."""
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
        self._view = RunView(run)
        self._listeners = dispatch.listeners
        self._handlers = dispatch.handlers
        self._live = [_open(run, extension) for extension in dispatch.extensions]
        live = {each.extension.name for each in self._live if each is not None}
        self._carried = sum(
            len(msgspec.json.encode(piece.state)) for name, piece in run.extensions.items() if name not in live
        )

    def apply(self, events: Sequence[AnyEvent | HalfRead]) -> Exception | None:
        """Apply a commit's events to the core and to the slices. Where the core can't, stop before it, and give the error."""
        run, handler_of, listeners_of = self._run, self._handlers.get, self._listeners.get
        sequence, uncounted = run.sequence, run.event_count - run.sequence
        error = None
        for event in events:
            event_class = event.__class__
            handler: Handler | None = handler_of(event_class)
            if handler is not None:
                try:
                    handler(run, event)
                except Exception as raised:  # noqa: BLE001 (whatever it is, it is this event's)
                    error = raised
                    break
            elif event_class is HalfRead:
                error = self._apply_core(event.event)  # type: ignore[union-attr]  # its class was just looked at
                if error is not None:
                    break
            sequence += 1
            run.updated_at = event.timestamp
            listeners = listeners_of(event_class)
            if listeners is not None:
                run.sequence, run.event_count = sequence, sequence + uncounted
                self._tell(listeners, event)
            elif event_class is HalfRead:
                run.sequence = sequence
                self._park_readers(event)  # type: ignore[arg-type]
        run.sequence, run.event_count = sequence, sequence + uncounted
        return error

    def _apply_core(self, event: AnyEvent) -> Exception | None:
        handler: Handler | None = self._handlers.get(event.__class__)
        try:
            if handler is not None:
                handler(self._run, event)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is this event's)
            return error
        return None

    def _tell(self, listeners: tuple[tuple[int, ExtensionHandler], ...], event: object) -> None:
        sequence, lives, view = self._run.sequence, self._live, self._view
        for place, handler in listeners:
            live = lives[place]
            if live is None or live.parked is not None or sequence <= live.checkpoint:
                continue
            live.is_touched = True
            try:
                handler(live.state, event, view)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is the extension's)
                # the message of a plugin's exception may hold payload
                self._park(live, error, f"raised by {handler.__name__} of extension {live.extension.name}")

    def _park_readers(self, event: HalfRead) -> None:
        for place, _ in self._listeners[event.listened]:
            live = self._live[place]
            if live is not None and live.parked is None and self._run.sequence > live.checkpoint:
                self._park(
                    live, event.error, f"a {event.listened.__name__} that extension {live.extension.name} can't read"
                )

    def end_commit(self) -> None:
        """Settle what the commit changed: keep what can be stored, park what can't."""
        for live in self._live:
            if live is None or live.parked is not None:
                continue
            if live.is_touched:
                self._settle(live)
            if live.parked is None:
                live.reached = max(self._run.sequence, live.checkpoint)

    def _settle(self, live: _Live) -> None:
        live.is_touched = False
        try:
            stored = msgspec.json.encode(live.state)
            if stored == live.stored and live.settled == live.state:
                return
            settled = self._read_back(live, stored)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the extension's)
            self._park(live, error, f"the state of extension {live.extension.name} can't be stored")
        else:
            live.is_changed |= stored != live.stored
            live.stored, live.settled = stored, settled

    def _read_back(self, live: _Live, stored: bytes) -> ExtensionState:
        self._check_size(live, len(stored))
        try:
            settled = live.extension.decode(stored)
        except ValueError:
            settled = None
        if settled is None or settled != live.state or _has_too_many_digits(stored):
            raise InvalidValueError(f"extension {live.extension.name}", "holds a NaN, or a number beyond 38 digits")
        return settled

    def _check_size(self, live: _Live, size: int) -> None:
        if size > EXTENSION_BYTES:
            raise StateTooLargeError(self._run.run_id, size, EXTENSION_BYTES)
        total = size + self._carried
        for each in self._live:
            if each is not None and each is not live:
                total += len(each.stored)
        if total > EXTENSIONS_BYTES:
            raise StateTooLargeError(self._run.run_id, total, EXTENSIONS_BYTES)

    def _park(self, live: _Live, error: Exception, message: str) -> None:
        live.parked = Parked(
            sequence=self._run.sequence, error=type(error).__name__, message=message, version=live.extension.version
        )

    def store(self) -> bool:
        """Put the slices into the run; say whether anything else than their checkpoints has changed."""
        is_news = False
        for live in self._live:
            if live is None:
                continue
            name = live.extension.name
            before = self._run.extensions.get(name)
            is_news |= before is None or live.is_changed or live.parked is not None or live.reached != before.sequence
            if before is not None and live.parked is not None and live.parked.error == LogTruncatedError.__name__:
                self._run.extensions[name] = replace(before, parked=live.parked)
                continue
            state = msgspec.json.decode(live.stored)
            try:
                check_storable(state, name)
            except InvalidValueError as error:
                self._park(live, error, str(error))
                state = before.state if before is not None else msgspec.to_builtins(live.extension.state())
                live.reached = live.checkpoint
            self._run.extensions[name] = ExtensionSlice(
                state=state,
                sequence=live.reached,
                version=live.extension.version,
                parked=live.parked,
            )
        return is_news


def _has_too_many_digits(stored: bytes) -> bool:
    """Say whether a number of the JSON has more digits than DynamoDB keeps; digits in a text are no number."""
    return _TOO_MANY_DIGITS in stored.translate(_DIGITS) and _TOO_MANY_DIGITS in _TEXT.sub(b'""', stored).translate(
        _DIGITS
    )


def _open(run: RunState, extension: Extension) -> _Live | None:
    """Give a slice ready to go on, None where it is parked."""
    piece = run.extensions.get(extension.name)
    if not _goes_on(extension, piece):
        return None
    checkpoint = _checkpoint(extension, piece)
    state = extension.state()
    stored, wrong = msgspec.json.encode(state), None
    if piece is not None and checkpoint:
        stored = msgspec.json.encode(piece.state)
        try:
            state = extension.decode(stored)
            stored = msgspec.json.encode(state)
        except Exception as error:  # noqa: BLE001 (the extension's class may refuse it with anything)
            wrong = error
    live = _Live(extension, state, stored, checkpoint, reached=checkpoint)
    if wrong is not None:
        live.parked = Parked(
            sequence=checkpoint + 1,
            error=type(wrong).__name__,
            message=f"{extension.state.__name__} can't read the stored slice; raise the version of {extension.name}",
            version=extension.version,
        )
    elif run.sequence > checkpoint:
        gone = LogTruncatedError(run.run_id, run.sequence)
        live.parked = Parked(
            sequence=checkpoint + 1, error=type(gone).__name__, message=str(gone), version=extension.version
        )
    return live
