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
from math import inf
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, field
from msgspec.structs import replace

from behest_core import codec
from behest_core.commit import Commit
from behest_core.errors import RevisionConflictError
from behest_core.fold import Next, decide, fold
from behest_core.state import RunState
from behest_core.timestamps import from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Protocol

    from behest_core.codec import Record
    from behest_core.event_log import EventLog
    from behest_core.state_table import StateTable

    class Spread(Protocol):
        """`map`, or what does the same on several threads."""

        def __call__(self, function: Callable[[_Work], _Work], work: Iterable[_Work], /) -> Iterable[_Work]:
            """Apply the function to each, and give the results in order."""


_STATES_KEPT: Final = 1_000
_TRIES: Final = 10
_RESERVE_SECONDS: Final = 2.0  # what saving, reporting and answering may take, generously
_AWS_ERRORS: Final = (ClientError, BotoCoreError)


class Trouble(Struct, frozen=True):
    """Something an operator should know of. It never holds payload.

    `kind` is a word for metrics: `parked`, `gap` (the log lacks `sequence`), `tampered` (an item of the event table was changed,
    deleted, or lies at no position of a run) or `unfinished`. `error` is the class of the error, or what was seen.
    """

    kind: str
    run_id: str
    sequence: int
    error: str
    message: str = ""


class Report(Struct):
    """What became of a batch.

    `first_unfinished` is the stream's sequence number of the lowest record that is not done, the one to return to Lambda; None
    where all are. `state_reads` and `log_reads` count runs, `saves` and `conflicts` writes, `expired` records of TTL deletes.
    """

    records: int = 0
    runs: int = 0
    events: int = 0
    duplicates: int = 0
    expired: int = 0
    state_reads: int = 0
    log_reads: int = 0
    saves: int = 0
    conflicts: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    first_unfinished: str | None = None


class _Work(Struct):
    """One run's share of a batch, and what became of it. `first_record` is the place of its first record in the batch."""

    run_id: str
    first_record: int
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
        self.troubles.append(Trouble("unfinished", self.run_id, self.commits[0].sequence, error, message))


class Projector:
    """Keeps the state table equal to the fold of the event table. Holds no more than 1,000 states in memory.

    `spread` is `map`, or an executor's: with the latter, runs are worked on side by side. `now` gives the time that a parked run
    is stamped with.
    """

    def __init__(
        self,
        log: EventLog,
        states: StateTable,
        *,
        spread: Spread = map,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
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
        work = _by_run(records, report)
        try:
            self._load(work, report)
        except _AWS_ERRORS as error:
            for each in work:
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
            report.first_unfinished = codec.sequence_number_of(records[min(unfinished)])
        return report

    def _load(self, work: Sequence[_Work], report: Report) -> None:
        for each in work:
            each.state = self._kept.pop(each.run_id, None)
        cold = [each for each in work if each.state is None]
        states = self._states.get_many([each.run_id for each in cold], repair=True)
        report.state_reads += len(cold)
        for each in cold:
            each.state = states.get(each.run_id)

    def _keep(self, work: _Work) -> None:
        if work.state is not None and work.is_finished:
            self._kept[work.run_id] = work.state
            if len(self._kept) > _STATES_KEPT:
                self._kept.popitem(last=False)

    def _bring_up(self, work: _Work, remaining: Callable[[], float]) -> _Work:
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

    def _try(self, work: _Work, remaining: Callable[[], float]) -> bool:
        """Decide, fold and save once; say whether that settled it. If not, `work.state` is what another writer has saved."""
        decision = decide(work.state, work.commits)
        if decision.next is Next.NOTHING:
            work.duplicates += sum(commit.count for commit in work.commits)
            return True
        commits: Iterable[Commit] = work.commits
        if decision.next is Next.READ:
            work.log_reads += 1
            commits = self._read(work, decision.after, remaining)
        folded = fold(work.state, commits)
        if folded.state is not None and folded.changed:
            try:
                work.state = self._states.save(self._stamp(folded.state))
            except RevisionConflictError as conflict:
                work.conflicts += 1
                work.state = conflict.current
                return False
            work.saves += 1
        work.events += folded.events
        work.duplicates += folded.duplicates
        if folded.gap is not None:
            work.troubles.append(Trouble("gap", work.run_id, folded.gap, "MissingEvents"))
        if folded.changed and work.state is not None and work.state.parked is not None:
            parked = work.state.parked
            work.troubles.append(Trouble("parked", work.run_id, parked.sequence, parked.error, parked.message))
        return True

    def _read(self, work: _Work, after: int, remaining: Callable[[], float]) -> Iterator[Commit]:
        """Read the run's log as long as there is time."""
        for commit in self._log.commits(work.run_id, after):
            if remaining() < _RESERVE_SECONDS:
                work.give_up("Deadline")
                return
            yield commit

    def _stamp(self, state: RunState) -> RunState:
        if state.parked is not None:
            state.parked = replace(state.parked, parked_at=from_datetime(self._now()))
        return state


def _by_run(records: Sequence[Record], report: Report) -> list[_Work]:
    """Sort the batch's commits by run, and by sequence within. What is no new commit is counted and left."""
    runs: dict[str, _Work] = {}
    for place, record in enumerate(records):
        match codec.change_of(record):
            case Commit() as commit:
                if commit.run_id not in runs:
                    runs[commit.run_id] = _Work(commit.run_id, place)
                runs[commit.run_id].commits.append(commit)
            case codec.Change.EXPIRED:
                report.expired += 1
            case change:
                run_id, sequence = codec.key_of(record)
                report.troubles.append(Trouble("tampered", run_id, sequence, change.value))
    for work in runs.values():
        work.commits.sort(key=lambda commit: commit.sequence)
    return list(runs.values())


def _name(error: ClientError | BotoCoreError) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
