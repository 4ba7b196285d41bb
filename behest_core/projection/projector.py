"""The shell around the fold: load states, fold, save, report. Used by the projector function and by everything that folds again.

What is decided is in fold.py. What is done here keeps four promises:

- A run's state and checkpoint are saved in one write, if the item still has the revision that was read. If it hasn't, the item
  that the failure returned is decided on anew; nothing is overwritten.
- Errors of the infrastructure (throttling, network, time-outs) leave a run unfinished and are reported; they never park it.
- One run's trouble is its own: the other runs of a batch are finished all the same.
- Before the deadline it stops, saves what is folded, and reports the rest.

States that were saved stay in memory: as the write is conditional, a stale one costs a second try and can do no harm. So a warm
process reads nothing, and writes once per run and batch.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, field
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.dynamodb.state_table import RevisionConflictError
from behest_core.errors import LogTruncatedError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import Decision, Folded, Next, decide, fold, is_of_another_reducer, killed, read_on
from behest_core.fold.slices import outdated
from behest_core.model.commit import Commit
from behest_core.model.json import as_stored
from behest_core.model.state import CORE_FOLD, Parked, RunState
from behest_core.model.timestamps import from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Protocol

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.items import Record
    from behest_core.dynamodb.state_table import StateTable

    class Spread(Protocol):
        """`map`, or what does the same on several threads."""

        def __call__(self, function: Callable[[Work], Work], work: Iterable[Work], /) -> Iterable[Work]:
            """Apply the function to each, and give the results in order."""


_STATES_KEPT: Final = 1_000
_TRIES: Final = 10
_RESERVE_SECONDS: Final = 2.0  # what saving, reporting and answering may take, generously
_GUARDED_FOLDS: Final = 3
_AWS_ERRORS: Final = (ClientError, BotoCoreError)


class Trouble(Struct, frozen=True):
    """Something an operator should know of. It never holds payload.

    `kind` is a word for metrics: `parked`, `extension_parked`, `gap` (the log lacks `sequence`), `tampered` (an item of the event
    table was changed, deleted, or lies at no position of a run) or `unfinished`. `error` is its class, or what was seen.
    """

    kind: str
    run_id: str
    sequence: int
    error: str
    message: str = ""


class Report(Struct):
    """What became of a batch.

    `first_unfinished` is the stream's sequence number of the lowest record that is not done, the one to return to Lambda; None
    where all are. `state_reads` and `log_reads` count runs, `saves` and `conflicts` writes, `expired` and `deleted` the records
    of items that TTL, or deleting a run, removed.
    """

    records: int = 0
    runs: int = 0
    events: int = 0
    duplicates: int = 0
    expired: int = 0
    deleted: int = 0
    state_reads: int = 0
    log_reads: int = 0
    saves: int = 0
    conflicts: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    first_unfinished: str | None = None


class Fold(Enum):
    """What to fold of a run, when it isn't a batch that says it.

    RESUME goes on where a run is parked. AGAIN starts from the beginning of the log.
    """

    NEW = "new"
    RESUME = "resume"
    AGAIN = "again"


class Work(Struct):
    """One run to be worked on, and what became of it.

    `commits` are its share of a batch, none where the log is to be read; `first_record` is the place of the first of them in the
    batch. `state` is the state before, then after.
    """

    run_id: str
    first_record: int = 0
    fold: Fold = Fold.NEW
    extension: str | None = None
    commits: list[Commit] = field(default_factory=list)
    state: RunState | None = None
    is_finished: bool = True
    events: int = 0
    duplicates: int = 0
    log_reads: int = 0
    saves: int = 0
    conflicts: int = 0
    troubles: list[Trouble] = field(default_factory=list)

    def give_up(self, error: str, message: str = "") -> None:
        """Leave the run to a later delivery."""
        self.is_finished = False
        sequence = self.commits[0].sequence if self.commits else 0
        self.troubles.append(Trouble("unfinished", self.run_id, sequence, error, message))


class Projector:
    """Keeps the state table equal to the fold of the event table. Holds no more than 1,000 states in memory.

    `dispatch` says which extensions are folded beside the core. `spread` is `map`, or an executor's: with the latter, runs are
    worked on side by side. `now` gives the time that a parked run is stamped with.
    """

    def __init__(
        self,
        log: EventLog,
        states: StateTable,
        dispatch: Dispatch = CORE,
        *,
        spread: Spread = map,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._dispatch = dispatch
        self._log = log
        self._states = states
        self._spread = spread
        self._now = now
        self._kept: OrderedDict[str, RunState] = OrderedDict()

    def project(self, records: Sequence[Record], remaining: Callable[[], float] = lambda: inf) -> Report:
        """Fold a batch of the event table's stream, as Lambda delivers it.

        `remaining` gives the seconds left. Whatever a single run's events do, nothing is raised; what isn't done is reported.
        """
        report = Report(records=len(records))
        work, removed = _by_run(records, report)
        try:
            self._load(work, report)
            report.troubles += self._judge(removed, report)
        except _AWS_ERRORS as error:
            work = work or [Work(run_id) for run_id in removed]
            for each in work:
                each.first_record = 0
                each.give_up(_name(error), "reading states")
        else:
            work = list(self._spread(lambda each: self._bring_up(each, remaining), work))
        for each in work:
            self._keep(each)
            report.runs += 1
            report.events += each.events
            report.duplicates += each.duplicates
            report.log_reads += each.log_reads
            report.saves += each.saves
            report.conflicts += each.conflicts
            report.troubles += each.troubles
        unfinished = [each.first_record for each in work if not each.is_finished]
        if unfinished:
            report.first_unfinished = items.sequence_number_of(records[min(unfinished)])
        return report

    def _load(self, work: Sequence[Work], report: Report) -> None:
        for each in work:
            kept = self._kept.pop(each.run_id, None)
            # one that these commits don't follow on was most likely overtaken by another process: the item is read, not the log
            if kept is not None and decide(kept, each.commits, self._dispatch).next is not Next.READ:
                each.state = kept
        cold = [each for each in work if each.state is None]
        states = self._states.get_many([each.run_id for each in cold], repair=True)
        report.state_reads += len(cold)
        for each in cold:
            each.state = states.get(each.run_id)

    def _judge(self, removed: dict[str, int], report: Report) -> Iterator[Trouble]:
        """Tell deleted runs from tampering: of the former, a tombstone is left."""
        states = self._states.get_many(removed, repair=True) if removed else {}
        for run_id, sequence in removed.items():
            if run_id in states and states[run_id].deleted_at is not None:
                report.deleted += 1
            else:
                yield Trouble("tampered", run_id, sequence, items.Change.REMOVED.value)

    def catch_up(
        self,
        run_id: str,
        fold: Fold = Fold.NEW,
        *,
        extension: str | None = None,
        guarded: bool = False,
        remaining: Callable[[], float] = lambda: inf,
    ) -> Work:
        """Fold what a run's log holds, whatever the stream brought; return what became of it.

        With `extension`, AGAIN is for that extension's slice alone. `guarded` is for runs that may have killed a process: it
        notes on the state item that a fold has begun, and parks a run of which three never came back. Raises LogTruncatedError
        where a run can't be folded again.
        """
        work = Work(run_id, fold=fold, extension=extension)
        try:
            work.state = self._states.get_many([run_id], repair=True).get(run_id)
            if guarded and not self._begin_guarded(work):
                return work
        except _AWS_ERRORS as error:
            work.give_up(_name(error))
            return work
        self._bring_up(work, remaining)
        if guarded and not work.is_finished:
            self._take_back_guard(work)
        return work

    def _take_back_guard(self, work: Work) -> None:
        """Note that a fold has come back after all: it is not the run that kept it from its end."""
        try:
            state = self._states.get_many([work.run_id], repair=True).get(work.run_id)
            if state is not None and state.unfinished_folds:
                state.unfinished_folds -= 1
                self._states.save(state)
                work.saves += 1
        except (*_AWS_ERRORS, RevisionConflictError) as error:
            # it goes on counting as one that never came back, until a fold comes to its end
            work.troubles.append(Trouble("unfinished", work.run_id, 0, type(error).__name__, "taking back a guard"))

    def _begin_guarded(self, work: Work) -> bool:
        """Note that a fold begins; park the run instead where it has happened too often. Say whether to go on."""
        state = work.state or RunState(run_id=work.run_id)
        if not read_on(state, self._dispatch).goes_on:
            return False
        if is_deadly := state.unfinished_folds >= _GUARDED_FOLDS:
            message = f"{state.unfinished_folds} folds began and never came back: out of memory, or of time"
            state.parked = killed(state, message).after(state.parked, self._moment())
            state.unfinished_folds = 0
            work.troubles.append(Trouble("parked", work.run_id, state.parked.sequence, state.parked.error, message))
        else:
            state.unfinished_folds += 1
        try:
            work.state = self._states.save(state)
        except RevisionConflictError as conflict:
            work.state = conflict.current  # somebody else has folded it meanwhile, and lived
            return True
        work.saves += 1
        return not is_deadly

    def _keep(self, work: Work) -> None:
        if work.state is not None and work.is_finished:
            self._kept[work.run_id] = work.state
            if len(self._kept) > _STATES_KEPT:
                self._kept.popitem(last=False)

    def _bring_up(self, work: Work, remaining: Callable[[], float]) -> Work:
        """Fold one run until there is nothing more to do with its commits, or no time left."""
        try:
            for _ in range(_TRIES):
                if remaining() < _RESERVE_SECONDS:
                    work.give_up("Deadline")
                    return work
                if self._try(work, remaining):
                    return work
            work.give_up("Contention", f"{_TRIES} saves met another writer")
        except _AWS_ERRORS as error:
            work.give_up(_name(error))
        return work

    def _try(self, work: Work, remaining: Callable[[], float]) -> bool:
        """Decide, fold and save once; say whether that settled it. If not, `work.state` is what another writer has saved."""
        before = work.state
        parks = before.parks if before is not None else {}
        is_owed = before is not None and (before.unfinished_folds > 0 or (work.fold is Fold.RESUME and bool(parks)))
        if before is not None:
            work.state = self._made_ready(before, work.fold, work.extension)
        decision = self._decide(work)
        if not decision.goes_on:
            if CORE_FOLD not in parks:
                work.duplicates += sum(commit.count for commit in work.commits)
            return True
        commits: Iterable[Commit] = work.commits
        if decision.next is Next.READ:
            work.log_reads += 1
            commits = self._read(work, decision.after, remaining)
        folded = fold(work.state, commits, self._dispatch)
        if work.fold is Fold.AGAIN:
            folded = _compared(work, folded, before)
        if folded.state is not None and (folded.changed or is_owed):
            try:
                work.state = self._states.save(self._finish(folded.state, parks))
            except RevisionConflictError as conflict:
                work.conflicts += 1
                work.state = conflict.current
                return False
            work.saves += 1
        work.events += folded.events
        work.duplicates += folded.duplicates
        work.troubles += _troubles(work.run_id, folded, parks)
        return True

    def _made_ready(self, state: RunState, to: Fold, extension: str | None) -> RunState:
        """Return the state from which folding does what is asked for: of one extension, or of all that are installed here."""
        if to is Fold.NEW:
            return state
        installed = {each.name for each in self._dispatch.extensions}
        if to is Fold.RESUME:
            resumed = {
                name: replace(piece, parked=None) if name in installed else piece
                for name, piece in state.extensions.items()
            }
            return replace(state, parked=None, total_usage=replace(state.total_usage), extensions=resumed)
        wanted = installed if extension is None else installed & {extension}
        others = {name: piece for name, piece in state.extensions.items() if name not in wanted}
        if extension is not None:
            return replace(state, total_usage=replace(state.total_usage), extensions=others)
        if is_of_another_reducer(state):
            others = outdated(others)
        return replace(state, parked=None, reducer_version=0, extensions=others)

    def _decide(self, work: Work) -> Decision:
        if work.commits:
            return decide(work.state, work.commits, self._dispatch)
        return read_on(work.state, self._dispatch)

    def _read(self, work: Work, after: int, remaining: Callable[[], float]) -> Iterator[Commit]:
        """Read the run's log as long as there is time."""
        for commit in self._log.commits(work.run_id, after):
            if remaining() < _RESERVE_SECONDS:
                work.give_up("Deadline")
                return
            yield commit

    def _finish(self, state: RunState, parks: dict[str, Parked]) -> RunState:
        """Return the state as it is to be saved, with what is known of attempts before."""
        state.unfinished_folds = 0
        if state.parked is not None and not state.parked.at:
            state.parked = state.parked.after(parks.get(CORE_FOLD), self._moment())
        for name, piece in state.extensions.items():
            if piece.parked is not None and not piece.parked.at:
                piece.parked = piece.parked.after(parks.get(name), self._moment())
        return state

    def _moment(self) -> str:
        return from_datetime(self._now())


def _compared(work: Work, folded: Folded, before: RunState | None) -> Folded:
    """Judge what a fold from the beginning gave: it is saved if it differs. Raises LogTruncatedError."""
    state = folded.state
    if state is None:
        return folded
    if _is_slice_lost(work, state, before) or (
        work.extension is None and state.reducer_version == 0 and state.parked is None
    ):
        if work.is_finished:
            raise LogTruncatedError(work.run_id, state.sequence)
        return folded._replace(changed=False)
    return folded._replace(changed=replace(state, metadata=as_stored(state.metadata)) != before)


def _is_slice_lost(work: Work, state: RunState, before: RunState | None) -> bool:
    """Return whether the one slice that was to be folded again had been folded, and can't be now."""
    if work.extension is None or before is None:
        return False
    old, new = before.extensions.get(work.extension), state.extensions.get(work.extension)
    is_truncated = new is None or (new.parked is not None and new.parked.error == LogTruncatedError.__name__)
    return is_truncated and old is not None and old.sequence > 0


def _troubles(run_id: str, folded: Folded, before: dict[str, Parked]) -> Iterator[Trouble]:
    if folded.gap is not None:
        yield Trouble("gap", run_id, folded.gap, "MissingEvents")
    if not folded.changed or folded.state is None:
        return
    for name, parked in folded.state.parks.items():
        if name not in before or before[name].at != parked.at:
            kind = "parked" if name == CORE_FOLD else "extension_parked"
            yield Trouble(kind, run_id, parked.sequence, parked.error, parked.message)


def _by_run(records: Sequence[Record], report: Report) -> tuple[list[Work], dict[str, int]]:
    """Sort the batch's commits by run, and by sequence within. What is no new commit is counted and left.

    Also gives the runs of which items were removed, each with a sequence that was.
    """
    runs: dict[str, Work] = {}
    removed: dict[str, int] = {}
    for place, record in enumerate(records):
        match items.change_of(record):
            case Commit() as commit:
                if commit.run_id not in runs:
                    runs[commit.run_id] = Work(commit.run_id, place)
                runs[commit.run_id].commits.append(commit)
            case items.Change.EXPIRED:
                report.expired += 1
            case items.Change.DELETED:
                report.deleted += 1
            case items.Change.REMOVED:
                run_id, sequence = items.key_of(record)
                removed[run_id] = sequence
            case change:
                run_id, sequence = items.key_of(record)
                report.troubles.append(Trouble("tampered", run_id, sequence, change.value))
    for work in runs.values():
        work.commits.sort(key=lambda commit: commit.sequence)
    return list(runs.values()), removed


def _name(error: ClientError | BotoCoreError) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
