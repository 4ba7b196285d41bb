"""The fold of a run's log into its state: what to do with some commits, and doing it. Pure: no clock, no I/O, no logging.

The rules, all of which hold for any commits that arrive, in any order, any number of times:

- A run's state has a checkpoint, the last sequence folded, which is that of the core and of every extension that goes on. The
  fold takes the event after the checkpoint and no other. What lies at or before it is a duplicate; what lies beyond the next one
  is across a gap.
- `fold_batch`: if the commits of a batch are the next ones, they are folded. Otherwise it says from where the log has to be read.
  It is the same answer for a gap, a first sight of a run, a reducer of another version, a new extension, and a record that
  arrives after its events.
- A run starts again from position 0 (restart.py) where its reducer has another version, an extension is behind, or its record was
  not known when the fold began.
- An event that can't be folded parks the run: its checkpoint stays at the event before, and nothing more is done until the
  reducer's version changes or it is resumed. One whose log holds another history is parked until it is rebuilt.
- A deleted run stays deleted, whatever arrives.
- A state never covers less than before. Where the log no longer reaches back to its beginning, or a second fold can't come as far
  as the first one did, the first one's result stays, and goes on from where it is.

The log may begin at 1 instead of 0: a run needs no record.
"""

from __future__ import annotations

import os
import threading
from itertools import chain, pairwise
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from behest_core.errors import BehestError, LogDivergedError, MalformedEventError, MalformedRecordError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.fold.restart import goes_on, is_behind, restart
from behest_core.model.commit import identity
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.limits import check_metadata_size, check_text_size
from behest_core.model.record import RunRecord, decode_record
from behest_core.model.state import Parked, RunState
from behest_core.model.timestamps import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from behest_core.fold.extension import HalfRead
    from behest_core.fold.slices import Slices
    from behest_core.model.commit import Commit
    from behest_core.model.events import AnyEvent

NOTHING: Final = -1
"""The checkpoint of a run that is folded from the beginning: not even position 0 is known."""


class _Turn:
    """Whose turn it is to have a commit inflated and decoded, which may take 100 MB: one thread's, whose lock it holds.

    Threads lose nothing by it, as they share one processor for such work. In a process that was forked it is nobody's.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        self.lock = threading.Lock()


_turn: Final = _Turn()
os.register_at_fork(after_in_child=_turn.begin_anew)


class Folded(NamedTuple):
    """What folding gave.

    `state` is None where there was nothing to make one from. `events` counts those applied, `duplicates` those the state had
    already. `gap` is the position that the commits lacked, if they lacked one. `changed` says whether the state has to be saved.
    `is_doubtful` says that there were duplicates, and none of them was the commit that the state ends with, or two lay at one
    position: if the log doesn't hold the state's any more, it has another history.
    """

    state: RunState | None
    events: int = 0
    duplicates: int = 0
    gap: int | None = None
    changed: bool = False
    is_doubtful: bool = False


class Start(NamedTuple):
    """From where a run's log has to be read, and what is folded then: what lies behind the position `after`.

    `stored` is the state that is there, None for a new run. `blank` is the one into which the run is folded again from the
    beginning, None where `stored` goes on.
    """

    stored: RunState | None
    blank: RunState | None
    dispatch: Dispatch

    @property
    def after(self) -> int:
        """The position behind which the log has to be read."""
        return NOTHING if self.blank is not None or self.stored is None else self.stored.sequence

    @property
    def covers(self) -> int:
        """What is folded already: no less will do."""
        return NOTHING if self.stored is None else self.stored.sequence

    def fold(self, commits: Iterable[Commit]) -> Folded | Start:
        """Fold what the log holds behind `after`, in order.

        Gives another start where that can't replace what is stored: from it the log has to be read anew. A given state is worked
        on in place, unless it is folded again; use only what comes back. Never raises: what can't be folded parks.
        """
        if self.blank is None and self.stored is not None:
            return fold_on(self.stored, commits, self.dispatch)
        left = iter(commits)
        first = next(left, None)
        if first is None or not reaches_back(first, self.stored):
            return self._without_beginning(first)
        blank = self.blank or RunState(run_id=first.run_id, reducer_version=REDUCER_VERSION)
        if self.stored is not None and brings_the_record(first, self.stored):
            blank = restart(self.stored, self.dispatch.extensions, is_another_run=True)
        folded = fold_again(blank, chain([first], left), self.dispatch)
        state = folded.state
        if state is None or self.stored is None or state.sequence >= self.stored.sequence:
            return folded
        if state.parked is None:
            return self._going_on()
        # at an event that lies before what the stored state covers
        parked = replace(self.stored, parked=state.parked)
        return folded._replace(state=parked, events=0)

    def _without_beginning(self, first: Commit | None) -> Folded | Start:
        if self.stored is None:
            return Folded(None, gap=None if first is None else 1)
        return self._going_on()

    def _going_on(self) -> Start:
        """Return the start from what is stored: what is folded stays, also where it was to be folded again."""
        return self._replace(stored=None if self.stored is None else replace(self.stored, parked=None), blank=None)


def start(state: RunState | None, dispatch: Dispatch = CORE, first: Commit | None = None) -> Start | None:
    """Return from where a run goes on; None where it doesn't, as it is parked or deleted.

    `first` is the first of the commits at hand: a record may tell what the state doesn't know.
    """
    if state is None:
        return Start(None, None, dispatch)
    if state.deleted_at is not None or stays_parked(state):
        return None
    if (first is not None and brings_the_record(first, state)) or _starts_again(state, dispatch):
        return Start(state, restart(state, dispatch.extensions), dispatch)
    return Start(state, None, dispatch)


def stays_parked(state: RunState) -> bool:
    """Return whether a run is parked until somebody resumes it or folds it again."""
    return state.parked is not None and (state.parked.version == REDUCER_VERSION or is_parked_as_diverged(state))


def is_parked_as_diverged(state: RunState) -> bool:
    """Return whether a run is parked because its log holds another history."""
    return state.parked is not None and state.parked.error == LogDivergedError.__name__


def _starts_again(state: RunState, dispatch: Dispatch) -> bool:
    if state.parked is not None or state.reducer_version != REDUCER_VERSION or state.created_at is None:
        return True
    found = ((each, state.extensions.get(each.name)) for each in dispatch.extensions)
    return any(goes_on(each, piece) and is_behind(each, piece, state.sequence) for each, piece in found)


def brings_the_record(commit: Commit, state: RunState) -> bool:
    """Return whether a commit is the run record without which the state was folded. One that can't be read changes nothing."""
    if not commit.is_record or state.has_record:
        return False
    try:
        decode_record(commit)
    except MalformedRecordError:
        return False
    return True


def reaches_back(first: Commit, state: RunState | None) -> bool:
    """Return whether a log that begins with this commit is whole: nothing is gone that the state was folded from."""
    return first.is_record or (first.sequence == 1 and (state is None or not state.has_record))


def fold_batch(state: RunState | None, commits: Sequence[Commit], dispatch: Dispatch = CORE) -> Folded | Start:
    """Fold what a batch happens to hold of a run: its commits, in order of sequence, at least one.

    Gives a start where they aren't the next ones: from there the log has to be read, and folded. The state is worked on as
    `Start.fold` does.
    """
    begin = start(state, dispatch, commits[0])
    if begin is None:
        is_parked = state is not None and state.parked is not None
        return Folded(state, duplicates=0 if is_parked else sum(commit.count for commit in commits))
    reached, is_doubtful = begin.after, _is_doubtful(begin, commits)
    if begin.after >= commits[-1].last:
        return Folded(state, duplicates=sum(commit.count for commit in commits), is_doubtful=is_doubtful)
    for commit in commits:
        if commit.sequence > reached + 1:
            return begin
        reached = max(reached, commit.last)
    return begin if is_doubtful or reached < begin.covers else begin.fold(commits)


def _is_doubtful(begin: Start, commits: Sequence[Commit]) -> bool:
    """Return whether commits may be of another history than the log's.

    Two lie at one position; or of those that the state covers, none is the one that it ends with.
    """
    if any(other.sequence <= one.last and other.commit_id != one.commit_id for one, other in pairwise(commits)):
        return True
    if begin.blank is not None or begin.stored is None or begin.stored.commit_id is None:
        return False
    known = [commit for commit in commits if commit.sequence <= begin.stored.sequence]
    return bool(known) and all(identity(commit.commit_id) != begin.stored.commit_id for commit in known)


def fold(state: RunState | None, commits: Iterable[Commit], dispatch: Dispatch = CORE) -> Folded:
    """Fold a log that is at hand, in order of sequence, into its state: all of it, or what lies behind the state's checkpoint."""
    left = iter(commits)
    first = next(left, None)
    begin = None if first is None else start(state, dispatch, first)
    if first is None or begin is None:
        return Folded(state)
    if state is None:
        log: Iterable[Commit] = chain([first], left)
    else:
        log = [first, *left]  # which may be gone through twice
    folded: Folded | Start = begin
    while isinstance(folded, Start):
        folded = folded.fold(log)
    return folded


def fold_again(blank: RunState, commits: Iterable[Commit], dispatch: Dispatch = CORE) -> Folded:
    """Fold a log from its beginning into a blank state (restart.py), its record first where it has one."""
    left = iter(commits)
    first = next(left, None)
    if first is not None and first.is_record:
        _begin_with(blank, first)
        first = None
    folded = fold_on(blank, left if first is None else chain([first], left), dispatch)
    return Folded(folded.state, folded.events, folded.duplicates, folded.gap, changed=True)


def _begin_with(state: RunState, commit: Commit) -> None:
    try:
        begin(state, decode_record(commit))
        state.commit_id = identity(commit.commit_id)
    except BehestError as error:
        state.parked = _park(0, error)


def begin(state: RunState, record: RunRecord) -> None:
    """Give the state what the record says. Raises StateTooLargeError, and ValueError for a time that is none."""
    check_metadata_size(state.run_id, record.metadata)
    check_text_size(state.run_id, record.provider, record.model)
    state.created_at = canonical(record.created_at)
    state.updated_at = record.updated_at or record.created_at
    state.session_id = record.session_id
    state.provider = record.provider
    state.model = record.model
    state.metadata = record.metadata
    state.has_record = True


def fold_on(state: RunState, commits: Iterable[Commit], dispatch: Dispatch = CORE) -> Folded:
    """Fold what lies behind the state's checkpoint, in place."""
    checkpoint, duplicates, gap, last = state.sequence, 0, None, None
    slices = dispatch.slices(state)
    for commit in commits:
        if state.parked is not None:
            break
        known = state.sequence + 1 - commit.sequence
        if known < 0:
            gap = state.sequence + 1
            break
        if known < commit.count:
            with _turn.lock:
                _apply(state, commit, known, dispatch, slices)
            if state.sequence >= commit.sequence:
                last = commit
        duplicates += min(known, commit.count)
    if last is not None:
        state.commit_id = identity(last.commit_id)
    changed = state.sequence != checkpoint or state.parked is not None
    if slices is not None:
        changed |= slices.store()
    return Folded(state, state.sequence - checkpoint, duplicates, gap, changed)


def _apply(state: RunState, commit: Commit, known: int, dispatch: Dispatch, slices: Slices | None) -> None:
    """Apply the commit's events behind the first `known`, up to one that can't be folded, and park there."""
    if commit.is_at_hand:
        json, unreadable = commit.payload, None
    else:
        json, unreadable = commit.read()
    events, error = dispatch.decode(json)
    error = error or unreadable
    if error is not None or len(events) != commit.count:
        problem = commit.problem or _miscounted(commit, len(events), error)
        if problem is not None:
            state.parked = _park(commit.sequence, MalformedEventError(commit.run_id, commit.sequence, problem))
            return
    error = apply(state, events[known:] if known else events, dispatch, slices) or error
    if error is not None:
        state.parked = _park(state.sequence + 1, error)


def _miscounted(commit: Commit, decoded: int, error: Exception | None) -> str | None:
    """Return what is wrong with a commit that has more or fewer events than it says; None where it hasn't."""
    found = decoded + (error is not None)  # at least so many: the first that can't be read is one, too
    if found <= commit.count and (error is not None or found == commit.count):
        return None
    return f"`count` says {commit.count} events, `events` has {found}"


def apply(
    state: RunState, events: Sequence[AnyEvent | HalfRead], dispatch: Dispatch = CORE, slices: Slices | None = None
) -> Exception | None:
    """Apply the events of a commit in place. Where one can't be, stop before it, and give the error."""
    if not events:
        return None
    left, applied, error = iter(events), len(events), None
    folded: Any = state if slices is None else slices
    handler_of = (dispatch.handlers if slices is None else slices.begin_commit(events, left)).get
    sequence, event_count = state.sequence, state.event_count
    try:
        if state.created_at is None:
            state.created_at = canonical(events[0].timestamp)
        for event in left:
            handler = handler_of(event.__class__)
            if handler is not None:
                handler(folded, event)
    except Exception as raised:  # noqa: BLE001 (whatever a handler raises, it is about the event at hand)
        applied = applied - length_hint(left) - 1
        error = raised.with_traceback(None)  # which would hold the events until garbage is next collected
    if applied > 0:
        state.sequence = sequence + applied
        state.event_count = event_count + applied
        state.updated_at = events[applied - 1].timestamp
    if slices is not None and slices.touched:
        slices.end_commit()
    return error


def _park(sequence: int, error: Exception) -> Parked:
    name = MalformedEventError.__name__ if isinstance(error, DECODE_ERRORS) else type(error).__name__
    return parked_by(sequence, name, str(error))


def parked_by(sequence: int, error: str, message: str) -> Parked:
    """Return why a run is parked: at which position, by what. `message` has no payload."""
    return Parked.by(sequence, error, message, REDUCER_VERSION)


def replay(
    record: RunRecord | None,
    run_id: str,
    batches: Iterable[Sequence[AnyEvent | HalfRead]],
    dispatch: Dispatch = CORE,
) -> RunState:
    """Fold a whole run that comes decoded, in batches of any size, as the seed's `RunState::create` does.

    Stops at an event that can't be folded, with `parked` set.
    """
    state = RunState(run_id=run_id, reducer_version=REDUCER_VERSION)
    if record is not None:
        begin(state, record)
    slices = dispatch.slices(state)
    for events in batches:
        error = apply(state, events, dispatch, slices)
        if error is not None:
            state.parked = _park(state.sequence + 1, error)
            break
    if slices is not None:
        slices.store()
    return state
