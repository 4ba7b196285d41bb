"""Where an event source mapping reads its records: a stream of shards, each an ordered list of records.

`RecordSource` is all that the mapping asks of a stream. `MemoryStream` is one in memory, for tests and simulations;
`MotoStream` (moto_stream.py) reads a table's stream.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from behest_core.testing.stream_records import TIME_TO_LIVE, key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from behest_core.testing.stream_records import EventName, Image, StreamRecord

SMALLEST_SEQUENCE_NUMBER = 10**20
"""DynamoDB's sequence numbers are 21 to 40 digits (API reference, StreamRecord)."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard and the shard it came from when that one was split or grew full."""

    shard_id: str
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some records of a shard, in order. `closed` says that the shard ends with them."""

    records: Sequence[StreamRecord]
    closed: bool = False


class ManualClock:
    """A time that moves when told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the time, in seconds since 1970."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class RecordSource(Protocol):
    """A stream, as an event source mapping reads it."""

    @property
    def stream_arn(self) -> str:
        """The stream's ARN."""

    @property
    def partition_key(self) -> str:
        """The name of the table's partition key."""

    def shards(self) -> Sequence[Shard]:
        """Return all shards the stream has now, parents before children."""

    def read(self, shard_id: str, after: str | None, limit: int) -> Page:
        """Return at most `limit` records after the sequence number `after`; from the oldest kept where that is None."""


@dataclass(slots=True)
class _MemoryShard:
    parent_id: str | None
    records: list[StreamRecord] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    children: list[str] = field(default_factory=list)


class MemoryStream:
    """A stream in memory. A partition key's records stay in one shard, until that is split.

    Args:
        table_name: the table that the records seem to come from.
        partition_key: the name of its partition key.
        view_type: what the records seem to carry, such as NEW_IMAGE.
        shards: how many open shards it starts with.
        clock: returns the time of a record, in seconds since 1970.
    """

    def __init__(
        self,
        table_name: str = "events",
        *,
        partition_key: str = "run_id",
        view_type: str = "NEW_IMAGE",
        shards: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.stream_arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table_name}/stream/2026-01-01T00:00:00.000"
        self.partition_key = partition_key
        self._view_type = view_type
        self._clock = clock
        self._shards: dict[str, _MemoryShard] = {}
        self._numbers = itertools.count(SMALLEST_SEQUENCE_NUMBER)
        self._roots = [self._open(None) for _ in range(shards)]

    def shards(self) -> Sequence[Shard]:
        """Return all shards, parents before children."""
        return [Shard(shard_id, shard.parent_id) for shard_id, shard in self._shards.items()]

    def read(self, shard_id: str, after: str | None, limit: int) -> Page:
        """Return at most `limit` records after the sequence number `after`."""
        shard = self._shards[shard_id]
        start = 0 if after is None else bisect.bisect_right(shard.numbers, int(after))
        page = shard.records[start : start + limit]
        return Page(page, bool(shard.children) and start + len(page) == len(shard.records))

    def append(
        self,
        keys: Image,
        new_image: Image | None = None,
        *,
        old_image: Image | None = None,
        event_name: EventName = "INSERT",
        by_time_to_live: bool = False,
    ) -> StreamRecord:
        """Write one record and return it."""
        shard = self._shards[self.shard_of(keys)]
        number = next(self._numbers)
        record: StreamRecord = {
            "eventID": hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest(),
            "eventName": event_name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": float(int(self._clock())),
                "Keys": keys,
                "SequenceNumber": str(number),
                "SizeBytes": len(json.dumps([keys, new_image, old_image])),
                "StreamViewType": self._view_type,
            },
            "eventSourceARN": self.stream_arn,
        }
        if new_image is not None:
            record["dynamodb"]["NewImage"] = new_image
        if old_image is not None:
            record["dynamodb"]["OldImage"] = old_image
        if by_time_to_live:
            record["userIdentity"] = TIME_TO_LIVE
        shard.records.append(record)
        shard.numbers.append(number)
        return record

    def shard_of(self, keys: Image) -> str:
        """Return the open shard that a record with these keys goes to."""
        hashed = zlib.crc32(key_text({"": keys[self.partition_key]}).encode())
        hashed, root = divmod(hashed, len(self._roots))
        shard_id = self._roots[root]
        while children := self._shards[shard_id].children:
            hashed, child = divmod(hashed, len(children))
            shard_id = children[child]
        return shard_id

    def split(self, shard_id: str) -> list[str]:
        """Close a shard and open two in its place."""
        self._shards[shard_id].children = [self._open(shard_id), self._open(shard_id)]
        return self._shards[shard_id].children

    def lose(self, sequence_number: str) -> None:
        """Take a record out of the stream, as if it had expired before anybody read it."""
        for shard in self._shards.values():
            if int(sequence_number) in shard.numbers:
                index = shard.numbers.index(int(sequence_number))
                del shard.numbers[index], shard.records[index]

    def _open(self, parent_id: str | None) -> str:
        shard_id = f"shardId-{len(self._shards):020d}-{'memory':0>8}"
        self._shards[shard_id] = _MemoryShard(parent_id)
        return shard_id
