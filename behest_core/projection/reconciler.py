"""Finds the runs whose state lags their log, and folds them: what makes a state right that no stream record leads to.

A record of the stream can be lost: the stream keeps it for 24 hours, and a batch that failed too often is put aside. The log has
its events all the same. Two ways lead back to them:

- `recover`: the failure queue tells where in the stream a lost batch lay. As long as the stream has it, the runs in it are known.
- `sweep`: looks at every run whose first item was committed lately, at every run that isn't finished, however old, and at the
  parked ones. The first through an index of the event table by hour: a run of which the projector never saw anything is found
  by it, without a scan.

Where a run's record came after its events and was lost, the state's sequence is right and the state is not: it was folded without
a record, and the log has one. It is folded again. Where the log has a tombstone, the state gets one.

What is stuck (stuck.py) is counted, and where the operator wants that, given its end.

What lags is folded guarded: a run that kills the process that folds it is parked the third time (catch_up.py). Whatever one run
raises is reported, and the others are looked at all the same.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import ClientError
from msgspec import Struct, field

from behest_core.dynamodb import items
from behest_core.errors import MalformedError, MalformedRecordError, RunDeletedError
from behest_core.fold.divergence import may_have_expired
from behest_core.fold.rules import stays_parked
from behest_core.model.commit import identity
from behest_core.model.state import ACTIVE_STATUSES, RunState
from behest_core.model.timestamps import is_before
from behest_core.projection import stuck
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.one_run import AWS_ERRORS, name_of
from behest_core.projection.trouble import Trouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

    from behest_core.dynamodb.event_table import EventLog, Tail
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.projection.one_run import Work

_AT_ONCE: Final = 100
_RECORDS_AT_ONCE: Final = 1_000  # the most that GetRecords gives
_RESERVE_SECONDS: Final = 5.0
_GRACE: Final = timedelta(minutes=1)
"""How old a commit has to be before a state without it lags: younger ones are on their way."""

_GONE: Final = frozenset({"TrimmedDataAccessException", "ResourceNotFoundException", "ExpiredIteratorException"})


class LostBatch(NamedTuple):
    """Where in a stream a batch lay that Lambda gave up: `size` records from `first` to `last`, both included."""

    stream: str
    shard: str
    first: str
    last: str
    size: int = 1_000

    @classmethod
    def from_message(cls, body: str) -> LostBatch:
        """Read the message that Lambda sends to the failure queue. Raises MalformedError."""
        try:
            info = json.loads(body)["DDBStreamBatchInfo"]
            first, last = info["startSequenceNumber"], info["endSequenceNumber"]
            return cls(
                info["streamArn"], info["shardId"], first, last, int(info.get("batchSize", cls._field_defaults["size"]))
            )
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedError(f"not a message of a stream mapping's failure queue: {error!r}") from error


class SweepReport(Struct):
    """What a sweep found. Counts are runs.

    `checked` were compared with their logs, `lagging` were behind, `caught_up` aren't any more, `stuck` are active and show no
    sign of life, `expired` showed none for so long that they were given an end, `parked` are parked, or an extension of them.
    `is_complete` is False where time ran out.
    """

    checked: int = 0
    lagging: int = 0
    caught_up: int = 0
    stuck: int = 0
    expired: int = 0
    parked: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    is_complete: bool = True


class Silence(NamedTuple):
    """For how long runs may show no sign of life until they count as stuck, and until they are given an end, if ever."""

    stuck_after: timedelta
    expire_after: timedelta | None = None


class RecoverReport(Struct):
    """What became of a lost batch: the runs in it, and whether the stream had it still, and all are done."""

    runs: int = 0
    was_found: bool = True
    is_complete: bool = True
    troubles: list[Trouble] = field(default_factory=list)


class Reconciler:
    """Looks for runs that lag, and catches up with them."""

    def __init__(
        self,
        log: EventLog,
        states: StateTable,
        catch_up: CatchUp,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._states = states
        self._catch_up = catch_up
        self._now = now

    # ------------------------------------------------------------ the sweep

    def sweep(
        self, *, lookback: timedelta, silence: Silence, remaining: Callable[[], float] = lambda: inf
    ) -> SweepReport:
        """Check the runs begun within `lookback`, all that are active, and all that are parked; fold what lags.

        `silence` says which runs are stuck. `remaining` gives the seconds left.
        """
        report = SweepReport()
        now = self._now()
        seen: set[str] = set()
        for run_id, state in self._candidates(now - lookback, now, report):
            if remaining() < _RESERVE_SECONDS:
                report.is_complete = False
                break
            if run_id in seen:
                continue
            seen.add(run_id)
            try:
                self._check(run_id, state, now, silence, report, remaining)
            except AWS_ERRORS as error:
                report.is_complete = False
                report.troubles.append(Trouble(TroubleKind.UNFINISHED, run_id, 0, name_of(error), "checking it"))
            except Exception as error:  # noqa: BLE001 (a bug, or an item that nobody thought of: it is this run's alone)
                report.troubles.append(_raised(run_id, error))
        return report

    def _candidates(self, since: datetime, now: datetime, report: SweepReport) -> Iterator[tuple[str, RunState | None]]:
        """Return the runs to look at: of each kind one in turn, so that many of one kind keep no other waiting."""
        known = [self._states.find_parked(repair=True)]
        known += [self._states.find(status=each, repair=True) for each in ACTIVE_STATUSES]
        kinds = [self._begun(since, now), *(((state.run_id, state) for state in states) for states in known)]
        while kinds:
            for kind in list(kinds):
                try:
                    found = next(kind, None)
                except AWS_ERRORS as error:
                    report.is_complete = False
                    report.troubles.append(Trouble(TroubleKind.UNFINISHED, "", 0, name_of(error), "listing runs"))
                    found = None
                if found is None:
                    kinds.remove(kind)
                else:
                    yield found

    def _begun(self, since: datetime, now: datetime) -> Iterator[tuple[str, RunState | None]]:
        started = self._log.started(since, now)
        while run_ids := list(islice(started, _AT_ONCE)):
            states = self._states.get_many(run_ids, repair=True)
            yield from ((run_id, states.get(run_id)) for run_id in run_ids)

    def _check(  # noqa: PLR0913, PLR0917
        self,
        run_id: str,
        state: RunState | None,
        now: datetime,
        silence: Silence,
        report: SweepReport,
        remaining: Callable[[], float],
    ) -> None:
        report.checked += 1
        report.parked += bool(state is not None and state.parks)
        if state is not None and state.parked is not None:
            if stays_parked(state):
                self._tail(run_id, state, report)
                return
        elif not self._lags(run_id, state, now, report):
            if state is not None:
                self._look_for_life(state, now, silence, report)
            return
        report.lagging += 1
        work = self._fold(run_id, state, remaining)
        report.troubles += work.troubles
        report.caught_up += work.is_finished and all(each.kind is not TroubleKind.GAP for each in work.troubles)
        report.is_complete &= work.is_finished

    def _look_for_life(self, state: RunState, now: datetime, silence: Silence, report: SweepReport) -> None:
        last = stuck.last_sign(self._log, state, now - silence.stuck_after)
        if last is None:
            return
        report.stuck += 1
        if silence.expire_after is not None and is_before(last.committed_at, now - silence.expire_after):
            report.expired += stuck.expire(self._log, last, now)

    def _fold(self, run_id: str, state: RunState | None, remaining: Callable[[], float]) -> Work:
        how = Fold.AGAIN if self._lacks_its_record(run_id, state) else Fold.NEW
        return self._catch_up.fold(run_id, how, guarded=True, remaining=remaining)

    def _lacks_its_record(self, run_id: str, state: RunState | None) -> bool:
        if (
            state is None
            or state.has_record
            or state.is_blank
            or state.deleted_at is not None
            or state.parked is not None
        ):
            return False
        try:
            return self._log.record(run_id) is not None
        except (MalformedRecordError, RunDeletedError):
            return False

    def _lags(self, run_id: str, state: RunState | None, now: datetime, report: SweepReport) -> bool:
        if state is not None and state.deleted_at is not None:
            return False
        tail = self._tail(run_id, state, report)
        if tail is None:
            return False
        if state is None or state.is_blank or state.sequence < tail.last:
            return not tail.committed_at or is_before(tail.committed_at, now - _GRACE)
        if state.sequence > tail.last and tail.committed_at and not may_have_expired(tail.expires_at, now):
            report.troubles.append(Trouble(TroubleKind.AHEAD, run_id, state.sequence, "StateAhead"))
            return True
        return (tail.last > 0 and _is_another(tail, state)) or self._lacks_its_record(run_id, state)

    def _tail(self, run_id: str, state: RunState | None, report: SweepReport) -> Tail | None:
        """Return where the log ends. Where it has a tombstone, bury the state, and return None."""
        try:
            return self._log.tail(run_id)
        except RunDeletedError as deleted:
            if state is not None:
                report.lagging += 1
                self._states.bury(run_id, deleted.deleted_at)
                report.caught_up += 1
            return None

    # ------------------------------------------------------------ lost batches

    def recover(
        self, batch: LostBatch, streams: DynamoDBStreamsClient, *, remaining: Callable[[], float] = lambda: inf
    ) -> RecoverReport:
        """Fold the runs of a lost batch, as long as the stream still has it; the sweep finds the others."""
        report = RecoverReport()
        try:
            run_ids = set(_runs_in(batch, streams))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            report.was_found = False
            return report
        states = self._states.get_many(run_ids, repair=True)
        for run_id in sorted(run_ids):
            report.runs += 1
            try:
                work = self._fold(run_id, states.get(run_id), remaining)
            except AWS_ERRORS as error:
                report.is_complete = False
                report.troubles.append(Trouble(TroubleKind.UNFINISHED, run_id, 0, name_of(error), "recovering it"))
            except Exception as error:  # noqa: BLE001 (as in a sweep, which also finds the run again)
                report.troubles.append(_raised(run_id, error))
            else:
                report.troubles += work.troubles
                report.is_complete &= work.is_finished
        return report


def _raised(run_id: str, error: Exception) -> Trouble:
    return Trouble(TroubleKind.RAISED, run_id, 0, name_of(error))


def _is_another(tail: Tail, state: RunState) -> bool:
    """Return whether a log ends with another commit than the state that covers it."""
    return state.commit_id is not None and identity(tail.commit_id) != state.commit_id


def _runs_in(batch: LostBatch, streams: DynamoDBStreamsClient) -> Iterable[str]:
    """Read the run ids of the records from the batch's first to its last."""
    iterator: str | None = streams.get_shard_iterator(
        StreamArn=batch.stream,
        ShardId=batch.shard,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=batch.first,
    )["ShardIterator"]
    while iterator is not None:
        page = streams.get_records(ShardIterator=iterator, Limit=min(max(batch.size, 1), _RECORDS_AT_ONCE))
        for record in page["Records"]:
            if int(items.sequence_number_of(record)) > int(batch.last):
                return
            yield items.key_of(record)[0]
            if items.sequence_number_of(record) == batch.last:
                return
        iterator = page.get("NextShardIterator")
