"""Catching up with a run's log, whatever the stream brought: what lags, what was parked, what is to be folded from the beginning.

Who does it may be killed by it: a run can need more memory, or time, than there is. So a fold can be guarded. It notes on the
state item who began it and until when he must be back, and takes the note away when he is. Only a note that has expired counts
as a death; a run of which three folds died is parked. While a note is valid, nobody else begins.

The log is looked at before anything is written: where nothing can be folded, nothing is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from msgspec.structs import replace

from behest_core.dynamodb.state_table import RevisionConflictError
from behest_core.errors import LogDivergedError, LogTruncatedError, RunDeletedError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.divergence import Along, has_diverged
from behest_core.fold.restart import restart
from behest_core.fold.rules import (
    Folded,
    Start,
    brings_the_record,
    fold_again,
    is_parked_as_diverged,
    parked_by,
    reaches_back,
    start,
)
from behest_core.model.json import as_stored
from behest_core.model.state import Guard, RunState
from behest_core.model.timestamps import from_datetime, to_datetime
from behest_core.projection.one_run import AWS_ERRORS, OneRun, Work, name_of
from behest_core.projection.trouble import TroubleKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.model.commit import Commit

_DEADLY: Final = 3
_LONGEST_FOLD: Final = timedelta(minutes=15)  # the most that Lambda gives


class Fold(Enum):
    """What to fold of a run.

    NEW goes on from its checkpoint. RESUME does, and where the run is parked. AGAIN starts from the beginning of the log.
    """

    NEW = "new"
    RESUME = "resume"
    AGAIN = "again"


class CatchUp:
    """Folds runs from their logs. Can be shared between threads.

    `dispatch` says which extensions are folded beside the core. `owner` names this process in the notes of guarded folds; `now`
    gives the time for them, and for parked runs.
    """

    def __init__(
        self,
        log: EventLog,
        states: StateTable,
        dispatch: Dispatch = CORE,
        *,
        owner: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._states = states
        self._dispatch = dispatch
        self._owner = str(uuid4()) if owner is None else owner
        self._now = now
        self._one_run = OneRun(log, states, owner=self._owner, now=now)
        self._installed = {each.name for each in dispatch.extensions}

    def fold(  # noqa: PLR0913 (how to fold)
        self,
        run_id: str,
        how: Fold = Fold.NEW,
        *,
        extension: str | None = None,
        diverged: bool = False,
        guarded: bool = False,
        remaining: Callable[[], float] = lambda: inf,
    ) -> Work:
        """Fold what a run's log holds; return what became of it.

        With `extension`, AGAIN is for that extension's slice alone. With `diverged`, it takes what the log has where that is
        another history than the state's, even if it is less. `guarded` is for runs that may kill their process. Raises
        LogTruncatedError and LogDivergedError where a run can't be folded again.
        """
        work = Work(run_id=run_id)

        def begin(state: RunState | None) -> Folded | Start | None:
            if how is Fold.NEW:
                return start(state, self._dispatch)
            if how is Fold.RESUME:
                return self._resume(state)
            return self._again(work, state, extension, remaining, diverged=diverged)

        try:
            work.state = self._state(run_id)
            if guarded and not self._may_begin(work, how, remaining):
                return work
        except RunDeletedError as deleted:
            self._one_run.bury(work, deleted.deleted_at)
            return work
        except AWS_ERRORS as error:
            work.give_up(name_of(error))
            return work
        try:
            self._one_run.bring_up(work, begin, remaining)
        except Exception:
            self._take_back_guard(work)
            raise
        if not work.is_finished:
            self._take_back_guard(work)
        return work

    def _state(self, run_id: str) -> RunState | None:
        return self._states.get_many([run_id], repair=True).get(run_id)

    def _resume(self, state: RunState | None) -> Folded | Start | None:
        if state is None:
            return start(None, self._dispatch)
        if is_parked_as_diverged(state) and self._one_run.has_diverged(state):
            return self._one_run.diverged(state)
        slices = {
            name: replace(piece, parked=None) if name in self._installed else piece
            for name, piece in state.extensions.items()
        }
        resumed = replace(state, parked=None, total_usage=replace(state.total_usage), extensions=slices)
        return start(resumed, self._dispatch)

    # ------------------------------------------------------------ from the beginning

    def _again(
        self,
        work: Work,
        state: RunState | None,
        extension: str | None,
        remaining: Callable[[], float],
        *,
        diverged: bool,
    ) -> Folded | Start | None:
        """Fold a run from the beginning of its log: what comes of it is saved if it differs."""
        if state is None:
            return start(None, self._dispatch)
        if state.deleted_at is not None:
            return None
        if extension is not None and (extension not in self._installed or start(state, self._dispatch) is None):
            return None
        before = state if extension is None else _without(state, extension)
        work.log_reads += 1
        commits = self._one_run.read(work, -1, remaining)
        first = next(commits, None)
        is_taken = diverged and first is not None and first.sequence <= 1 and self._one_run.has_diverged(state)
        work.replaced = state.sequence if is_taken else None
        if first is None or not (is_taken or reaches_back(first, state)):
            return self._truncated(work, state, extension)
        is_another_run = is_taken or brings_the_record(first, state)
        blank = restart(before, self._dispatch.extensions, even_parked=extension is None, is_another_run=is_another_run)
        along = Along(chain([first], commits), state)
        folded = fold_again(blank, along, self._dispatch)
        return self._compared(work, state, folded, along.last, is_taken=is_taken)

    def _truncated(self, work: Work, state: RunState, extension: str | None) -> Folded | Start:
        piece = None if extension is None else state.extensions.get(extension)
        if not work.is_finished or state.is_blank:
            return Folded(state)
        if extension is None or (piece is not None and piece.sequence > 0):
            raise LogTruncatedError(state.run_id, state.sequence)
        return Start(_without(state, extension), None, self._dispatch)  # which parks it: it can't be folded

    def _compared(self, work: Work, state: RunState, folded: Folded, last: Commit | None, *, is_taken: bool) -> Folded:
        found = folded.state
        if found is None or not work.is_finished:
            return Folded(state)
        if not is_taken:
            covers_less = found.sequence < state.sequence
            # a fold that stopped before the state's end has not seen what the log holds there
            if self._one_run.has_diverged(state) if covers_less else has_diverged(state, last, self._now()):
                raise LogDivergedError(state.run_id, state.sequence)
            if covers_less and found.parked is None:
                raise LogTruncatedError(state.run_id, state.sequence)
            if covers_less:
                return folded._replace(state=replace(state, parked=found.parked), events=0)
        return folded._replace(changed=replace(found, metadata=as_stored(found.metadata)) != replace(state, guard=None))

    # ------------------------------------------------------------ guarded

    def _may_begin(self, work: Work, how: Fold, remaining: Callable[[], float]) -> bool:
        """Return whether there is something to fold, having noted that it begins; park the run instead if that is deadly."""
        if how is Fold.NEW:
            begin = start(work.state, self._dispatch)
            if begin is None:
                return False
            if begin.blank is None:
                first = next(self._log.commits(work.run_id, begin.after, refuse_deleted=True), None)
                if first is None:
                    return True  # nothing that could kill
                if first.sequence > max(begin.after, 0) + 1:
                    self._log.tail(work.run_id)  # raises where the run was deleted
                    work.tell(TroubleKind.GAP, max(begin.after, 0) + 1, "MissingEvents")
                    return False
        return self._begin_guarded(work, remaining)

    def _begin_guarded(self, work: Work, remaining: Callable[[], float]) -> bool:
        state = work.state or RunState(run_id=work.run_id)
        guard, now = state.guard, self._now()
        is_dead = guard is not None and _is_past(guard.until, now)
        if guard is not None and guard.owner != self._owner and not is_dead:
            work.give_up("Guarded", f"another process folds it until {guard.until}")
            return False
        deaths = 0 if guard is None else guard.deaths + is_dead
        if is_deadly := deaths >= _DEADLY:
            message = f"{deaths} folds began and never came back: out of memory, or of time"
            state.parked = parked_by(state.sequence + 1, "ProcessKilled", message).after(
                state.parked, from_datetime(now)
            )
            state.guard = None
            work.tell(TroubleKind.PARKED, state.parked.sequence, state.parked.error, message)
        else:
            until = now + min(timedelta(seconds=min(remaining(), _LONGEST_FOLD.total_seconds())), _LONGEST_FOLD)
            state.guard = Guard(owner=self._owner, until=from_datetime(until), deaths=deaths)
        try:
            work.state = self._states.save(state)
        except RevisionConflictError as conflict:
            work.state = conflict.current  # somebody else has folded it meanwhile, and lived
            return True
        work.saves += 1
        return not is_deadly

    def _take_back_guard(self, work: Work) -> None:
        """Note that a fold has come back after all: it is not the run that kept it from its end."""
        try:
            state = self._state(work.run_id)
            if state is None or state.guard is None or state.guard.owner != self._owner:
                return
            # those that died before it still count: the note of a death that is past, which is one more when the next begins
            deaths, past = state.guard.deaths, from_datetime(self._now())
            state.guard = Guard(owner="", until=past, deaths=deaths - 1) if deaths else None
            self._states.save(state)
            work.saves += 1
        except (*AWS_ERRORS, RevisionConflictError) as error:
            # it goes on counting as one that never came back, until a fold comes to its end
            work.tell(TroubleKind.UNFINISHED, 0, name_of(error), "taking back a guard")


def _without(state: RunState, extension: str) -> RunState:
    slices = {name: piece for name, piece in state.extensions.items() if name != extension}
    return replace(state, total_usage=replace(state.total_usage), extensions=slices)


def _is_past(moment: str, now: datetime) -> bool:
    """Compare times; one that a foreign writer put and that is none is past."""
    try:
        return to_datetime(moment) <= now
    except ValueError:
        return True
