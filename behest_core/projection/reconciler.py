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

Runs are looked at side by side, those that were begun last first: they are what people look at, should time run out. What lags is
folded guarded, one after the other: a run that kills the process that folds it is parked the third time (catch_up.py), and no
other is taken for it. Whatever one run raises is reported, and the others are looked at all the same.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from msgspec import Struct, field

from behest_core.errors import MalformedRecordError, RunDeletedError
from behest_core.fold.divergence import may_have_expired
from behest_core.fold.rules import stays_parked
from behest_core.model.commit import identity
from behest_core.model.state import ACTIVE_STATUSES, RunState
from behest_core.model.timestamps import is_before
from behest_core.projection import stuck
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.lost_batch import RecoverReport, runs_in
from behest_core.projection.one_run import AWS_ERRORS, name_of
from behest_core.projection.trouble import Trouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

    from behest_core.dynamodb.event_table import EventLog, Tail
    from behest_core.dynamodb.requests import Spread
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.projection.lost_batch import LostBatch
    from behest_core.projection.one_run import Work

_AT_ONCE: Final = 100
_SIDE_BY_SIDE: Final = 32
_RESERVE_SECONDS: Final = 5.0
_GRACE: Final = timedelta(minutes=1)
"""How old a commit has to be before a state without it lags: younger ones are on their way."""


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

    def __iadd__(self, other: SweepReport) -> Self:
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.troubles += other.troubles
        self.is_complete &= other.is_complete
        return self


_COUNTS: Final = ("checked", "lagging", "caught_up", "stuck", "expired", "parked")


class Silence(NamedTuple):
    """For how long runs may show no sign of life until they count as stuck, and until they are given an end, if ever."""

    stuck_after: timedelta
    expire_after: timedelta | None = None


class _Look(Struct):
    """What a look at a run told: whether it lags, and what is to be counted."""

    run_id: str
    state: RunState | None
    lags: bool = False
    report: SweepReport = field(default_factory=SweepReport)


class Reconciler:
    """Looks for runs that lag, and catches up with them.

    `spread` is `map`, or an executor's: with the latter, runs are looked at side by side.
    """

    def __init__(
        self,
        log: EventLog,
        states: StateTable,
        catch_up: CatchUp,
        *,
        spread: Spread = map,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._states = states
        self._catch_up = catch_up
        self._spread = spread
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
        candidates = self._candidates(now - lookback, now, report)
        while lot := list(islice(candidates, _SIDE_BY_SIDE)):
            if remaining() < _RESERVE_SECONDS:
                report.is_complete = False
                break
            for look in self._spread(lambda each: self._look(*each, now, silence), lot):
                report += look.report
                if look.lags:
                    report += self._catch_up_with(look, remaining)
        return report

    def _candidates(self, since: datetime, now: datetime, report: SweepReport) -> Iterator[tuple[str, RunState | None]]:
        """Return the runs to look at, each once: of each kind one in turn, so that many of one kind keep no other waiting."""
        seen: set[str] = set()
        known = [self._states.find_parked(repair=True)]
        known += [self._states.find(status=each, repair=True) for each in ACTIVE_STATUSES]
        kinds = [
            self._begun(since, now, seen),
            *(((each.run_id, each) for each in states if _is_new(each.run_id, seen)) for states in known),
        ]
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

    def _begun(self, since: datetime, now: datetime, seen: set[str]) -> Iterator[tuple[str, RunState | None]]:
        # most runs are twice in that index: by their record, and by their first events
        started = (run_id for run_id in self._log.started(since, now) if _is_new(run_id, seen))
        while run_ids := list(islice(started, _AT_ONCE)):
            try:
                states = self._states.get_many(run_ids, repair=True)
            except AWS_ERRORS:
                seen.difference_update(run_ids)
                raise
            yield from ((run_id, states.get(run_id)) for run_id in run_ids)

    def _look(self, run_id: str, state: RunState | None, now: datetime, silence: Silence) -> _Look:
        look = _Look(run_id, state)
        try:
            self._compare(look, now, silence)
        except Exception as error:  # noqa: BLE001 (a bug, or an item that nobody thought of: it is this run's alone)
            _note(run_id, error, "checking it", look.report)
        return look

    def _compare(self, look: _Look, now: datetime, silence: Silence) -> None:
        """Say of a run whether it lags, and count what else it is."""
        state, report = look.state, look.report
        report.checked += 1
        report.parked += bool(state is not None and state.parks)
        if state is not None and state.parked is not None:
            look.lags = not stays_parked(state)
            if not look.lags:
                self._tail(look.run_id, state, report)
            return
        look.lags = self._lags(look.run_id, state, now, report)
        if not look.lags and state is not None:
            self._look_for_life(state, now, silence, report)

    def _catch_up_with(self, look: _Look, remaining: Callable[[], float]) -> SweepReport:
        report = SweepReport(lagging=1)
        try:
            work = self._fold(look.run_id, look.state, remaining)
        except Exception as error:  # noqa: BLE001 (as above)
            _note(look.run_id, error, "folding it", report)
        else:
            report.troubles += work.troubles
            report.caught_up += work.is_finished and all(each.kind is not TroubleKind.GAP for each in work.troubles)
            report.is_complete &= work.is_finished
        return report

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
        run_ids = runs_in(batch, streams)
        if run_ids is None:
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


def _is_new(run_id: str, seen: set[str]) -> bool:
    is_new = run_id not in seen
    seen.add(run_id)
    return is_new


def _note(run_id: str, error: Exception, doing: str, report: SweepReport) -> None:
    """Report what went wrong with a run. AWS's errors pass: the run is looked at again by the next sweep."""
    if isinstance(error, AWS_ERRORS):
        report.is_complete = False
        report.troubles.append(Trouble(TroubleKind.UNFINISHED, run_id, 0, name_of(error), doing))
    else:
        report.troubles.append(_raised(run_id, error))


def _raised(run_id: str, error: Exception) -> Trouble:
    return Trouble(TroubleKind.RAISED, run_id, 0, name_of(error))


def _is_another(tail: Tail, state: RunState) -> bool:
    """Return whether a log ends with another commit than the state that covers it."""
    return state.commit_id is not None and identity(tail.commit_id) != state.commit_id
