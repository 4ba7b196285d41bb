"""The state table: one item per run, saved only where nobody else saved in between, and queried.

A save is conditional on the revision that was read. A revision says when an item was written, and is at least one more than the
one before: so it grows with each write, whatever the clock says. That it is a time, and no count, is for where an item has two
histories: it was deleted and made again, put back to an earlier time, or something else broke its revision. Whoever remembers a
state of one of them never meets its revision in the other, where each write came at another time.

Queries go through indexes that hold keys only: they cost a write unit when a run is created, changes status, is parked or begins
to wait, and nothing per event. What they find is then read from the table itself, consistently: a state is never older than its
index entry, and one that has moved on since is left out.

An item that something else broke never stops the others. By itself it raises MalformedStateError. Among many it is left out, and
`unreadable` is called with that error, which is a warning in the log `behest_core` by default. With `repair` it is read as a
state without content, which is folded again from its log.
"""

from __future__ import annotations

import heapq
import logging
import time
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.dynamodb.requests import BATCH_GET_ITEMS, batch_get, pages, put_if
from behest_core.errors import ConflictError, ContentionError, MalformedStateError
from behest_core.model.cache import BoundedCache
from behest_core.model.state import FOLDED_STATUSES, RunState
from behest_core.model.timestamps import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from behest_core.dynamodb.requests import Spread
    from behest_core.model.state import RunStatus

    Unreadable = Callable[[MalformedStateError], object]

_BURY_TRIES: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MINIMUM_TIME: Final = "0"
_MAXIMUM_TIME: Final = "9~"

_SEEN_BYTES: Final = 4 * 1024 * 1024
_logger = logging.getLogger("behest_core")


def warn(error: MalformedStateError) -> None:
    """Say in the log `behest_core` that a run is left out of a list."""
    _logger.warning("left out of a list: %s", error)


class RevisionConflictError(ConflictError):
    """A state item has another revision than the one that was read. `current` is the item's state now, None if it is gone."""

    def __init__(self, run_id: str, expected: int, current: RunState | None) -> None:
        actual = current.revision if current else 0
        super().__init__(f"run {run_id}: expected revision {expected}, the state item is at {actual}; decide again")
        self.run_id = run_id
        self.expected = expected
        self.actual = actual
        self.current = current


class StateTable:
    """The states of all runs, in one table. Can be shared between threads.

    `now` gives the time for revisions. `spread` is `map`, or does the same on several threads, as `side_by_side` does: with that,
    a query of many shards takes the time of a few.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        spread: Spread = map,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self.table = table
        self._sleep = sleep
        self._spread = spread
        self._now = now

    def __repr__(self) -> str:
        return f"StateTable({self.table!r})"

    def get(self, run_id: str) -> RunState | None:
        """Read a run's state, consistently; None where there is none yet. Raises MalformedStateError."""
        answer = self._client.get_item(TableName=self.table, Key={items.RUN_ID: {"S": run_id}}, ConsistentRead=True)
        return items.state_from_item(answer["Item"]) if "Item" in answer else None

    def get_many(
        self, run_ids: Iterable[str], *, repair: bool = False, unreadable: Unreadable = warn
    ) -> dict[str, RunState]:
        """Read the states of many runs, consistently, 100 in one request; those that have none are left out."""
        states: dict[str, RunState] = {}
        pending = iter(dict.fromkeys(run_ids))
        while batch := list(islice(pending, BATCH_GET_ITEMS)):
            keys = [{items.RUN_ID: {"S": run_id}} for run_id in batch]
            for item in batch_get(self._client, self.table, keys, self._sleep):
                try:
                    state = items.repaired_state(item) if repair else items.state_from_item(item)
                except MalformedStateError as error:
                    unreadable(error)
                else:
                    states[state.run_id] = state
        return states

    def save(self, state: RunState) -> RunState:
        """Write the state if the item still has the revision that was read; return it with its new revision.

        Raises RevisionConflictError, with the state that is there, where it hasn't. An item whose revision is none (0, 1.5, a
        text: something else wrote it) is replaced by a state that was read without one: on the condition that it still has
        just that.
        """
        saved = replace(state, revision=max(state.revision + 1, (self._now() - _EPOCH) // _MICROSECOND))
        if state.revision:
            found = self._put(saved, f"{items.REVISION} = :read", {"N": str(state.revision)})
        else:
            found = self._put(saved, f"attribute_not_exists({items.REVISION})")
            if found and items.revision_of(found) is None:
                found = self._put(saved, f"{items.REVISION} = :read", found[items.REVISION])
        if found is not None:
            raise RevisionConflictError(state.run_id, state.revision, items.repaired_state(found) if found else None)
        return saved

    def _put(self, state: RunState, condition: str, read: items.Attribute | None = None) -> dict[str, Any] | None:
        """Write a state's item on a condition; return what is there instead, None where it was written."""
        request = {"TableName": self.table, "Item": items.state_to_item(state), "ConditionExpression": condition}
        if read is not None:
            request["ExpressionAttributeValues"] = {":read": read}
        return put_if(self._client, request)

    def bury(self, run_id: str, deleted_at: str) -> None:
        """Put a tombstone in the place of a run's state: whatever arrives late, it is not folded.

        Raises ContentionError where the run is saved again and again in between.
        """
        for _ in range(_BURY_TRIES):
            state = self.get_many([run_id], repair=True).get(run_id)
            if state is not None and state.deleted_at is not None:
                return
            revision = state.revision if state is not None else 0
            try:
                self.save(RunState(run_id=run_id, revision=revision, deleted_at=deleted_at))
            except RevisionConflictError:
                continue  # it was folded in between; the next look sees that
            return
        raise ContentionError(run_id, _BURY_TRIES)

    # ------------------------------------------------------------ queries

    def find(  # noqa: PLR0913 (the ways to narrow it down)
        self,
        *,
        session_id: str | None = None,
        status: RunStatus | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        repair: bool = False,
        unreadable: Unreadable = warn,
    ) -> Iterator[RunState]:
        """Return runs of a session, of a status, both, or all; newest first, page by page.

        `since` and `until` bound the time a run was created, both included; text is RFC 3339, a `datetime` has a time zone.
        `page_size` is how much of an index a request reads at most: `limit` by default.
        """
        span = (as_text(since) if since else _MINIMUM_TIME, as_text(until) if until else _MAXIMUM_TIME)
        if span[0] > span[1]:
            return iter(())
        at_once = page_size or limit
        found = self._find(session_id, status, span, at_once)
        read = self._read(found, at_once, repair=repair, unreadable=unreadable)
        return islice((state for state in read if status in {None, state.status} or (repair and state.is_blank)), limit)

    def _find(
        self, session_id: str | None, status: RunStatus | None, span: tuple[str, str], limit: int | None
    ) -> Iterator[str]:
        """Return run ids, newest first. Runs of every status are merged where neither session nor status is given."""
        if session_id is not None:
            entries = self._index(items.BY_SESSION, items.SESSION_ID, session_id, span, limit)
        else:
            statuses = FOLDED_STATUSES if status is None else [status]
            shards = [shard for each in statuses for shard in items.shards_of(each)]
            entries = self._merged(
                [self._index(items.BY_STATUS, items.STATUS_SHARD, shard, span, limit) for shard in shards]
            )
        # a run that changes status while we read may be met in both, close together: the order is that of its creation
        seen: BoundedCache[bool] = BoundedCache(_SEEN_BYTES)
        for _, run_id in entries:
            if not seen.get(run_id):
                seen.put(run_id, True)  # noqa: FBT003 (that it was seen)
                yield run_id

    def run_ids(self, *, since: datetime | str | None = None) -> Iterator[str]:
        """Return every run that has an item, whatever is in it, deleted runs included; in no order, eventually consistent.

        With `since`, those that were created since, the newest first, and no deleted ones.
        """
        if since is not None:
            return self._find(None, None, (as_text(since), _MAXIMUM_TIME), None)
        request: dict[str, Any] = {"TableName": self.table, "ProjectionExpression": items.RUN_ID}
        return map(items.run_id_of, pages(self._client.scan, request))

    def find_parked(
        self, *, limit: int | None = None, repair: bool = False, unreadable: Unreadable = warn
    ) -> Iterator[RunState]:
        """Return the runs that are parked, or an extension of them, the latest first, page by page."""
        everything = (_MINIMUM_TIME, _MAXIMUM_TIME)
        entries = self._merged(
            [
                self._index(items.BY_PARKED, items.PARKED_SHARD, shard, everything, limit, moment=items.PARKED_AT)
                for shard in items.shards_of("parked")
            ]
        )
        read = self._read((run_id for _, run_id in entries), limit, repair=repair, unreadable=unreadable)
        return islice((state for state in read if state.parks or (repair and state.is_blank)), limit)

    def find_waiting(
        self,
        *,
        since: datetime | str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        unreadable: Unreadable = warn,
    ) -> Iterator[RunState]:
        """Return the runs that wait for a person, the one that has waited longest first, page by page.

        With `since`, those that wait since then or later. `page_size` is as for `find`. A run that has gone on meanwhile is
        left out.
        """
        span = (as_text(since) if since else _MINIMUM_TIME, _MAXIMUM_TIME)
        at_once = page_size or limit
        entries = self._merged(
            [
                self._index(
                    items.BY_WAITING,
                    items.WAITING_SHARD,
                    shard,
                    span,
                    at_once,
                    moment=items.WAITING_SINCE,
                    oldest_first=True,
                )
                for shard in items.shards_of("waiting", items.WAITING_SHARDS)
            ],
            oldest_first=True,
        )
        read = self._read((run_id for _, run_id in entries), at_once, repair=False, unreadable=unreadable)
        return islice((state for state in read if state.waiting_since is not None), limit)

    def _merged(
        self, shards: list[Iterator[tuple[str, str]]], *, oldest_first: bool = False
    ) -> Iterator[tuple[str, str]]:
        """Merge what several shards of an index hold, newest first unless told. Their first pages are asked for side by side."""
        firsts = list(self._spread(lambda entries: next(entries, None), shards))
        begun = [chain([first], rest) for first, rest in zip(firsts, shards, strict=True) if first is not None]
        yield from heapq.merge(*begun, reverse=not oldest_first)

    def _index(  # noqa: PLR0913 (one request, spelled out)
        self,
        index: str,
        key: str,
        value: str,
        span: tuple[str, str],
        limit: int | None,
        *,
        moment: str = items.CREATED_AT,
        oldest_first: bool = False,
    ) -> Iterator[tuple[str, str]]:
        """Read the times and run ids of an index, newest first unless told."""
        request: dict[str, Any] = {
            "TableName": self.table,
            "IndexName": index,
            "ScanIndexForward": oldest_first,
            "KeyConditionExpression": f"{key} = :value AND {moment} BETWEEN :since AND :until",
            "ExpressionAttributeValues": {":value": {"S": value}, ":since": {"S": span[0]}, ":until": {"S": span[1]}},
        }
        if limit is not None:
            request["Limit"] = max(limit, 1)
        for item in pages(self._client.query, request):
            yield items.text_of(item, moment) or _MINIMUM_TIME, items.run_id_of(item)

    def _read(
        self, run_ids: Iterator[str], limit: int | None, *, repair: bool, unreadable: Unreadable
    ) -> Iterator[RunState]:
        """Read the states of the runs, up to 100 in one request, in the order given."""
        at_once = min(limit or BATCH_GET_ITEMS, BATCH_GET_ITEMS)
        while batch := list(islice(run_ids, at_once)):
            states = self.get_many(batch, repair=repair, unreadable=unreadable)
            yield from (states[run_id] for run_id in batch if run_id in states and states[run_id].deleted_at is None)
