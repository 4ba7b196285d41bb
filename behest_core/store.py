"""RunStore: the one object most users hold. The logs of all runs and their states, in two DynamoDB tables."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.errors import ConfigurationError, RunDeletedError, RunNotFoundError, RunParkedError, WaitTimeoutError
from behest_core.model.timestamps import from_datetime
from behest_core.recording.recorder import RunRecorder, new_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta

    from mypy_boto3_dynamodb import DynamoDBClient

    from behest_core.dynamodb.event_table import RecordedEvent
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.record import RunRecord
    from behest_core.model.state import RunState, RunStatus
    from behest_core.recording.recorder import Redact
    from behest_core.recording.writer import OnError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class RunStore:
    """Runs, their events and their states. Can be shared between threads.

    `event_table` and `state_table` are the tables' names (the stack's outputs `EventTableName` and `StateTableName`), `client`
    a boto3 DynamoDB client; without one, boto3's default session makes it. `expire_after` lets DynamoDB delete each commit
    that long after it was appended: choose it longer than any run lasts. `event_log` and `state_table` are there for
    what this object doesn't offer.
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

            client = boto3.client("dynamodb")
        self._client = client
        self.event_log = EventLog(client, event_table, expire_after=expire_after)
        self.state_table = StateTable(client, state_table)

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
        interval: float = 0.5,
        give_up_after: float = 60.0,
        on_error: OnError = "raise",
        cut_at: int | None = None,
        redact: Redact | None = None,
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
        )

    def append(self, run_id: str, events: Iterable[NewEvent], *, expected_sequence: int | None = None) -> int:
        """Append events to a run's log, atomically where they fit one item (400 KB); return the last sequence.

        An event is an instance of an event class, or its JSON object (``{"type": …, "timestamp": …}``). With
        `expected_sequence` they are appended only if the log ends there. Raises SequenceConflictError, InvalidValueError,
        EventTooLargeError, InvalidRunIdError.
        """
        return self.event_log.append(run_id, events, expected_sequence)

    def delete_run(self, run_id: str) -> None:
        """Delete a run for good: its log and its state. A tombstone stays in both tables, so that nothing brings it back.

        The run's id can't be used again. Safe beside live traffic, and to be repeated: what was cut short is finished. What a
        writer appends afterwards lies in the log unfolded, until the run is deleted once more. Raises RunNotFoundError.
        """
        if self.state_table.get_many([run_id], repair=True).get(run_id) is None and not self._has_log(run_id):
            raise RunNotFoundError(run_id)
        deleted_at = from_datetime(datetime.now(UTC))
        self.state_table.bury(run_id, deleted_at)
        self.event_log.delete(run_id, deleted_at)

    def _has_log(self, run_id: str) -> bool:
        return next(self.event_log.commits(run_id), None) is not None

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

    def get_states(self, run_ids: Iterable[str]) -> dict[str, RunState]:
        """Return the states of many runs by run id, 100 in one request; runs without a state are left out."""
        found = self.state_table.get_many(run_ids)
        return {run_id: state for run_id, state in found.items() if not (state.is_blank or state.deleted_at)}

    def events(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Read the run's events behind the sequence `after`, in order, page by page, at most `limit`.

        The read is consistent: it holds every event whose append has returned.
        """
        return self.event_log.events(run_id, after, limit)

    def states(
        self,
        *,
        session_id: str | None = None,
        status: RunStatus | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = None,
    ) -> Iterator[RunState]:
        """Find runs by session, by status, by both, or all of them; newest first, page by page, at most `limit`.

        `since` and `until` bound when a run was created, both included. A run that was created or changed status within the
        last moments may not be found yet: the indexes follow the table, usually within a second.
        """
        return self.state_table.find(session_id=session_id, status=status, since=since, until=until, limit=limit)

    def parked_states(self, *, limit: int | None = None) -> Iterator[RunState]:
        """Find the runs whose fold is parked, the latest first, page by page; `parked` says why."""
        return self.state_table.find_parked(limit=limit)

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
        deadline = clock() + timeout
        pause = _FIRST_PAUSE
        while True:
            state = self.state_table.get(run_id)
            if state is not None and not state.is_blank and state.sequence >= sequence and state.deleted_at is None:
                return state
            if state is not None and state.deleted_at is not None:
                raise RunDeletedError(run_id, state.deleted_at)
            reached = state.sequence if state is not None else 0
            if state is not None and state.parked is not None:
                raise RunParkedError(run_id, sequence, state.parked.sequence, state.parked.error)
            left = deadline - clock()
            if left <= 0:
                raise WaitTimeoutError(run_id, sequence, reached, timeout)
            sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def check_health(self) -> None:
        """Return if both tables can be reached and are active; raise botocore's error, or ConfigurationError, otherwise."""
        for table in (self.event_log.table, self.state_table.table):
            status = self._client.describe_table(TableName=table)["Table"].get("TableStatus")
            if status not in {"ACTIVE", "UPDATING"}:
                raise ConfigurationError(f"table {table} is {status}, not ACTIVE; wait until it is")
