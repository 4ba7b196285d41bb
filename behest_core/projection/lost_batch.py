"""A batch that Lambda gave up: what its message in the failure queue says, and which runs were in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import ClientError
from msgspec import Struct, field

from behest_core.dynamodb import items
from behest_core.errors import MalformedError
from behest_core.projection.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

_RECORDS_AT_ONCE: Final = 1_000  # the most that GetRecords gives
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


class RecoverReport(Struct):
    """What became of a lost batch: the runs in it, and whether the stream had it still, and all are done."""

    runs: int = 0
    was_found: bool = True
    is_complete: bool = True
    troubles: list[Trouble] = field(default_factory=list)


def runs_in(batch: LostBatch, streams: DynamoDBStreamsClient) -> set[str] | None:
    """Return the runs that have records from the batch's first to its last; None where the stream no longer has those."""
    try:
        return set(_run_ids(batch, streams))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        return None


def _run_ids(batch: LostBatch, streams: DynamoDBStreamsClient) -> Iterator[str]:
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
