"""The event table: appending commits to a run's log, and reading it.

Appending is one conditional PutItem at the next sequence, and safe because of three things:

- Every writer writes at head + 1, where head was read consistently, or is what its own last append returned. Once a head, always
  the end of a commit: so commits never overlap, and the condition on one item is enough.
- The condition fails for whoever comes second, who then reads the head again.
- A write whose answer was lost is repeated by the SDK and then fails its own condition. The item that the failure returns has our
  `commit_id`, so it succeeded.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID, uuid4, uuid5

import msgspec
from botocore.exceptions import ClientError
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.dynamodb.requests import item_of_failed_condition, pages
from behest_core.errors import (
    EventTooLargeError,
    MalformedEventError,
    RunDeletedError,
    RunExistsError,
    SequenceConflictError,
)
from behest_core.model.commit import Commit
from behest_core.model.decoding import DECODE_ERRORS, core_decoder, encode_event, split
from behest_core.model.limits import EVENT_BYTES, check_run_id
from behest_core.model.record import RunRecord, check_record, decode_record, encode_record
from behest_core.model.timestamps import from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from behest_core.model.events import AnyEvent, NewEvent

RUN_NAMESPACE: Final = UUID("7c2b1f0a-5a0e-5a57-9f0d-2c8f3a9f7d11")
"""The namespace of run ids that are derived from a client_request_id."""

_HEADS_KEPT: Final = 10_000


class RecordedEvent(msgspec.Struct, frozen=True):
    """An event of a log, with its position. `raw` is its JSON as it lies there, with all its fields."""

    run_id: str
    sequence: int
    committed_at: str
    raw: bytes

    @property
    def event(self) -> AnyEvent:
        """The event, decoded. Raises MalformedEventError."""
        try:
            return core_decoder.decode_one(self.raw)
        except DECODE_ERRORS as error:
            raise MalformedEventError(self.run_id, self.sequence, str(error)) from error


class EventLog:
    """The logs of all runs, in one event table. Can be shared between threads.

    `expire_after` lets DynamoDB delete each commit that long after it was appended; by default it keeps them.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        expire_after: timedelta | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self.table = table
        self._expire_after = expire_after
        self._now = now
        # the end of the log, as far as this process knows: saves the read before an append, and is never trusted further
        self._heads: OrderedDict[str, int] = OrderedDict()

    # ------------------------------------------------------------ writing

    def create(self, record: RunRecord) -> RunRecord:
        """Put the run record at position 0, once.

        Returns the record that is there: the given one, or the first one where both have the same client_request_id or are
        equal. Raises RunExistsError where it is another one, InvalidRunIdError, InvalidValueError where its values can't be
        stored, and StateTooLargeError.
        """
        check_record(record)
        payload = encode_record(record)
        if len(payload) > EVENT_BYTES:
            raise EventTooLargeError(record.run_id, "run record", len(payload), EVENT_BYTES)
        found = self._put(Commit(run_id=record.run_id, sequence=0, payload=payload, commit_id=str(uuid4())))
        if found is None:
            return record
        first = decode_record(found)
        if first == record or (record.client_request_id and first.client_request_id == record.client_request_id):
            return first
        raise RunExistsError(record.run_id, _first_difference(first, record))

    def append(self, run_id: str, events: Iterable[NewEvent], expected_sequence: int | None = None) -> int:
        """Append the events as one commit, or as several where they don't fit one item; return the last sequence.

        Without `expected_sequence` they go to the end, wherever that is. With it, they are appended only if the log ends there:
        it is what a former append returned, or the last sequence that was read. Raises SequenceConflictError otherwise,
        InvalidRunIdError, InvalidValueError for an event that could not be folded, and EventTooLargeError; all of these but
        the conflict before anything is written.
        """
        check_run_id(run_id)
        batches = list(_pack(run_id, map(encode_event, events)))
        head = self._heads.get(run_id)
        if head is None or expected_sequence not in {None, head}:
            head = self.head(run_id)
        appended = 0
        for batch in batches:
            head = self._append(run_id, batch, str(uuid4()), head, expected_sequence, appended)
            appended += len(batch)
        return head

    def append_encoded(self, run_id: str, events: Sequence[bytes], commit_id: str) -> int:
        """Append events that `encode_event` gave, and that fit one item, to the end; return the last sequence.

        If it raises botocore's error, the commit may have been written all the same. Called again with the same `commit_id`, by
        the same object, it is not written twice.
        """
        head = self._heads.get(run_id)
        return self._append(run_id, events, commit_id, self.head(run_id) if head is None else head)

    def _append(  # noqa: PLR0913, PLR0917 (one commit, spelled out)
        self,
        run_id: str,
        batch: Sequence[bytes],
        commit_id: str,
        head: int,
        expected_sequence: int | None = None,
        appended: int = 0,
    ) -> int:
        _check_sequence(run_id, expected_sequence, head, appended)
        commit = Commit(run_id=run_id, sequence=head + 1, count=len(batch), payload=_array(batch), commit_id=commit_id)
        while self._put(commit) is not None:
            head = self.head(run_id)
            _check_sequence(run_id, expected_sequence, head, appended)
            commit = replace(commit, sequence=head + 1)
        self._remember(run_id, commit.last)
        return commit.last

    def _put(self, commit: Commit) -> Commit | None:
        """Write the commit unless its position is taken; return what is there instead, None where ours is."""
        now = self._now()
        expires_at = int((now + self._expire_after).timestamp()) if self._expire_after is not None else None
        commit = replace(commit, committed_at=from_datetime(now))
        try:
            self._client.put_item(
                TableName=self.table,
                Item=items.commit_to_item(commit, expires_at),
                ConditionExpression=f"attribute_not_exists({items.RUN_ID})",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            found = item_of_failed_condition(error)
            if found is None:
                raise
            if items.deleted_at(found):
                raise RunDeletedError(commit.run_id, items.deleted_at(found) or "") from error
            if found.get(items.COMMIT_ID) != {"S": commit.commit_id}:
                return items.commit_from_item(found)
        return None

    def delete(self, run_id: str, deleted_at: str) -> None:
        """Remove a run's log and leave a tombstone at its position 0. Can be repeated, and finishes what was cut short."""
        self._heads.pop(run_id, None)
        self._client.put_item(TableName=self.table, Item=items.tombstone_item(run_id, deleted_at))
        for item in self._query(run_id, ">", 0, only="#sequence"):
            key = {items.RUN_ID: {"S": run_id}, items.SEQUENCE: item[items.SEQUENCE]}
            self._client.delete_item(TableName=self.table, Key=key)

    def _remember(self, run_id: str, head: int) -> None:
        self._heads[run_id] = head
        self._heads.move_to_end(run_id)
        while len(self._heads) > _HEADS_KEPT:
            self._heads.popitem(last=False)

    # ------------------------------------------------------------ reading

    def head(self, run_id: str) -> int:
        """Return the last sequence of a run; 0 where there are no events, with or without a record. Raises RunDeletedError."""
        head = self.tail(run_id).last
        self._remember(run_id, head)
        return head

    def tail(self, run_id: str) -> Tail:
        """Return the last sequence of a run, and when it was committed. Raises RunDeletedError."""
        for item in self._query(run_id, "<=", _END, newest_first=True, page=1, only=_POSITION):
            _check_not_deleted(run_id, item)
            last = items.last_of(item)
            if last is not None:
                return Tail(last, item.get(items.COMMITTED_AT, {}).get("S", ""))
        return Tail(0, "")

    def record(self, run_id: str) -> RunRecord | None:
        """Return the run record, None where there is none. Raises MalformedRecordError, RunDeletedError."""
        for item in self._query(run_id, "=", 0):
            _check_not_deleted(run_id, item)
            commit = items.commit_from_item(item)
            return None if commit is None else decode_record(commit)
        return None

    def run_ids(self, since: datetime | None = None) -> Iterator[str]:
        """Return every run there is, in no order, each once or twice, from the index of first items; eventually consistent.

        With `since` those whose first item was committed since: all of the index is read for them, which pays where that is
        long ago.
        """
        request: dict[str, Any] = {"TableName": self.table, "IndexName": items.BY_HOUR}
        if since is not None:
            request["FilterExpression"] = f"{items.COMMITTED_AT} >= :since"
            request["ExpressionAttributeValues"] = {":since": {"S": from_datetime(since)}}
        for item in pages(self._client.scan, request):
            yield item[items.RUN_ID]["S"]

    def started(self, since: datetime, until: datetime) -> Iterator[str]:
        """Find the runs whose first item, record or events, was committed between two times; eventually consistent.

        A run may be given twice.
        """
        hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        first, last = from_datetime(since), from_datetime(until)
        while hour <= until:
            for shard in items.shards_of(items.hour_of(from_datetime(hour))):
                yield from self._started(shard, first, last)
            hour += timedelta(hours=1)

    def _started(self, shard: str, first: str, last: str) -> Iterator[str]:
        request: dict[str, Any] = {
            "TableName": self.table,
            "IndexName": items.BY_HOUR,
            "KeyConditionExpression": f"{items.HOUR_SHARD} = :shard AND {items.COMMITTED_AT} BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":shard": {"S": shard}, ":first": {"S": first}, ":last": {"S": last}},
        }
        for item in pages(self._client.query, request):
            yield item[items.RUN_ID]["S"]

    def commits(self, run_id: str, after: int = -1) -> Iterator[Commit]:
        """Read, consistently, the commits that hold what lies behind the position `after`, page by page, in order.

        The first may begin at or before `after`: a commit comes whole.
        """
        behind = self._commits(run_id, ">", after)
        first = next(behind, None)
        if after > 0 and (first is None or first.sequence > after + 1):
            # `after` may lie inside a commit: then it is the last one that begins at or before it
            around = next(self._commits(run_id, "<=", after, newest_first=True, page=1), None)
            if around is not None and around.last > after:
                yield around
        if first is not None:
            yield first
            yield from behind

    def _commits(
        self, run_id: str, comparison: str, sequence: int, *, newest_first: bool = False, page: int | None = None
    ) -> Iterator[Commit]:
        found = self._query(run_id, comparison, sequence, newest_first=newest_first, page=page)
        return filter(None, map(items.commit_from_item, found))

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Read, consistently, the events behind the sequence `after`, at most `limit` of them.

        Raises MalformedEventError at a commit that can't be cut into events.
        """
        after = max(after, 0)
        last = None if limit is None else after + limit
        if last == after:
            return
        for commit in self.commits(run_id, after):
            for sequence, raw in enumerate(_cut(commit), start=commit.sequence):
                if sequence > after:
                    yield RecordedEvent(run_id, sequence, commit.committed_at, raw)
                if sequence == last:
                    return

    def _query(  # noqa: PLR0913 (one request, spelled out)
        self,
        run_id: str,
        comparison: str,
        sequence: int,
        *,
        newest_first: bool = False,
        page: int | None = None,
        only: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
            "KeyConditionExpression": f"#run = :run AND #sequence {comparison} :sequence",
            "ExpressionAttributeNames": {"#run": items.RUN_ID, "#sequence": items.SEQUENCE},
            "ExpressionAttributeValues": {":run": {"S": run_id}, ":sequence": {"N": str(sequence)}},
        }
        if page is not None:
            request["Limit"] = page
        if only is not None:
            request["ProjectionExpression"] = only
            request["ExpressionAttributeNames"] |= {
                name: attribute for name, attribute in _POSITION_NAMES.items() if name in only
            }
        yield from pages(self._client.query, request)


class Tail(NamedTuple):
    """Where a log ends: its last sequence, and the RFC 3339 time that was committed at, empty where there is none."""

    last: int
    committed_at: str


_END: Final = 10**37
_POSITION: Final = "#sequence, #count, #committed, #deleted"
_POSITION_NAMES: Final = {"#count": items.COUNT, "#committed": items.COMMITTED_AT, "#deleted": items.DELETED_AT}


def _check_not_deleted(run_id: str, item: dict[str, Any]) -> None:
    deleted_at = items.deleted_at(item)
    if deleted_at is not None:
        raise RunDeletedError(run_id, deleted_at)


def run_id_for(client_request_id: str) -> str:
    """Derive the run id of a client_request_id: the same one every time."""
    return str(uuid5(RUN_NAMESPACE, client_request_id))


def _pack(run_id: str, events: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut the events into lots that fit an item each. Raises EventTooLargeError."""
    batch: list[bytes] = []
    size = 2
    for event in events:
        if len(event) + 2 > EVENT_BYTES:
            raise EventTooLargeError(run_id, core_decoder.decode_one(event).__class__.__name__, len(event), EVENT_BYTES)
        if size + len(event) > EVENT_BYTES:
            yield batch
            batch, size = [], 2
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch


def _array(events: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(events) + b"]"


def _check_sequence(run_id: str, expected: int | None, head: int, appended: int) -> None:
    if expected is not None and head != expected + appended:
        raise SequenceConflictError(run_id, expected + appended, head, appended)


def _cut(commit: Commit) -> Iterator[bytes]:
    """Cut a commit into its events' JSON."""
    try:
        if commit.is_record:
            return
        if commit.problem is not None:
            raise MalformedEventError(commit.run_id, commit.sequence, commit.problem)
        yield from map(bytes, split(commit.payload))
    except DECODE_ERRORS as error:
        raise MalformedEventError(commit.run_id, commit.sequence, str(error)) from error


def _first_difference(first: RunRecord, second: RunRecord) -> str:
    return next(name for name in RunRecord.__struct_fields__ if getattr(first, name) != getattr(second, name))
