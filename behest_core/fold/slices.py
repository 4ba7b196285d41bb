"""Folding events into the slices of a run's extensions, beside the core.

The rules:

- The slice of an extension that goes on has come as far as the run. One that hasn't (it is new, of another version, resumed)
  needs the run from its beginning, as its handlers see the run as of each event: then all start again together (restart.py).
  Where the log no longer reaches back, it is parked instead, and what there is of its slice stays.
- What an extension folds of a commit counts whole or not at all: if a handler raises, or what it left can't be stored, the
  slice goes back to the commit's beginning, and is parked.
- A commit that is over is settled (settling.py): no slice depends on where a batch ends.
- An extension that isn't installed is left as it is.

Most events concern no extension, and most folds are short. So what is alike for all runs is made once (listening.py). A slice
is JSON until an event concerns it, a state from then on, and JSON again when the fold is over. And a run has a table of its own,
in which only those types have another handler than the core's that an extension listens to, and waits for.
"""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING

from msgspec import Raw, Struct
from msgspec.structs import replace

from behest_core.errors import LogTruncatedError, StateTooLargeError
from behest_core.fold.extension import Condition, Extension, ExtensionState, HalfRead, RunView
from behest_core.fold.restart import goes_on, is_behind
from behest_core.fold.settling import Settled, write
from behest_core.model.limits import EXTENSION_BYTES, EXTENSIONS_BYTES, SLICE_BYTES, slice_size
from behest_core.model.state import ExtensionSlice, Parked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from behest_core.fold.listening import Listening, Teller
    from behest_core.model.events import AnyEvent
    from behest_core.model.state import RunState


class _Live(Struct):
    """A slice that an event concerned.

    `before` is what the run has of it, None for one that begins. `settled` is what it was before the commit at hand, None where
    it isn't folded; `state` is what it is now, None where it isn't folded any more, and `sequence` says how far it has come then.
    `held` says of each condition whether it holds, or what it raised.
    """

    place: int
    extension: Extension
    before: ExtensionSlice | None
    goes_on: bool
    settled: Settled | None = None
    state: ExtensionState | None = None
    is_touched: bool = False
    is_changed: bool = False
    conditions: tuple[Condition, ...] = ()
    held: dict[Condition, bool | Exception] = {}
    sequence: int = 0
    parked: Parked | None = None


class _Now:
    """The event at hand, told by what is left of its commit: the fold itself counts once for a commit.

    It knows nothing of the slices, so that a fold leaves no circle of references behind.
    """

    __slots__ = ("_run", "events", "left", "start")

    def __init__(self, run: RunState) -> None:
        self._run = run
        self.start = run.sequence
        self.events: Sequence[AnyEvent | HalfRead] = ()
        self.left: Iterator[AnyEvent | HalfRead] = iter(())

    def position(self) -> int:
        return self.start + len(self.events) - length_hint(self.left)

    def look(self) -> RunState:
        """Return the run as it is after the event at hand."""
        run, position = self._run, self.position()
        run.event_count += position - run.sequence
        run.sequence = position
        run.updated_at = self.events[position - self.start - 1].timestamp
        return run


class Slices:
    """The slices of one run while it is folded, from `run.sequence` on.

    `touched` are those that the commit at hand may have changed.
    """

    def __init__(self, run: RunState, listening: Listening) -> None:
        self.run = run
        self.touched: list[_Live] = []
        self._listening = listening
        self._tellers = listening.tellers.copy()
        self._live: list[_Live | None] = [None] * len(listening.extensions)
        self._now = _Now(run)
        self._view = RunView(self._now.look)
        self._from = run.sequence
        self._bytes: int | None = None

    # ---------------------------------------------------------------- a commit

    def begin_commit(
        self, events: Sequence[AnyEvent | HalfRead], left: Iterator[AnyEvent | HalfRead]
    ) -> Mapping[type, Teller]:
        """Begin a commit, given its events and what will be left of them. Return what tells of them, by class."""
        now = self._now
        now.events, now.left, now.start = events, left, self.run.sequence
        return self._tellers

    def end_commit(self) -> None:
        """Settle what the commit touched: keep what can be stored, park what can't."""
        touched, self.touched = self.touched, []
        for live in touched:
            live.is_touched = False
            if live.state is not None:
                self._settle(live)

    def tell(self, event: AnyEvent) -> None:
        """Apply an event to the core and to the slices that listen to it."""
        core, listeners = self._listening.heard[event.__class__]
        if core is not None:
            core(self.run, event)
        lives = self._live
        for place, handler, when in listeners:
            live = lives[place] or self._open(place)
            if live.state is None or (when is not None and live.held[when] is False):
                continue
            if not live.is_touched:
                live.is_touched = True
                self.touched.append(live)
            try:
                if when is not None:
                    _check(live.held[when])
                handler(live.state, event, self._view)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is the extension's)
                # the message of a plugin's exception may hold payload
                self._park(live, error, f"raised by {handler.__name__} of extension {live.extension.name}")
            else:
                if live.conditions:
                    self._ask(live)

    def tell_half_read(self, event: HalfRead) -> None:
        """Apply an event to the core, and park the slices that listen to it."""
        core, listeners = self._listening.heard[event.listened]
        if core is not None:
            core(self.run, event.event)
        for place, _, _ in listeners:
            live = self._live[place] or self._open(place)
            if live.state is not None:
                self._park(
                    live, event.error, f"a {event.listened.__name__} that extension {live.extension.name} can't read"
                )

    # ---------------------------------------------------------------- which slices go on, and wait for what

    def _open(self, place: int) -> _Live:
        """Read a slice, if it goes on: not where it is parked, or can't be folded any more, or its class can't read it."""
        live = self._found(place)
        extension, before = live.extension, live.before
        if live.parked is None and live.goes_on:
            stored = extension.settling.blank if before is None else bytes(before.raw)
            try:
                live.settled = extension.settling.read(stored)
                live.state = live.settled.state
            except Exception as error:  # noqa: BLE001 (the extension's class may refuse it with anything)
                what = f"{extension.state.__name__} can't read the stored slice"
                self._park(live, error, f"{what}; raise the version of {extension.name}")
        if live.state is None:
            self._switch(self._listening.classes[place])
        elif live.conditions:
            self._ask(live)
        return live

    def _found(self, place: int) -> _Live:
        """Return a slice as the run has it; parked where it is behind by now."""
        extension = self._listening.extensions[place]
        before = self.run.extensions.get(extension.name)
        live = _Live(place, extension, before, goes_on(extension, before), conditions=self._listening.conditions[place])
        self._live[place] = live
        if live.goes_on and is_behind(extension, before, self._from):
            gone = LogTruncatedError(self.run.run_id, self._from)
            live.parked = _parked(extension, 1, gone, str(gone))
            live.sequence = before.sequence if before is not None else 0
        return live

    def _ask(self, live: _Live) -> None:
        """Ask what a state waits for: when it was read, and each time when it may have changed."""
        state, held, is_new = live.state, live.held, False
        for when in live.conditions:
            try:
                holds: bool | Exception = bool(when(state))
            except Exception as error:  # noqa: BLE001 (the event that is waited for raises it again)
                holds = error
            if held.get(when) is not holds:
                held[when] = holds
                is_new = True
        if is_new:
            self._switch(self._listening.waited_for[live.place])

    def _switch(self, classes: Iterable[type]) -> None:
        """Let the core alone have the events of classes that no extension waits for."""
        tellers, lives, core, heard = self._tellers, self._live, self._listening.core, self._listening.heard
        for event_class in classes:
            for place, _, when in heard[event_class][1]:
                live = lives[place]
                if live is None or (live.state is not None and (when is None or live.held[when] is not False)):
                    tellers[event_class] = Slices.tell
                    break
            else:
                if event_class in core:
                    tellers[event_class] = core[event_class]
                else:
                    tellers.pop(event_class, None)

    # ---------------------------------------------------------------- what can be stored

    def _settle(self, live: _Live) -> None:
        """Go on with the state as it will be read again, if it can be stored: not too large, nor all slices together."""
        try:
            settled = live.extension.settling.settle(live.state)
            was = live.settled.size if live.settled is not None else 0
            most = (self._bytes or self._most_bytes()) - was + settled.size
            if settled.size > EXTENSION_BYTES or most > EXTENSIONS_BYTES:
                most = self._measured(live, settled)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the extension's)
            self._park(live, error, f"the state of extension {live.extension.name} can't be stored")
        else:
            self._bytes = most
            live.settled, live.state, live.is_changed = settled, settled.state, True
            if live.conditions:
                self._ask(live)

    def _measured(self, live: _Live, settled: Settled) -> int:
        """Return the bytes of all slices, counted exactly. Raise StateTooLargeError where they, or this slice's, are too many."""
        run_id = self.run.run_id
        if settled.measure() > EXTENSION_BYTES:
            raise StateTooLargeError(run_id, settled.size, EXTENSION_BYTES)
        known = [each.settled for each in self._live if each is not None and each.settled is not None]
        self._bytes = self._most_bytes() + sum(
            each.measure() - size for each, size in [(each, each.size) for each in known]
        )
        total = self._bytes - _size(live) + settled.size
        if total > EXTENSIONS_BYTES:
            raise StateTooLargeError(run_id, total, EXTENSIONS_BYTES)
        return total

    def _most_bytes(self) -> int:
        """Return the most bytes that all slices have: exactly what the run has, until one is settled."""
        if self._bytes is None:
            total = self._listening.blank_bytes
            for name, piece in self.run.extensions.items():
                total += slice_size(bytes(piece.raw)) + SLICE_BYTES - self._listening.blank_sizes.get(name, 0)
            self._bytes = total
        return self._bytes

    def _park(self, live: _Live, error: Exception, message: str) -> None:
        """Stop folding a slice: it stays as it was before the commit."""
        live.state = None
        live.sequence = self._now.start
        live.parked = _parked(live.extension, self._now.position(), error, message)
        self._switch(self._listening.classes[live.place])

    # ---------------------------------------------------------------- when the fold is over

    def store(self) -> bool:
        """Put the slices into the run; return whether anything else than their checkpoints has changed."""
        run, is_news = self.run, False
        for place, extension in enumerate(self._listening.extensions):
            live = self._live[place]
            if live is None:
                before = run.extensions.get(extension.name)
                if before is not None and not is_behind(extension, before, self._from):
                    piece = ExtensionSlice(raw=before.raw, sequence=run.sequence, version=before.version)
                    run.extensions[extension.name] = piece
                    continue
                live = self._found(place)
            is_news |= self._store(live)
        return is_news

    def _store(self, live: _Live) -> bool:
        """Put one into the run; return whether more than its checkpoint has changed."""
        extension, before = live.extension, live.before
        if not live.goes_on:
            return False
        if live.parked is None:
            live.sequence = self.run.sequence
        stored = _stored(live)
        if before is not None and stored == bytes(before.raw):
            piece = replace(before, sequence=live.sequence, parked=live.parked)
            is_news = live.parked is not None
        else:
            piece = ExtensionSlice(
                raw=Raw(stored), sequence=live.sequence, version=extension.version, parked=live.parked
            )
            is_news = True
        self.run.extensions[extension.name] = piece
        return is_news


def _check(holds: bool | Exception) -> None:  # noqa: FBT001 (it is what was answered)
    if isinstance(holds, Exception):
        raise holds


def _size(live: _Live) -> int:
    return 0 if live.settled is None else live.settled.size


def _stored(live: _Live) -> bytes:
    """Return a slice as JSON, as it was when the last commit that it counts was over."""
    if live.is_changed and live.settled is not None:
        return live.settled.json() if live.state is None else write(live.state)
    return live.extension.settling.blank if live.before is None else bytes(live.before.raw)


def _parked(extension: Extension, sequence: int, error: Exception, message: str) -> Parked:
    return Parked.by(sequence, type(error).__name__, message, extension.version)
