"""How the event source mapping reads a stream: which shards, in what order, and into which lanes.

From the AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB":

- A shard is read in order, and only after the shard it came from has been read and delivered to its end.
- TRIM_HORIZON begins with the oldest record that is kept, LATEST with the first one after the mapping was created.
- With a ParallelizationFactor over 1 the guide promises order "at the item (partition and sort key) level": two items
  of one partition key may take different lanes. A consumer that wants to rest on no more than that is tested with
  ``lane_by="item"``. With ``lane_by="partition_key"``, the default, all records of one key share a lane, as an earlier
  edition of the guide promised.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from behest_core.testing.lane import BufferedRecord, Lane
from behest_core.testing.stream_records import key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from behest_core.testing.lane import MappingSettings
    from behest_core.testing.record_source import RecordSource, Shard
    from behest_core.testing.stream_records import StreamRecord

PAGE = 1000
"""Records that one GetRecords call returns at most (DynamoDB API reference)."""

LaneBy: TypeAlias = Literal["partition_key", "item"]


@dataclass(slots=True)
class _ShardReader:
    parent_id: str | None
    lanes: list[Lane]
    position: str | None = None
    is_closed: bool = False

    @property
    def is_finished(self) -> bool:
        return self.is_closed and all(lane.is_empty for lane in self.lanes)


@dataclass(slots=True)
class StreamReader:
    """The mapping's place in each shard of its stream."""

    source: RecordSource
    settings: MappingSettings
    lane_by: LaneBy
    retry_delay: Callable[[int], float]
    _readers: dict[str, _ShardReader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.settings.starting_position == "LATEST":
            for shard in self.source.shards():
                self._skip_to_end(shard)

    def read(self, now: float) -> int:
        """Put what is new into lanes, at most one page of each shard, and return how many records that were."""
        count = 0
        for shard in self.source.shards():
            reader = self._reader(shard)
            parent = self._readers.get(shard.parent_id or "")
            if reader.is_closed or (parent is not None and not parent.is_finished):
                continue
            page = self.source.read(shard.shard_id, reader.position, PAGE)
            for record in page.records:
                self._lane(reader, record).add(BufferedRecord.of(record), now)
                reader.position = record["dynamodb"]["SequenceNumber"]
            reader.is_closed = page.closed
            count += len(page.records)
        return count

    def lanes(self) -> Iterator[Lane]:
        """Return all lanes of all shards that aren't finished."""
        for reader in self._readers.values():
            if not reader.is_finished:
                yield from reader.lanes

    def _reader(self, shard: Shard) -> _ShardReader:
        if shard.shard_id not in self._readers:
            lanes = [
                Lane(shard.shard_id, number, self.settings, self.retry_delay)
                for number in range(self.settings.parallelization_factor)
            ]
            self._readers[shard.shard_id] = _ShardReader(shard.parent_id, lanes)
        return self._readers[shard.shard_id]

    def _lane(self, reader: _ShardReader, record: StreamRecord) -> Lane:
        keys = record["dynamodb"]["Keys"]
        if self.lane_by == "partition_key":
            keys = {self.source.partition_key: keys[self.source.partition_key]}
        return reader.lanes[zlib.crc32(key_text(keys).encode()) % len(reader.lanes)]

    def _skip_to_end(self, shard: Shard) -> None:
        reader = self._reader(shard)
        while True:
            page = self.source.read(shard.shard_id, reader.position, PAGE)
            reader.is_closed = page.closed
            if not page.records:
                return
            reader.position = page.records[-1]["dynamodb"]["SequenceNumber"]
