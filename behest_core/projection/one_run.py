"""One run: its state brought up to its log. Fold, save if nobody else has saved, decide anew where somebody has.

What is decided is in fold/. What is done here keeps these promises:

- A run's state and checkpoint are saved in one write, if the item still has the revision that was read. If it hasn't, the item
  that the failure returned is decided on anew; nothing is overwritten.
- Errors of the infrastructure (throttling, network, time-outs) leave a run unfinished and are reported; they never park it. A
  state that DynamoDB refuses for what it is parks the run: the same write would be refused for ever.
- Before the deadline it stops, saves what is folded, and reports the rest.
- Where the log holds another commit than the one that the state ends with, the run is parked until it is rebuilt. The log is
  asked where a batch brings duplicates of which none is that commit, and whenever it is read from a checkpoint on.
- A tombstone in the log always wins: the state becomes one too. Whoever reads to the log's end meets it. Where a fold stops
  before, at a gap, at what can't be folded or at another history, the end is asked for first: that may be what somebody appended
  who hadn't heard of the deletion.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import field

from behest_core.dynamodb.state_table import RevisionConflictError
from behest_core.errors import ContentionError, LogDivergedError, RunDeletedError
from behest_core.fold.divergence import has_diverged
from behest_core.fold.rules import Folded, Start, parked_by
from behest_core.model.state import CORE_FOLD, Parked, RunState
from behest_core.model.timestamps import from_datetime
from behest_core.projection.trouble import Counts, Trouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.model.commit import Commit

    Begin = Callable[[RunState | None], Folded | Start | None]

AWS_ERRORS: Final = (ClientError, BotoCoreError)
RESERVE_SECONDS: Final = 2.0  # what saving, reporting and answering may take, generously
_TRIES: Final = 10
_REFUSED: Final = "ValidationException"


class Work(Counts):
    """One run to be worked on, and what became of it.

    `commits` are its share of a batch, none where the log is to be read; `first_record` is the place of the first of them in
    the batch. `state` is the state before, then after. `replaced` is what the state covered that another history of the log took
    the place of; None where none did.
    """

    run_id: str = ""
    first_record: int = 0
    commits: list[Commit] = field(default_factory=list)
    state: RunState | None = None
    is_finished: bool = True
    replaced: int | None = None

    def give_up(self, error: str, message: str = "") -> None:
        """Leave the run to a later delivery."""
        self.is_finished = False
        self.tell(TroubleKind.UNFINISHED, self.commits[0].sequence if self.commits else 0, error, message)

    def tell(self, kind: TroubleKind, sequence: int, error: str, message: str = "") -> None:
        """Report a trouble of the run."""
        self.troubles.append(Trouble(kind, self.run_id, sequence, error, message))


def name_of(error: Exception) -> str:
    """Return what an error is called: AWS's code, or the class."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


class OneRun:
    """Works on runs, one by one. Can be shared between threads.

    `owner` names this process in the notes of guarded folds (catch_up.py), which are its to take away. `now` gives the time
    that a parked run is stamped with.
    """

    def __init__(
        self,
        log: EventLog,
        states: StateTable,
        *,
        owner: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._states = states
        self._owner = owner
        self._now = now

    def bring_up(self, work: Work, begin: Begin, remaining: Callable[[], float]) -> Work:
        """Fold a run until there is nothing more to do, or no time left. `begin` says of a state what to do with it.

        Raises nothing but what `begin` raises.
        """
        try:
            for _ in range(_TRIES):
                if remaining() < RESERVE_SECONDS:
                    work.give_up("Deadline")
                    return work
                if self._try(work, begin, remaining):
                    return work
            work.give_up("Contention", f"{_TRIES} saves met another writer")
        except RunDeletedError as deleted:
            self.bury(work, deleted.deleted_at)
        except AWS_ERRORS as error:
            work.give_up(name_of(error))
        return work

    def bury(self, work: Work, deleted_at: str) -> None:
        """Put a tombstone in the place of the run's state, as its log has one."""
        try:
            self._states.bury(work.run_id, deleted_at)
            work.state = RunState(run_id=work.run_id, deleted_at=deleted_at)
        except (*AWS_ERRORS, ContentionError) as error:
            work.give_up(name_of(error))

    def read(self, work: Work, after: int, remaining: Callable[[], float]) -> Iterator[Commit]:
        """Read the run's log as long as there is time."""
        for commit in self._log.commits(work.run_id, after, refuse_deleted=True):
            if remaining() < RESERVE_SECONDS:
                work.give_up("Deadline")
                return
            yield commit

    def _try(self, work: Work, begin: Begin, remaining: Callable[[], float]) -> bool:
        """Fold and save once; return whether that settled it. If not, `work.state` is what another writer has saved."""
        parks = work.state.parks if work.state is not None else {}
        is_guarded = work.state is not None and work.state.guard is not None and work.state.guard.owner == self._owner
        found = begin(work.state)
        if found is None:
            return True
        folded = self._folded(work, found, remaining)
        if folded is None:
            return True
        state = folded.state
        if _stops_before_the_end(folded):
            self._log.tail(work.run_id)  # raises where the log ends with a tombstone
        is_news = folded.changed or is_guarded or (state is not None and state.parks.keys() != parks.keys())
        if state is not None and is_news and not self._save(work, self._finish(state, parks)):
            return False
        work.events += folded.events
        work.duplicates += folded.duplicates
        work.troubles += _troubles(work.run_id, folded, parks)
        return True

    def _folded(self, work: Work, found: Folded | Start, remaining: Callable[[], float]) -> Folded | None:
        """Read the log where that is to be done, and fold it; None where time ran out before anything could replace the state."""
        if isinstance(found, Folded):
            state = found.state
            return self.diverged(state) if state and found.is_doubtful and self.has_diverged(state) else found
        for _ in range(2):  # the second time from what is stored, where that can't be replaced
            work.log_reads += 1
            if found.blank is None and found.stored is not None and self.has_diverged(found.stored):
                return self.diverged(found.stored)
            folded = found.fold(self.read(work, found.after, remaining))
            if isinstance(folded, Folded) or not work.is_finished:
                return folded if isinstance(folded, Folded) else None
            found = folded
        return None

    # ------------------------------------------------------------ another history

    def has_diverged(self, state: RunState) -> bool:
        """Ask the log whether it holds another commit where the state ends."""
        if state.commit_id is None:
            return False
        return has_diverged(state, self._log.last_commit(state.run_id, state.sequence), self._now())

    def diverged(self, state: RunState) -> Folded:
        """Park a run whose log holds another history."""
        error = LogDivergedError(state.run_id, state.sequence)
        state.parked = parked_by(state.sequence + 1, LogDivergedError.__name__, str(error))
        return Folded(state, changed=True)

    # ------------------------------------------------------------ saving

    def _save(self, work: Work, state: RunState) -> bool:
        """Save; return False where somebody else has, with the state that is there."""
        try:
            work.state = self._states.save(state)
        except RevisionConflictError as conflict:
            work.conflicts += 1
            work.state = conflict.current
            return False
        except ClientError as error:
            if name_of(error) != _REFUSED:
                raise
            self._park_refused(work)
            return True
        work.saves += 1
        return True

    def _park_refused(self, work: Work) -> None:
        """Park a run at what it has, as DynamoDB refuses the state that follows."""
        state = self._states.get_many([work.run_id], repair=True).get(work.run_id) or RunState(run_id=work.run_id)
        message = "DynamoDB refuses the state that follows: it is too large, or holds what an item can't"
        state.guard = None
        parked = parked_by(state.sequence + 1, _REFUSED, message)
        state.parked = parked.after(state.parked, self.moment())
        work.tell(TroubleKind.PARKED, parked.sequence, _REFUSED, message)
        try:
            work.state = self._states.save(state)
            work.saves += 1
        except RevisionConflictError as conflict:
            work.state = conflict.current  # the next commit, or a sweep, finds the run again
        except ClientError as error:
            if name_of(error) != _REFUSED:
                raise

    def _finish(self, state: RunState, parks: Mapping[str, Parked]) -> RunState:
        """Return the state as it is to be saved, with what is known of attempts before."""
        state.guard = None
        return state.stamped(parks, self.moment())

    def moment(self) -> str:
        """Return the time, as it is stamped."""
        return from_datetime(self._now())


def _stops_before_the_end(folded: Folded) -> bool:
    """Return whether a fold has just come to what it can't go on from: a gap, a bad event, another history."""
    parked = folded.state.parked if folded.state is not None else None
    return folded.gap is not None or (parked is not None and not parked.at)


def _troubles(run_id: str, folded: Folded, before: Mapping[str, Parked]) -> Iterator[Trouble]:
    if folded.gap is not None:
        yield Trouble(TroubleKind.GAP, run_id, folded.gap, "MissingEvents")
    if not folded.changed or folded.state is None:
        return
    for name, parked in folded.state.parks.items():
        if name not in before or before[name].at != parked.at:
            yield Trouble(_kind_of(name, parked), run_id, parked.sequence, parked.error, parked.message)


def _kind_of(name: str, parked: Parked) -> TroubleKind:
    if name != CORE_FOLD:
        return TroubleKind.EXTENSION_PARKED
    return TroubleKind.DIVERGED if parked.error == LogDivergedError.__name__ else TroubleKind.PARKED
