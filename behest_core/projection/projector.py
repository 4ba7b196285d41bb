"""A batch of the event table's stream: sorted by run, each run brought up to it (one_run.py), and what is not done reported.

- One run's trouble is its own: the other runs of a batch are finished all the same, whatever it raises.
- States that were saved stay in memory: as the write is conditional, a stale one costs a second try and can do no harm. So a warm
  process reads nothing, and writes once per run and batch. What is kept is bounded in bytes.
- A commit is inflated, decoded and folded when its turn comes, not before.
- A run whose record of the stream is old may have been deleted meanwhile. Where its state is not in memory, its log is asked: the
  state item may be gone, or that of an earlier time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from behest_core.dynamodb import items
from behest_core.errors import RunDeletedError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import Folded, Start, fold_batch, start
from behest_core.model.cache import BoundedCache
from behest_core.model.commit import Commit
from behest_core.model.limits import stored_size
from behest_core.model.state import Attempt, Parked, UnknownFinishReason
from behest_core.projection.one_run import AWS_ERRORS, OneRun, Work, name_of
from behest_core.projection.trouble import Counts, Trouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.items import Record
    from behest_core.dynamodb.requests import Spread
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.model.state import RunState


_KEPT_BYTES: Final = 64 * 1024 * 1024
_STATE_BYTES: Final = 2_500
_SLICE_BYTES: Final = 500
_ATTEMPT_BYTES: Final = 750
_VALUE_FACTOR: Final = 12
"""How much more memory JSON values take than DynamoDB says: nine times was measured, for many small ones."""

_FRESH: Final = timedelta(minutes=10)
"""How old a stream record may be that needs no look for a tombstone: a run is not deleted so soon after it was begun."""


def memory_of(state: RunState) -> int:
    """Return the bytes that a state takes in memory, rather more than fewer."""
    finish = state.last_finish.unknown if isinstance(state.last_finish, UnknownFinishReason) else None
    attempts: list[Parked | Attempt] = []
    for parked in state.parks.values():
        attempts += [parked, *parked.earlier]
    texts = (state.run_id, state.session_id, state.provider, state.model, finish, state.last_error)
    told = (text for each in attempts for text in (each.error, each.message))
    noted = 0
    if state.annotations is not None:
        noted = stored_size([*state.annotations.tags]) + stored_size(state.annotations.metadata)
    return (
        _STATE_BYTES
        + _ATTEMPT_BYTES * len(attempts)
        + 4 * sum(len(text) for text in (*texts, *told) if text)
        + _VALUE_FACTOR * (stored_size(state.metadata) + noted)
        + sum(_SLICE_BYTES + len(bytes(piece.raw)) for piece in state.extensions.values())
    )


class Report(Counts):
    """What became of a batch.

    `first_unfinished` is the stream's sequence number of the lowest record that is not done, the one to return to Lambda; None
    where all are. `state_reads` counts runs, `expired` and `deleted` the records of items that TTL, or deleting a run, removed.
    """

    records: int = 0
    runs: int = 0
    expired: int = 0
    deleted: int = 0
    state_reads: int = 0
    first_unfinished: str | None = None


class RunBatch(Work):
    """A run's share of a batch. `is_old` says that a record of it is late, `is_kept` that its state was in memory."""

    is_old: bool = False
    is_kept: bool = False


class Removed(Struct):
    """What a batch tells of runs whose items went: by run, a sequence that was removed; and the runs that were deleted."""

    removed: dict[str, int] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)


class Projector:
    """Keeps the state table equal to the fold of the event table.

    `dispatch` says which extensions are folded beside the core. `spread` is `map`, or an executor's: with the latter, runs are
    worked on side by side. `kept_bytes` is what the states in memory may take. `now` gives the time that a parked run is stamped
    with.
    """

    def __init__(  # noqa: PLR0913 (what a process has)
        self,
        log: EventLog,
        states: StateTable,
        dispatch: Dispatch = CORE,
        *,
        spread: Spread = map,
        kept_bytes: int = _KEPT_BYTES,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._dispatch = dispatch
        self._log = log
        self._states = states
        self._one_run = OneRun(log, states, now=now)
        self._spread = spread
        self._now = now
        self._kept: BoundedCache[RunState] = BoundedCache(kept_bytes, memory_of)

    def project(self, records: Sequence[Record], remaining: Callable[[], float] = lambda: inf) -> Report:
        """Fold a batch of the event table's stream, as Lambda delivers it.

        `remaining` gives the seconds left. Whatever a single run's events do, nothing is raised; what isn't done is reported.
        """
        report = Report(records=len(records))
        work, gone = self._by_run(records, report)
        try:
            self._load(work, report)
            self._judge(gone, report)
        except AWS_ERRORS as error:
            work = work or [RunBatch(run_id=run_id) for run_id in (*gone.removed, *gone.deleted)]
            for each in work:
                each.first_record = 0
                each.give_up(name_of(error), "reading states")
        else:
            work = list(self._spread(lambda each: self._bring_up(each, remaining), work))
        for each in work:
            self._keep(each)
            report.runs += 1
            report += each
        unfinished = [each.first_record for each in work if not each.is_finished]
        if unfinished:
            report.first_unfinished = items.sequence_number_of(records[min(unfinished)])
        return report

    def _by_run(self, records: Sequence[Record], report: Report) -> tuple[list[RunBatch], Removed]:
        """Sort the batch's commits by run, and by sequence within. What is no new commit is counted and left."""
        runs: dict[str, RunBatch] = {}
        gone = Removed()
        old = (self._now() - _FRESH).timestamp()
        for place, record in enumerate(records):
            match items.change_of(record):
                case Commit() as commit:
                    work = runs.setdefault(commit.run_id, RunBatch(run_id=commit.run_id, first_record=place))
                    work.commits.append(commit)
                    written = items.written_at(record)
                    work.is_old |= written is not None and written < old
                case items.Change.EXPIRED:
                    report.expired += 1
                case items.Change.DELETED:
                    report.deleted += 1
                    gone.deleted.add(items.key_of(record)[0])
                case items.Change.REMOVED:
                    run_id, sequence = items.key_of(record)
                    gone.removed[run_id] = sequence
                case change:
                    run_id, sequence = items.key_of(record)
                    report.troubles.append(Trouble(TroubleKind.TAMPERED, run_id, sequence, change.value))
        for work in runs.values():
            work.commits.sort(key=lambda commit: commit.sequence)
        return list(runs.values()), gone

    def _load(self, work: Sequence[RunBatch], report: Report) -> None:
        """Give each run its state: the one in memory, where the commits follow on it, or the item."""
        for each in work:
            kept = self._kept.pop(each.run_id)
            # one that these commits don't follow on was most likely overtaken by another process: the item is read, not the log
            if kept is not None and (
                each.commits[0].sequence <= kept.sequence + 1 or start(kept, self._dispatch) is None
            ):
                each.state, each.is_kept = kept, True
        cold = [each for each in work if each.state is None]
        states = self._states.get_many([each.run_id for each in cold], repair=True)
        report.state_reads += len(cold)
        for each in cold:
            each.state = states.get(each.run_id)

    def _judge(self, gone: Removed, report: Report) -> None:
        """Tell deleted runs from tampering: of the former the log has a tombstone, and so has the state from now on."""
        states = (
            self._states.get_many([*gone.removed, *gone.deleted], repair=True) if gone.removed or gone.deleted else {}
        )
        buried = {run_id for run_id, state in states.items() if state.deleted_at is not None}
        for run_id in sorted(gone.deleted | gone.removed.keys()):
            sequence = gone.removed.get(run_id)
            try:
                is_deleted = run_id in buried or self._bury(run_id) or run_id in gone.deleted
            except AWS_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 (as for a run that is brought up: it is this run's alone)
                report.troubles.append(Trouble(TroubleKind.RAISED, run_id, sequence or 0, name_of(error)))
                continue
            if sequence is None:
                continue
            if is_deleted:
                report.deleted += 1
            else:
                report.troubles.append(Trouble(TroubleKind.TAMPERED, run_id, sequence, items.Change.REMOVED.value))

    def _bury(self, run_id: str) -> bool:
        """Bury a run whose log has a tombstone; return whether it has."""
        try:
            self._log.tail(run_id)
        except RunDeletedError as deleted:
            self._states.bury(run_id, deleted.deleted_at)
            return True
        return False

    def _bring_up(self, work: RunBatch, remaining: Callable[[], float]) -> RunBatch:
        def begin(state: RunState | None) -> Folded | Start | None:
            if work.is_old and not (work.is_kept and state is not None):
                return start(state, self._dispatch, work.commits[0])
            return fold_batch(state, work.commits, self._dispatch)

        try:
            self._one_run.bring_up(work, begin, remaining)
        except Exception as error:  # noqa: BLE001 (a bug, or an item that nobody thought of: it is this run's alone)
            work.tell(TroubleKind.RAISED, work.commits[0].sequence, name_of(error))
        return work

    def _keep(self, work: RunBatch) -> None:
        if work.state is not None and work.is_finished:
            self._kept.put(work.run_id, work.state)
