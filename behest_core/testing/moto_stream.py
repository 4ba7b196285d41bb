"""A table's DynamoDB stream, read through boto3, as a `RecordSource`. It mends what moto's streams get wrong.

moto 5.2.5 writes two INSERTs for an UpdateItem that creates an item, where DynamoDB writes one; it writes a record for
a write that changed nothing, where DynamoDB writes none; and it never deletes what has expired. A record of a deletion
by time to live differs from others in its ``userIdentity``: `expects_expiry` says which deletion is to get one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from behest_core.testing.record_source import Page, Shard
from behest_core.testing.stream_records import (
    TIME_TO_LIVE,
    is_first_half_of_upsert,
    is_unchanged,
    key_text,
    lambda_record,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

    from behest_core.testing.stream_records import Image, StreamRecord

_LARGEST_PAGE = 1000


class MotoStream:
    """The stream of one table.

    Args:
        client: boto3's client for DynamoDB streams.
        stream_arn: the table's LatestStreamArn.
    """

    def __init__(self, client: DynamoDBStreamsClient, stream_arn: str) -> None:
        self.stream_arn = stream_arn
        self._client = client
        self._expected_expiries: set[str] = set()
        self._expiries: set[str] = set()
        """Sequence numbers of the deletions that were expected."""

        self._next: dict[str, tuple[str | None, str]] = {}
        """By shard: the sequence number last read, and the iterator that goes on after it."""

        described = client.describe_stream(StreamArn=stream_arn)["StreamDescription"]
        self.partition_key = next(key["AttributeName"] for key in described["KeySchema"] if key["KeyType"] == "HASH")

    def shards(self) -> Sequence[Shard]:
        """Return the stream's shards. moto has one."""
        described = self._client.describe_stream(StreamArn=self.stream_arn)["StreamDescription"]
        return [Shard(shard["ShardId"], shard.get("ParentShardId")) for shard in described["Shards"]]

    def read(self, shard_id: str, after: str | None, limit: int) -> Page:
        """Return at most `limit` records after the sequence number `after`."""
        # One more than asked for: a record is read with the one that follows it, which may be its other half.
        limit = min(limit, _LARGEST_PAGE - 1)
        while True:
            answer = self._client.get_records(ShardIterator=self._iterator(shard_id, after), Limit=limit + 1)
            records = [
                lambda_record(cast("Mapping[str, object]", found), self.stream_arn) for found in answer["Records"]
            ]
            mended = self._mended(records)[:limit]
            closed = "NextShardIterator" not in answer
            if records and len(records) <= limit and not closed:
                self._next[shard_id] = (records[-1]["dynamodb"]["SequenceNumber"], answer["NextShardIterator"])
            if mended or len(records) <= limit:
                return Page(mended, closed)
            after = records[limit - 1]["dynamodb"]["SequenceNumber"]

    def expects_expiry(self, keys: Image) -> None:
        """Expect that the next deletion of this item is one by time to live."""
        self._expected_expiries.add(key_text(keys))

    def _iterator(self, shard_id: str, after: str | None) -> str:
        last_read, iterator = self._next.get(shard_id, (None, ""))
        if after is not None and after == last_read:
            return iterator
        if after is None:
            position = self._client.get_shard_iterator(
                StreamArn=self.stream_arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
            )
        else:
            position = self._client.get_shard_iterator(
                StreamArn=self.stream_arn,
                ShardId=shard_id,
                ShardIteratorType="AFTER_SEQUENCE_NUMBER",
                SequenceNumber=after,
            )
        return position["ShardIterator"]

    def _mended(self, records: list[StreamRecord]) -> list[StreamRecord]:
        mended = []
        following: StreamRecord | None = None
        for record in reversed(records):
            half = following is not None and is_first_half_of_upsert(record, following)
            following = record
            if not half and not is_unchanged(record):
                mended.append(self._with_identity(record))
        return mended[::-1]

    def _with_identity(self, record: StreamRecord) -> StreamRecord:
        if record["eventName"] != "REMOVE":
            return record
        keys, number = key_text(record["dynamodb"]["Keys"]), record["dynamodb"]["SequenceNumber"]
        if keys in self._expected_expiries:
            self._expected_expiries.remove(keys)
            self._expiries.add(number)
        return {**record, "userIdentity": TIME_TO_LIVE} if number in self._expiries else record
