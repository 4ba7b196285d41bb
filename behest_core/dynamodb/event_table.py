"""The event table: appending commits to a run's log, and reading it.

Appending is one conditional PutItem at the next sequence, and safe because of four things:

- Every writer writes at head + 1, where head was read consistently, or is what its own last append returned. Once a head, always
  the end of a commit: so commits never overlap, and the condition on one item is enough.
- The condition fails for whoever comes second, who then reads the head again.
- A write whose answer was lost is repeated by the SDK and then fails its own condition. The item that the failure returns has our
  `commit_id`, so it succeeded.
- A commit leaves the position that it was tried at only when another's commit is known to lie there: items never change, so it is
  not there and never will be. Whoever tries a commit again therefore begins at that position, which the `PendingCommit` holds,
  and no cache that others share.

A process that is forked shares connections with its parent, on which one would read the other's answers. So the child opens its
own.
"""

from __future__ import annotations

import os
import weakref
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.dynamodb.requests import pages, put_if
from behest_core.errors import (
    ContentionError,
    EventTooLargeError,
    MalformedEventError,
    RunDeletedError,
    RunExistsError,
    RunNotFoundError,
    SequenceConflictError,
)
from behest_core.model.cache import BoundedCache
from behest_core.model.commit import Commit
from behest_core.model.decoding import check_known, encode
from behest_core.model.events import EncodedEvent
from behest_core.model.limits import EVENT_BYTES, check_run_id
from behest_core.model.packing import array_of, lots, recorded, without_gaps
from behest_core.model.record import RunRecord, check_record, decode_record, differences, encode_record
from behest_core.model.timestamps import from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from behest_core.model.events import NewEvent
    from behest_core.model.packing import RecordedEvent

_TRIES: Final = 100
"""How many other writers an append may meet in a row: more than there can be side by side within reason."""

_BACKWARDS: Final = 8
"""How many commits are read at once from a log's end back: what is looked for lies in the last few, as a rule."""

_HEADS_BYTES: Final = 2 * 1024 * 1024


class PendingCommit(msgspec.Struct):
    """Events of one run that are to be appended as one commit, and may have been: what `append_pending` is called with.

    They fit one item (`packing.lots`). `tried_at` is the position at which the commit may lie without anyone having heard of it;
    None before the first try.
    """

    run_id: str
    events: list[EncodedEvent]
    commit_id: str = msgspec.field(default_factory=lambda: str(uuid4()))
    tried_at: int | None = None


class Tail(NamedTuple):
    """Where a log ends: its last sequence, and of what lies there the RFC 3339 time and the id, empty where there is nothing.

    `expires_at` is when DynamoDB may delete it, in seconds since 1970. `is_there` says whether there is a log at all, be it a
    record alone.
    """

    last: int
    committed_at: str = ""
    commit_id: str = ""
    expires_at: int | None = None
    is_there: bool = True


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
        # the end of each log, as far as this process knows: saves the read before an append, and is never trusted further
        self._heads: BoundedCache[int] = BoundedCache(_HEADS_BYTES)
        _logs.add(self)

    def __repr__(self) -> str:
        return f"EventLog({self.table!r})"

    def disconnect(self) -> None:
        """Leave the connections that are open to others; the next request opens one of its own."""
        self._client.close()

    # ------------------------------------------------------------ writing

    def create(self, record: RunRecord) -> RunRecord:
        """Put the run record at position 0, once.

        Return the record that is there: the given one, or the first one where both have the same client_request_id or are
        equal. Raises RunExistsError where it is another one, InvalidRunIdError, InvalidValueError where its values can't be
        stored, StateTooLargeError, and MalformedRecordError where what is there is no record.
        """
        check_record(record)
        payload = encode_record(record)
        if len(payload) > EVENT_BYTES:
            raise EventTooLargeError(record.run_id, "run record", len(payload), EVENT_BYTES)
        found = self._put(Commit(run_id=record.run_id, sequence=0, payload=payload, commit_id=str(uuid4())))
        if found is None:
            return record
        first = decode_record(found)
        differing = differences(first, record)
        if not differing or (record.client_request_id and first.client_request_id == record.client_request_id):
            return first
        raise RunExistsError(record.run_id, differing)

    def append(
        self,
        run_id: str,
        events: Iterable[NewEvent],
        expected_sequence: int | None = None,
        *,
        create: bool = True,
        allow_unknown: bool = True,
    ) -> int:
        """Append the events as one commit, or as several where they don't fit one item; return the last sequence.

        Without `expected_sequence` they go to the end, wherever that is. With it, they are appended only if the log ends there:
        it is what a former append returned, or the last sequence that was read. Without `create` the run has to be there, its
        record or events of it. That costs nothing: whoever doesn't know where the log ends looks there anyway. Without
        `allow_unknown` a type is refused that is neither the core's nor dotted.

        Raises SequenceConflictError, RunNotFoundError, RunDeletedError, InvalidRunIdError, InvalidValueError for an event that
        could not be folded, and EventTooLargeError; all of these but the conflict before anything is written. Raises
        ContentionError where other writers are first again and again.
        """
        check_run_id(run_id)
        encoded = map(encode, events)
        batches = list(lots(run_id, encoded if allow_unknown else map(check_known, encoded)))
        head = self._heads.get(run_id)
        if head is None or expected_sequence not in {None, head}:
            tail = self._read_tail(run_id)
            if not (create or tail.is_there):
                raise RunNotFoundError(run_id, "; create_run makes it, and append with create=True does without")
            head = tail.last
        appended = 0
        for batch in batches:
            _check_sequence(run_id, expected_sequence, head, appended)
            pending = PendingCommit(run_id, batch, tried_at=head + 1)
            head = self._append(pending, expected_sequence, appended)
            appended += len(batch)
        return head

    def append_pending(self, pending: PendingCommit, expected_sequence: int | None = None) -> int:
        """Append a commit to the end; return its last sequence.

        If it raises botocore's error, the commit may have been written all the same. Called again with the same `pending`, by
        whichever object, it is written once, whatever has happened to the log in between. Raises ContentionError, after which
        it can be called again, too. With `expected_sequence` it is appended only if the log ends there; raises
        SequenceConflictError otherwise, after which it is not in the log and never will be.
        """
        if pending.tried_at is None:
            head = self._heads.get(pending.run_id) if expected_sequence is None else expected_sequence
            pending.tried_at = (self.head(pending.run_id) if head is None else head) + 1
        return self._append(pending, expected_sequence)

    def _append(self, pending: PendingCommit, expected_sequence: int | None = None, appended: int = 0) -> int:
        """Put the commit where it is to be tried, and further on where that is another's."""
        payload = array_of([event.raw for event in pending.events])
        for _ in range(_TRIES):
            commit = Commit(
                run_id=pending.run_id,
                sequence=pending.tried_at or 1,
                count=len(pending.events),
                payload=payload,
                commit_id=pending.commit_id,
            )
            if commit.last > items.LAST_POSITION:
                raise MalformedEventError(
                    pending.run_id, commit.sequence - 1, "nothing can follow this far on in a log"
                )
            if self._put(commit) is None:
                self._heads.put(pending.run_id, commit.last)
                return commit.last
            head = self.head(pending.run_id)
            _check_sequence(pending.run_id, expected_sequence, head, appended)
            pending.tried_at = head + 1
        raise ContentionError(pending.run_id, _TRIES)

    def _put(self, commit: Commit) -> Commit | None:
        """Write the commit unless its position is taken; return what is there instead, None where ours is."""
        now = self._now()
        expires_at = int((now + self._expire_after).timestamp()) if self._expire_after is not None else None
        commit = replace(commit, committed_at=from_datetime(now))
        found = put_if(
            self._client,
            {
                "TableName": self.table,
                "Item": items.commit_to_item(commit, expires_at),
                "ConditionExpression": f"attribute_not_exists({items.RUN_ID})",
            },
        )
        if found is None:
            return None
        _check_not_deleted(commit.run_id, found)
        if found.get(items.COMMIT_ID) != {"S": commit.commit_id}:
            return items.commit_from_item(found)
        return None

    def delete(self, run_id: str, deleted_at: str) -> None:
        """Remove a run's log, whatever lies there, and leave tombstones at its first and last position.

        Can be repeated, and finishes what was cut short.
        """
        self._heads.pop(run_id)
        for tombstone in items.tombstone_items(run_id, deleted_at):
            self._client.put_item(TableName=self.table, Item=tombstone)
        for item in self._query(run_id, only="#sequence"):
            if items.number_of(item, items.SEQUENCE) not in items.TOMBSTONE_POSITIONS:
                key = {items.RUN_ID: {"S": run_id}, items.SEQUENCE: item[items.SEQUENCE]}
                self._client.delete_item(TableName=self.table, Key=key)

    # ------------------------------------------------------------ reading

    def head(self, run_id: str) -> int:
        """Return the last sequence of a run; 0 where there are no events, with or without a record. Raises RunDeletedError."""
        return self._read_tail(run_id).last

    def _read_tail(self, run_id: str) -> Tail:
        tail = self.tail(run_id)
        if tail.is_there:  # so a head that is known is that of a run
            self._heads.put(run_id, tail.last)
        return tail

    def tail(self, run_id: str) -> Tail:
        """Return the last sequence of a run, and when it was committed. Raises RunDeletedError."""
        for item in self._query(run_id, (0, items.LAST_POSITION), newest_first=True, page=1, only=_POSITION):
            _check_not_deleted(run_id, item)
            last = items.last_of(item)
            if last is not None:
                return Tail(
                    last,
                    items.committed_at(item),
                    items.text_of(item, items.COMMIT_ID) or "",
                    items.number_of(item, items.EXPIRES_AT),
                )
        return Tail(0, is_there=False)

    def holds_anything(self, run_id: str) -> bool:
        """Return whether there is any item of a run: its record, a commit, a tombstone, or what nobody can read."""
        return next(self._query(run_id, page=1, only="#sequence"), None) is not None

    def record(self, run_id: str) -> RunRecord | None:
        """Return the run record, None where there is none. Raises MalformedRecordError, RunDeletedError."""
        for item in self._query(run_id, (0, 0)):
            _check_not_deleted(run_id, item)
            commit = items.commit_from_item(item)
            return None if commit is None else decode_record(commit)
        return None

    def whole(self, run_id: str) -> tuple[RunRecord | None, Iterator[RecordedEvent]]:
        """Read a run's record, if it has one, and all its events, consistently and in one query.

        Raises MalformedRecordError. Reading the events raises IncompleteLogError at a gap, a missing beginning included, and
        MalformedEventError at a commit that can't be cut into events.
        """
        commits = self.whole_commits(run_id)
        first = next(commits, None)
        if first is None:
            return None, iter(())
        if first.is_record:
            return decode_record(first), recorded(commits)
        return None, recorded(chain([first], commits))

    def whole_commits(self, run_id: str, *, up_to: int | None = None) -> Iterator[Commit]:
        """Read, consistently, all commits of a run, the record among them. Raises IncompleteLogError at a gap.

        `up_to` is as for `commits`.
        """
        return without_gaps(run_id, self.commits(run_id, up_to=up_to))

    def commits(
        self,
        run_id: str,
        after: int = -1,
        *,
        up_to: int | None = None,
        refuse_deleted: bool = False,
        is_at_end: bool = False,
    ) -> Iterator[Commit]:
        """Read, consistently, the commits that hold what lies behind the position `after`, page by page, in order.

        The first may begin at or before `after`: a commit comes whole. Where no commit can reach over `after`, as the log ended
        there when it was read, `is_at_end` saves the look at that one. `up_to` is the position up to which they are to be read:
        what lies behind it is not asked for before it is reached. With `refuse_deleted`, raises RunDeletedError where a
        tombstone is read, which is passed over otherwise.
        """
        behind = self._behind(run_id, after, up_to, refuse_deleted=refuse_deleted)
        first = next(behind, None)
        if not is_at_end and after >= 1 and (first is None or first.sequence > after + 1):
            # `after` may lie inside a commit: then it is the last one that begins at or before it
            around = next(self._last_commits(run_id, after, refuse_deleted=refuse_deleted), None)
            if around is not None and around.last > after:
                yield around
        if first is not None:
            yield first
            yield from behind

    def _behind(self, run_id: str, after: int, up_to: int | None, *, refuse_deleted: bool) -> Iterator[Commit]:
        last = items.LAST_POSITION
        spans = [(after + 1, last)] if up_to is None else [(after + 1, min(up_to, last)), (max(after, up_to) + 1, last)]
        for span in spans:
            yield from self._commits(run_id, span, refuse_deleted=refuse_deleted)

    def _last_commits(self, run_id: str, sequence: int, *, refuse_deleted: bool) -> Iterator[Commit]:
        return self._commits(run_id, (0, sequence), refuse_deleted=refuse_deleted, newest_first=True, page=1)

    def _commits(
        self,
        run_id: str,
        span: tuple[int, int],
        *,
        refuse_deleted: bool,
        newest_first: bool = False,
        page: int | None = None,
    ) -> Iterator[Commit]:
        for item in self._query(run_id, span, newest_first=newest_first, page=page):
            if refuse_deleted:
                _check_not_deleted(run_id, item)
            commit = items.commit_from_item(item)
            if commit is not None:
                yield commit

    def newest_commits(self, run_id: str) -> Iterator[Commit]:
        """Read, consistently, the commits of a run from its end back, a few at a time, the record last.

        Raises RunDeletedError.
        """
        span = (0, items.LAST_POSITION)
        return self._commits(run_id, span, refuse_deleted=True, newest_first=True, page=_BACKWARDS)

    def last_commit(self, run_id: str, sequence: int) -> Commit | None:
        """Read, consistently, the last commit that begins at a sequence or before; None where there is none.

        Raises RunDeletedError.
        """
        return next(self._last_commits(run_id, sequence, refuse_deleted=True), None)

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Read, consistently, the events behind the sequence `after`, at most `limit` of them.

        Raises MalformedEventError at a commit that can't be cut into events.
        """
        after = max(after, 0)
        commits = self.commits(run_id, after, up_to=None if limit is None else after + limit)
        return islice((event for event in recorded(commits) if event.sequence > after), limit)

    def run_ids(self, since: datetime | None = None) -> Iterator[str]:
        """Return every run there is, in no order, each once or twice, from the index of first items; eventually consistent.

        With `since` those whose first item was committed since: all of the index is read for them, which pays where that is
        long ago.
        """
        request: dict[str, Any] = {"TableName": self.table, "IndexName": items.BY_HOUR}
        if since is not None:
            request["FilterExpression"] = f"{items.COMMITTED_AT} >= :since"
            request["ExpressionAttributeValues"] = {":since": {"S": from_datetime(since)}}
        return map(items.run_id_of, pages(self._client.scan, request))

    def started(self, since: datetime, until: datetime) -> Iterator[str]:
        """Return the runs whose first item, record or events, was committed between two times; eventually consistent.

        The latest hour comes first. A run may be given twice.
        """
        hour = until.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        first, last = from_datetime(since), from_datetime(until)
        while hour > since - timedelta(hours=1):
            for shard in items.shards_of(items.hour_of(from_datetime(hour))):
                yield from self._started(shard, first, last)
            hour -= timedelta(hours=1)

    def _started(self, shard: str, first: str, last: str) -> Iterator[str]:
        request: dict[str, Any] = {
            "TableName": self.table,
            "IndexName": items.BY_HOUR,
            "ScanIndexForward": False,
            "KeyConditionExpression": f"{items.HOUR_SHARD} = :shard AND {items.COMMITTED_AT} BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":shard": {"S": shard}, ":first": {"S": first}, ":last": {"S": last}},
        }
        return map(items.run_id_of, pages(self._client.query, request))

    def _query(
        self,
        run_id: str,
        span: tuple[int, int] | None = None,
        *,
        newest_first: bool = False,
        page: int | None = None,
        only: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Read the items of a run: all of them, or those whose sequence is in a span, its ends included."""
        request: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
            "KeyConditionExpression": "#run = :run",
            "ExpressionAttributeNames": {"#run": items.RUN_ID},
            "ExpressionAttributeValues": {":run": {"S": run_id}},
        }
        names = only or ""
        if span is not None:
            first, last = span
            if first > last:
                return iter(())  # DynamoDB refuses such a span
            request["KeyConditionExpression"] += " AND #sequence BETWEEN :first AND :last"
            request["ExpressionAttributeValues"] |= {":first": {"N": str(first)}, ":last": {"N": str(last)}}
            names += "#sequence"
        request["ExpressionAttributeNames"] |= {name: what for name, what in _NAMES.items() if name in names}
        if page is not None:
            request["Limit"] = page
        if only is not None:
            request["ProjectionExpression"] = only
        return pages(self._client.query, request)


def _disconnect_all() -> None:
    for log in _logs:
        log.disconnect()


_logs: Final[weakref.WeakSet[EventLog]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_disconnect_all)

_POSITION: Final = "#sequence, #count, #committed, #commit_id, #expires, #deleted"
_NAMES: Final = {
    "#sequence": items.SEQUENCE,
    "#count": items.COUNT,
    "#committed": items.COMMITTED_AT,
    "#commit_id": items.COMMIT_ID,
    "#expires": items.EXPIRES_AT,
    "#deleted": items.DELETED_AT,
}


def _check_not_deleted(run_id: str, item: items.Item) -> None:
    deleted_at = items.deleted_at(item)
    if deleted_at is not None:
        raise RunDeletedError(run_id, deleted_at)


def _check_sequence(run_id: str, expected: int | None, head: int, appended: int) -> None:
    if expected is not None and head != expected + appended:
        raise SequenceConflictError(run_id, expected + appended, head, appended)
