"""The fold of a run's log into its state: what to do with some commits, and doing it. Pure: no clock, no I/O, no logging.

The rules, all of which hold for any commits that arrive, in any order, any number of times:

- A fold-er (the core; each extension) has a checkpoint, the last sequence it has folded. It folds the event after its
  checkpoint and no other. What lies at or before it is a duplicate; what lies beyond the next one is across a gap.
- `decide`: if every fold-er that has something to do finds its next events among the commits, fold those. Otherwise the log
  has to be read, from the lowest checkpoint on. It is the same answer for a gap, a first sight of a run, a reducer of another
  version, and a record that arrives after its events.
- A reducer of another version starts again from position 0. So does a record that was not known when the fold began. The
  extensions do so with it, as their handlers look at the run.
- An event that can't be folded parks the fold-er: its checkpoint stays at the event before, and it has nothing more to do
  until its version changes or it is resumed.
- A deleted run stays deleted, whatever arrives.
- A state never covers less than before: where a second fold can't come as far as the first one did, the first one's result stays.

The log may begin at 1 instead of 0: a run needs no record.
"""

from __future__ import annotations

from enum import Enum
from itertools import chain
from operator import length_hint
from typing import TYPE_CHECKING, Final, NamedTuple

from behest_core.errors import BehestError, MalformedEventError, MalformedRecordError
from behest_core.fold.dispatch import CORE, Dispatch, HalfRead
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.fold.slices import Slices, is_behind, outdated
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.json import as_stored
from behest_core.model.limits import check_metadata_size, check_text_size
from behest_core.model.record import RunRecord, decode_record
from behest_core.model.state import Parked, RunState
from behest_core.model.timestamps import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from behest_core.model.commit import Commit
    from behest_core.model.events import AnyEvent

NOTHING: Final = -1
"""The checkpoint of a fold-er that hasn't even seen position 0."""


class Progress(NamedTuple):
    """How far a fold-er has come on a run, and whether it goes on: not if it is parked, not if the run is deleted.

    One that starts again has no checkpoint, and `covers` what it had folded before: no less will do.
    """

    checkpoint: int
    covers: int = NOTHING
    goes_on: bool = True


class Next(Enum):
    """What there is to do with some commits."""

    NOTHING = "nothing"
    FOLD = "fold"
    READ = "read"


class Decision(NamedTuple):
    """What there is to do. For READ, `after` is the position after which the log has to be read."""

    next: Next
    after: int = NOTHING

    @property
    def goes_on(self) -> bool:
        """Whether there is anything to do."""
        return self.next is not Next.NOTHING


class Folded(NamedTuple):
    """What folding gave.

    `state` is None where there was nothing to make one from. `events` counts those applied, `duplicates` those the state had
    already. `gap` is the position that the commits lacked, if they lacked one. `changed` says whether the state has to be saved.
    """

    state: RunState | None
    events: int = 0
    duplicates: int = 0
    gap: int | None = None
    changed: bool = False


def decide(state: RunState | None, commits: Sequence[Commit], dispatch: Dispatch = CORE) -> Decision:
    """Return what to do with what a batch happens to hold of a run: its commits, in order of sequence, at least one."""
    return _decide(_progress_with(state, commits[0], dispatch), commits)


def read_on(state: RunState | None, dispatch: Dispatch = CORE) -> Decision:
    """Return from where a run's log has to be read to catch up with it, whatever the stream brought."""
    progress = _progress(state, dispatch)
    return Decision(Next.READ, progress.checkpoint) if progress.goes_on else Decision(Next.NOTHING)


def fold(state: RunState | None, commits: Iterable[Commit], dispatch: Dispatch = CORE) -> Folded:
    """Fold a run's commits, in order of sequence, into its state: those that `decide` said to fold, or the log.

    The given state is worked on in place or replaced; use only what comes back. Never raises: what can't be folded parks.
    """
    commits = iter(commits)
    first = next(commits, None)
    if first is None:
        return Folded(state)
    progress = _progress_with(state, first, dispatch)
    if not progress.goes_on:
        return Folded(state)
    if progress.checkpoint == NOTHING and _reaches_back(first, state, dispatch):
        return _fold_again(state, first, commits, dispatch)
    if state is None:
        return Folded(None, gap=1)
    # here too where the log no longer reaches back to its beginning: what is folded stays, and goes on from where it is
    state.parked = None
    return _fold_on(state, chain([first], commits), dispatch)


def _reaches_back(first: Commit, state: RunState | None, dispatch: Dispatch) -> bool:
    """Return whether a log that begins with this commit is whole: nothing is gone that the state was folded from.

    One that begins at 1 has either no record or lost it. A state that was folded without one has no metadata, and was created
    when its first event happened.
    """
    if first.is_record or first.sequence > 1 or state is None or state.created_at is None:
        return first.sequence <= 1
    events, _ = dispatch.decode(first.payload)
    try:
        return bool(events) and state.metadata is None and state.created_at == canonical(events[0].timestamp)
    except ValueError:
        return False


def _progress_with(state: RunState | None, first: Commit, dispatch: Dispatch) -> Progress:
    """Return how far the run has come, given the first of the commits: a record may tell what the state doesn't know."""
    progress = _progress(state, dispatch)
    if state is not None and progress.goes_on and first.is_record and _brings_news(first, state):
        return Progress(NOTHING, covers=state.sequence)
    return progress


def _progress(state: RunState | None, dispatch: Dispatch) -> Progress:
    """Return how far the run has come: the core, and with it every extension that goes on."""
    if state is None:
        return Progress(NOTHING)
    if state.deleted_at is not None or (state.parked is not None and state.parked.version == REDUCER_VERSION):
        return Progress(state.sequence, goes_on=False)
    if state.parked is not None or state.reducer_version != REDUCER_VERSION or state.created_at is None:
        return Progress(NOTHING, covers=state.sequence)
    if dispatch.extensions and is_behind(state, dispatch):
        return Progress(NOTHING, covers=state.sequence)
    return Progress(state.sequence)


def _brings_news(commit: Commit, state: RunState) -> bool:
    """Return whether the state was folded without the run record that this commit is."""
    try:
        return is_news(decode_record(commit), state)
    except MalformedRecordError:
        return False


def is_news(record: RunRecord, state: RunState) -> bool:
    """Return whether the state was folded without this run record.

    Without one, a state has no metadata, and its session and time come from its first events.
    """
    known = (state.session_id, state.created_at, state.provider is None)
    if known != (record.session_id, canonical(record.created_at), False):
        return True
    return state.metadata != record.metadata and state.metadata != as_stored(record.metadata)


def _decide(progress: Progress, commits: Sequence[Commit]) -> Decision:
    if not progress.goes_on or progress.checkpoint >= commits[-1].last:
        return Decision(Next.NOTHING)
    reached = progress.checkpoint
    for commit in commits:
        if commit.sequence > reached + 1:
            return Decision(Next.READ, progress.checkpoint)
        reached = max(reached, commit.last)
    if reached < progress.covers:
        return Decision(Next.READ, progress.checkpoint)
    return Decision(Next.FOLD)


def _fold_again(before: RunState | None, first: Commit, commits: Iterable[Commit], dispatch: Dispatch) -> Folded:
    """Fold from the log's beginning; what was there before stays where the new state doesn't come as far."""
    state = RunState(run_id=first.run_id, reducer_version=REDUCER_VERSION)
    if before is not None:
        state.revision, state.extensions = before.revision, dict(before.extensions)
        if is_of_another_reducer(before) or (first.is_record and _brings_news(first, before)):
            state.extensions = outdated(before.extensions)
    if first.is_record:
        _start(state, first)
    else:
        commits = chain([first], commits)
    folded = _fold_on(state, commits, dispatch)
    if before is None or state.sequence >= before.sequence:
        return folded._replace(changed=True)
    before.parked = state.parked
    return folded._replace(state=before, events=0, changed=state.parked is not None)


def is_of_another_reducer(state: RunState) -> bool:
    """Return whether the state was folded by a reducer of another version."""
    return state.reducer_version not in {0, REDUCER_VERSION}


def _start(state: RunState, commit: Commit) -> None:
    try:
        begin(state, decode_record(commit))
    except BehestError as error:
        state.parked = _park(0, error)


def begin(state: RunState, record: RunRecord) -> None:
    """Return the state what the record says. Raises StateTooLargeError, and ValueError for a time that is none."""
    check_metadata_size(state.run_id, record.metadata)
    check_text_size(state.run_id, record.provider, record.model)
    state.created_at = canonical(record.created_at)
    state.updated_at = record.updated_at or record.created_at
    state.session_id = record.session_id
    state.provider = record.provider
    state.model = record.model
    state.metadata = record.metadata


def _fold_on(state: RunState, commits: Iterable[Commit], dispatch: Dispatch) -> Folded:
    """Fold what lies behind the state's checkpoint."""
    checkpoint, duplicates, gap = state.sequence, 0, None
    slices = Slices(state, dispatch) if dispatch.extensions else None
    for commit in commits:
        if state.parked is not None:
            break
        known = state.sequence + 1 - commit.sequence
        if known < 0:
            gap = state.sequence + 1
            break
        if known < commit.count:
            _apply(state, commit, known, dispatch, slices)
        duplicates += min(known, commit.count)
    changed = state.sequence != checkpoint or state.parked is not None
    if slices is not None:
        changed |= slices.store()
    return Folded(state, state.sequence - checkpoint, duplicates, gap, changed)


def _apply(state: RunState, commit: Commit, known: int, dispatch: Dispatch, slices: Slices | None) -> None:
    """Apply the commit's events behind the first `known`, up to one that can't be folded, and park there."""
    events, error = dispatch.decode(commit.payload)
    problem = commit.problem
    found = len(events) + (error is not None)  # at least so many: the first that can't be read is one, too
    if problem is None and (found > commit.count or (error is None and found < commit.count)):
        problem = f"`count` says {commit.count} events, `events` has {found}"
    if problem is not None:
        state.parked = _park(commit.sequence, MalformedEventError(commit.run_id, commit.sequence, problem))
        return
    error = apply(state, events[known:] if known else events, dispatch, slices) or error
    if error is not None:
        state.parked = _park(state.sequence + 1, error)


def apply(
    state: RunState, events: Sequence[AnyEvent | HalfRead], dispatch: Dispatch = CORE, slices: Slices | None = None
) -> Exception | None:
    """Apply the events of a commit in place. Where one can't be, stop before it, and give the error."""
    if not events:
        return None
    left, applied, error = iter(events), len(events), None
    handler_of = (dispatch.handlers if slices is None else slices.begin_commit(events, left)).get
    sequence, event_count = state.sequence, state.event_count
    try:
        if state.created_at is None:
            state.created_at = canonical(events[0].timestamp)
        for event in left:
            handler = handler_of(event.__class__)
            if handler is not None:
                handler(state, event)
    except Exception as raised:  # noqa: BLE001 (whatever it is, it is this event's)
        applied, error = applied - length_hint(left) - 1, raised
    if applied > 0:
        state.sequence = sequence + applied
        state.event_count = event_count + applied
        state.updated_at = events[applied - 1].timestamp
    if slices is not None:
        slices.end_commit()
    return error


def _park(sequence: int, error: Exception) -> Parked:
    name = MalformedEventError.__name__ if isinstance(error, DECODE_ERRORS) else type(error).__name__
    return Parked(sequence=sequence, error=name, message=str(error)[:500], version=REDUCER_VERSION)


def killed(state: RunState, message: str) -> Parked:
    """Return why a run is parked whose folds kill their process."""
    return Parked(sequence=state.sequence + 1, error="ProcessKilled", message=message, version=REDUCER_VERSION)


def replay(
    record: RunRecord | None, run_id: str, events: Sequence[AnyEvent | HalfRead], dispatch: Dispatch = CORE
) -> RunState:
    """Fold a whole run that is at hand decoded, as the seed's `RunState::create` does.

    Stops at an event that can't be folded, with `parked` set.
    """
    state = RunState(run_id=run_id, reducer_version=REDUCER_VERSION)
    if record is not None:
        begin(state, record)
    slices = Slices(state, dispatch) if dispatch.extensions else None
    error = apply(state, events, dispatch, slices)
    if error is not None:
        state.parked = _park(state.sequence + 1, error)
    if slices is not None:
        slices.store()
    return state
