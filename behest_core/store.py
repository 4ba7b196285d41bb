"""RunStore: the one object most users hold. The logs of all runs and their states, in two DynamoDB tables."""

from __future__ import annotations

import heapq
import time
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Self, overload

from behest_core.dynamodb import connection
from behest_core.dynamodb.client import make_client
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.listing import Listing
from behest_core.dynamodb.requests import side_by_side
from behest_core.dynamodb.state_table import StateTable, warn
from behest_core.dynamodb.subscription import Subscription
from behest_core.errors import (
    ConfigurationError,
    RunDeletedError,
    RunNotFoundError,
    RunParkedError,
    WaitTimeoutError,
)
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.history import state_at_sequence, state_at_time
from behest_core.model.limits import check_run_id
from behest_core.model.state import ACTIVE_STATUSES, status_of
from behest_core.model.summary import summarize
from behest_core.model.timestamps import as_text, from_datetime, to_datetime
from behest_core.projection.stuck import last_sign
from behest_core.recording.annotation import annotation
from behest_core.recording.decisions import decide
from behest_core.recording.recorder import RunRecorder, new_record
from behest_core.search import LOOK_AT, Where, search
from behest_core.transcript.reading import TranscriptReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import timedelta

    from mypy_boto3_dynamodb import DynamoDBClient

    from behest_core.dynamodb.connection import Connection
    from behest_core.dynamodb.state_table import Unreadable
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.packing import RecordedEvent
    from behest_core.model.record import RunRecord
    from behest_core.model.state import RunState, RunStatus
    from behest_core.model.summary import Summary
    from behest_core.recording.outbox import OnError
    from behest_core.recording.recorder import Redact
    from behest_core.search import Found
    from behest_core.transcript.entries import Transcript
    from behest_core.transcript.reading import Price

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class RunStore:
    """Runs, their events and their states. Can be shared between threads.

    `event_table` and `state_table` are the tables' names (the stack's outputs `EventTableName` and `StateTableName`), `client`
    a boto3 DynamoDB client; without one, boto3's default session makes it. `from_stack` and `from_env` find all three.
    `expire_after` lets DynamoDB delete each commit that long after it was appended: choose it longer than any run lasts.
    `event_log` and `state_table` are there for what this object doesn't offer.
    """

    def __init__(
        self,
        event_table: str,
        state_table: str,
        *,
        client: DynamoDBClient | None = None,
        expire_after: timedelta | None = None,
    ) -> None:
        if client is None:
            import boto3  # noqa: PLC0415 (a third of a second that a caller with a client of his own is spared)

            client = make_client(boto3.client)
        self._client = client
        self.event_log = EventLog(client, event_table, expire_after=expire_after)
        self.state_table = StateTable(client, state_table, spread=side_by_side)

    @classmethod
    def from_stack(cls, stack: str, *, expire_after: timedelta | None = None) -> Self:
        """Return the store of a CloudFormation stack, by the stack's name.

        Region and credentials are boto3's business; AWS_REGION counts as well. Raises ConfigurationError, which says what to
        set, where the stack, the region or the credentials are missing, or the stack isn't behest's.
        """
        return cls._connected(connection.connect(stack), expire_after)

    @classmethod
    def from_env(cls, *, expire_after: timedelta | None = None) -> Self:
        """Return the store of the tables that BEHEST_EVENT_TABLE and BEHEST_STATE_TABLE name.

        Makes no request. Raises ConfigurationError where one of them, or the region, is not set.
        """
        return cls._connected(connection.connect(), expire_after)

    @classmethod
    def _connected(cls, found: Connection, expire_after: timedelta | None) -> Self:
        return cls(found.event_table, found.state_table, client=found.client, expire_after=expire_after)

    def __repr__(self) -> str:
        return f"RunStore({self.event_log.table!r}, {self.state_table.table!r})"

    # ------------------------------------------------------------ writing

    def create_run(  # noqa: PLR0913 (a run record has as many fields)
        self,
        *,
        provider: str,
        model: str,
        session_id: str | None = None,
        metadata: JSON = None,
        client_request_id: str | None = None,
        run_id: str | None = None,
        created_at: datetime | str | None = None,
    ) -> RunRecord:
        """Create a run and return its record.

        With a `client_request_id` this is idempotent: the run id is derived from it, and a second call returns the first
        run. Without a `session_id` the run gets a session of its own. `created_at` is now by default; text is RFC 3339, a
        `datetime` has a time zone.

        Raises InvalidValueError, naming the path, for metadata that can't be stored; InvalidRunIdError; StateTooLargeError;
        RunExistsError where the run id is taken by another run.
        """
        return self.event_log.create(
            new_record(
                provider=provider,
                model=model,
                session_id=session_id,
                metadata=metadata,
                client_request_id=client_request_id,
                run_id=run_id,
                created_at=created_at,
            )
        )

    def recorder(  # noqa: PLR0913 (what a run record has, and how to record)
        self,
        *,
        provider: str,
        model: str,
        session_id: str | None = None,
        metadata: JSON = None,
        client_request_id: str | None = None,
        run_id: str | None = None,
        interval: float = 1.0,
        give_up_after: float = 60.0,
        on_error: OnError = "raise",
        cut_at: int | None = None,
        redact: Redact | None = None,
        content: bool | None = None,
        exit_wait: float = 5.0,
        heartbeat: float | None = None,
    ) -> RunRecorder:
        """Return a recorder, for ``with``: entering it creates the run and records RunStarted, leaving it how the run ended.

        See `create_run` for what the run is, `RunRecorder` for how it is recorded.
        """
        record = new_record(
            provider=provider,
            model=model,
            session_id=session_id,
            metadata=metadata,
            client_request_id=client_request_id,
            run_id=run_id,
        )
        return RunRecorder(
            self.event_log,
            record,
            interval=interval,
            give_up_after=give_up_after,
            on_error=on_error,
            cut_at=cut_at,
            redact=redact,
            content=content,
            exit_wait=exit_wait,
            heartbeat=heartbeat,
            wait_for=self.wait,
        )

    def append(
        self,
        run_id: str,
        events: Iterable[NewEvent],
        *,
        expected_sequence: int | None = None,
        create: bool = False,
        allow_unknown: bool = False,
    ) -> int:
        """Append events to a run's log, atomically where they fit one item (400 KB); return the last sequence.

        An event is an instance of an event class, or its JSON object (``{"type": …, "timestamp": …}``). With
        `expected_sequence` they are appended only if the log ends there. The run has to be there; with `create` it need not,
        and then begins without a record. A type that is neither behest's nor dotted is refused, unless `allow_unknown`.

        Raises RunNotFoundError, RunDeletedError, SequenceConflictError, InvalidValueError, EventTooLargeError,
        InvalidRunIdError.
        """
        return self.event_log.append(run_id, events, expected_sequence, create=create, allow_unknown=allow_unknown)

    def decide(self, run_id: str, call_id: str, *, granted: bool, by: str, reason: str | None = None) -> int:
        """Record a person's answer to what a run waits for, one of the ids in its `agent.Paused`; return its sequence.

        `by` is who answered, 1 to 255 characters; `reason`, at most 2,000, is why. Of two who answer the same, the second gets
        DecidedError, which says what the first said. The agent hears of it by the hook `behest_decided`, in the notifier.
        Raises NotWaitingError where the run doesn't wait for that, RunNotFoundError, RunDeletedError, InvalidValueError.
        """
        return decide(self.event_log, run_id, call_id, granted=granted, by=by, reason=reason)

    def annotate(self, run_id: str, *, tags: Iterable[str] = (), metadata: Mapping[str, JSON] | None = None) -> int:
        """Note something of a run, while it goes on or afterwards, as an event; return its sequence.

        `tags` are added to those it has. `metadata` is set by key, in the state's `annotations`: the run record never changes;
        None takes a key away. A run has room for 4 KB of annotations; an event that would make them more is in the log, and
        left out of the state. Raises InvalidValueError for what can't be stored or has more by itself, RunNotFoundError,
        RunDeletedError.
        """
        return self.event_log.append(run_id, [annotation(tags, metadata)], create=False)

    def delete_run(self, run_id: str) -> None:
        """Delete a run for good: its log and its state. Tombstones stay in both tables, so that nothing brings it back.

        The run's id can't be used again. Safe beside live traffic, and to be repeated: what was cut short is finished. What a
        writer appends afterwards lies in the log unfolded, until the run is deleted once more. Raises RunNotFoundError.
        """
        has_state = self.state_table.get_many([run_id], repair=True).get(run_id) is not None
        if not has_state and not self.event_log.holds_anything(run_id):
            raise RunNotFoundError(run_id)
        deleted_at = from_datetime(datetime.now(UTC))
        self.state_table.bury(run_id, deleted_at)
        self.event_log.delete(run_id, deleted_at)

    # ------------------------------------------------------------ reading

    def get_record(self, run_id: str) -> RunRecord:
        """Return the run's record. Raises RunNotFoundError, and MalformedRecordError."""
        record = self.event_log.record(run_id)
        if record is None:
            raise RunNotFoundError(run_id)
        return record

    def get_state(self, run_id: str) -> RunState:
        """Return the run's state, read consistently. Raises RunNotFoundError where there is none (yet), MalformedStateError."""
        state = self.state_table.get(run_id)
        if state is None or state.is_blank:
            raise RunNotFoundError(run_id)
        if state.deleted_at is not None:
            raise RunDeletedError(run_id, state.deleted_at)
        return state

    def get_states(self, run_ids: Iterable[str], *, unreadable: Unreadable = warn) -> dict[str, RunState]:
        """Return the states of many runs by run id, 100 in one request; runs without a state are left out.

        So are those whose state item can't be read: `unreadable` is called with the error, which is logged otherwise.
        """
        found = self.state_table.get_many(run_ids, unreadable=unreadable)
        return {run_id: state for run_id, state in found.items() if not state.is_blank and state.deleted_at is None}

    @overload
    def state_at(self, run_id: str, *, sequence: int, dispatch: Dispatch = CORE) -> RunState: ...

    @overload
    def state_at(self, run_id: str, *, time: datetime | str, dispatch: Dispatch = CORE) -> RunState: ...

    def state_at(
        self,
        run_id: str,
        *,
        sequence: int | None = None,
        time: datetime | str | None = None,
        dispatch: Dispatch = CORE,
    ) -> RunState:
        """Return the state as it was, folded from the run's log: at a sequence, 0 being the run record alone, or at a time.

        At a time is up to the first event that is later; text is RFC 3339, a `datetime` has a time zone. Where an event before
        that can't be folded, the state is the one that is parked there. `dispatch` says which plugins' extensions are folded
        with it: none by default.

        Raises StateNotFoundError where the log ends before the sequence or the run began after the time, IncompleteLogError
        where the log's beginning has expired, RunNotFoundError, RunDeletedError, InvalidValueError.
        """
        log = self.event_log.whole_commits(check_run_id(run_id), up_to=sequence)
        try:
            if sequence is not None and time is None:
                return state_at_sequence(run_id, log, sequence, dispatch)
            if time is not None and sequence is None:
                return state_at_time(run_id, log, as_text(time), dispatch)
            raise TypeError("state_at takes a sequence or a time, and not both")
        except RunNotFoundError:
            self.event_log.head(run_id)  # raises RunDeletedError where that is why
            raise

    def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Listing[RecordedEvent]:
        """Read the run's events behind the sequence `after`, in order, page by page, at most `limit`.

        The read is consistent: it holds every event whose append has returned.
        """
        return Listing(lambda: self.event_log.events(run_id, after, limit), f"events of run {run_id}")

    def subscribe(
        self, run_id: str, *, after: int = 0, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[RecordedEvent]:
        """Return the run's events behind the sequence `after`, then those that come, each once and in order; until the run ends.

        It ends where the log does and the run's status is a terminal one. A run that isn't there yet is waited for. A look costs
        one small Query; the pauses between looks grow from 0.1 s to 2 s while nothing comes. Go on with the last `sequence` seen
        as `after`, in any process. Raises RunDeletedError, and MalformedEventError at a commit that can't be cut into events.
        """
        subscription = Subscription(self.event_log, self.state_table, run_id, after)
        return _followed(subscription, sleep)

    def transcript(self, run_id: str, *, price: Price | None = None) -> Transcript:
        """Return a run as a conversation, read from its log: who said what, which tools were used, and what they gave.

        `price` says what a model call cost, such as `load(["cost"]).price` of `behest_core.plugins.loading`. Raises
        RunNotFoundError, RunDeletedError, IncompleteLogError where the log's beginning has expired, MalformedEventError.
        """
        record, events = self.event_log.whole(check_run_id(run_id))
        reader = TranscriptReader(run_id, record, price)
        is_empty = record is None
        for each in events:
            reader.add(each.event, each.sequence)
            is_empty = False
        if is_empty:
            self.event_log.head(run_id)  # raises RunDeletedError where that is why
            raise RunNotFoundError(run_id)
        return reader.transcript

    def states(  # noqa: PLR0913 (the ways to narrow it down)
        self,
        *,
        session_id: str | None = None,
        status: RunStatus | str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = None,
        unreadable: Unreadable = warn,
    ) -> Listing[RunState]:
        """Find runs by session, by status, by both, or all of them; newest first, page by page, at most `limit`.

        A status may be its name, in capitals or not: ``"failed"``. Raises InvalidValueError where there is none of that name.
        `since` and `until` bound when a run was created, both included. A run that was created or changed status within the
        last moments may not be found yet: the indexes follow the table, usually within a second. Where a state item can't be
        read, `unreadable` is called with the error, which is logged otherwise, and the list goes on.
        """
        find = partial(
            self.state_table.find,
            session_id=session_id,
            status=None if status is None else status_of(status),
            since=None if since is None else as_text(since),
            until=None if until is None else as_text(until),
            limit=limit,
            unreadable=unreadable,
        )
        return Listing(find, "states of runs")

    def search(
        self,
        where: Where | None = None,
        *,
        summary: Callable[[RunState], Summary] = summarize,
        limit: int = 50,
        page_token: str | None = None,
        look_at: int = LOOK_AT,
    ) -> Found:
        """Find a page of runs by what is asked for; newest first, always by an index, never by a scan. See search.py.

        `summary` sums up a state: with `load(["cost"]).summary` of `behest_core.plugins.loading` it has what plugins add, such as
        `nano_usd`. At most `look_at` runs are looked at, 100 in a request; the page's token goes on behind them. Raises
        InvalidValueError.
        """
        return search(self.state_table, summary, where or Where(), limit=limit, page_token=page_token, look_at=look_at)

    def parked_states(self, *, limit: int | None = None, unreadable: Unreadable = warn) -> Listing[RunState]:
        """Find the runs whose fold is parked, the latest first, page by page; `parked` says why. `unreadable` as for `states`."""
        return Listing(
            partial(self.state_table.find_parked, limit=limit, unreadable=unreadable), "states of parked runs"
        )

    def waiting_states(self, *, limit: int | None = None, unreadable: Unreadable = warn) -> Listing[RunState]:
        """Find the runs that wait for a person, the one that has waited longest first, page by page; `waiting` says for what.

        `unreadable` as for `states`.
        """
        return Listing(
            partial(self.state_table.find_waiting, limit=limit, unreadable=unreadable), "states of runs that wait"
        )

    def stuck_states(
        self, silent_since: datetime | str, *, limit: int | None = None, unreadable: Unreadable = warn
    ) -> Listing[RunState]:
        """Find the runs that are active and have shown no sign of life since a time; newest first, at most `limit`.

        Those that wait for somebody are not among them: stuck.py has the rule. Costs a read of the log for each run that is
        silent. `unreadable` as for `states`.
        """
        before = to_datetime(as_text(silent_since))
        return Listing(partial(self._stuck, before, limit, unreadable), "states of runs that are stuck")

    def _stuck(self, before: datetime, limit: int | None, unreadable: Unreadable) -> Iterator[RunState]:
        active = [self.states(status=status, unreadable=unreadable) for status in ACTIVE_STATUSES]
        newest_first = heapq.merge(*active, key=lambda state: state.created_at or "", reverse=True)
        stuck = (state for state in newest_first if last_sign(self.event_log, state, before) is not None)
        return islice(stuck, limit)

    def wait(
        self,
        run_id: str,
        sequence: int,
        *,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> RunState:
        """Wait until the run's state covers the sequence that an append returned, and return it: read your own writes.

        `timeout` is in seconds. Raises WaitTimeoutError, and RunParkedError where the run is parked before that sequence.
        """
        for step in self.looks(run_id, sequence, timeout, clock):
            if not isinstance(step, float):
                return step
            sleep(step)
        raise AssertionError("looks end with the state, or raise")

    def looks(
        self, run_id: str, sequence: int, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[float | RunState]:
        """Return how long to sleep before each next look at the state, then the state: what `wait` does, without the sleeping."""
        deadline = clock() + timeout
        pause = _FIRST_PAUSE
        while True:
            state = self.state_table.get(run_id)
            if state is not None and not state.is_blank and state.sequence >= sequence and state.deleted_at is None:
                yield state
                return
            if state is not None and state.deleted_at is not None:
                raise RunDeletedError(run_id, state.deleted_at)
            reached = state.sequence if state is not None else 0
            if state is not None and state.parked is not None:
                raise RunParkedError(run_id, sequence, state.parked.sequence, state.parked.error)
            left = deadline - clock()
            if left <= 0:
                raise WaitTimeoutError(run_id, sequence, reached, timeout)
            yield min(pause, left)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def check_health(self) -> None:
        """Raise botocore's error, or ConfigurationError, unless both tables can be reached and are active."""
        for table in (self.event_log.table, self.state_table.table):
            status = self._client.describe_table(TableName=table)["Table"].get("TableStatus")
            if status not in {"ACTIVE", "UPDATING"}:
                raise ConfigurationError(f"table {table} is {status}, not ACTIVE; wait until it is")


def _followed(subscription: Subscription, sleep: Callable[[float], None]) -> Iterator[RecordedEvent]:
    while True:
        yield from subscription.look()
        if subscription.is_over:
            return
        sleep(subscription.pause)
