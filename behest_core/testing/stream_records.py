"""DynamoDB stream records in the shape in which Lambda hands them to a function.

What DynamoDB's GetRecords returns through boto3 and what a function receives differ, and the difference matters to a
decoder:

- What a function receives went over the wire as JSON: binary values are base64 text there, bytes in boto3.
- ApproximateCreationDateTime is a number of seconds there, rounded down to whole seconds (DynamoDB API reference,
  StreamRecord), a datetime in boto3.
- Lambda adds ``eventSourceARN``.
- A deletion by time to live carries ``userIdentity``, with keys in lower case there, capitalised in boto3.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NotRequired, TypeAlias, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
Image: TypeAlias = "dict[str, dict[str, JsonValue]]"
"""An item, or its keys, in DynamoDB's typed JSON: ``{"run_id": {"S": "r1"}}``."""

EventName: TypeAlias = Literal["INSERT", "MODIFY", "REMOVE"]


class UserIdentity(TypedDict):
    """Who made a change. Present only where DynamoDB itself did, by time to live."""

    type: str
    principalId: str


class StreamData(TypedDict):
    """The ``dynamodb`` part of a record."""

    ApproximateCreationDateTime: float
    Keys: Image
    NewImage: NotRequired[Image]
    OldImage: NotRequired[Image]
    SequenceNumber: str
    SizeBytes: int
    StreamViewType: str


class StreamRecord(TypedDict):
    """One record of a stream, as one entry of a batch."""

    eventID: str
    eventName: EventName
    eventVersion: str
    eventSource: str
    awsRegion: str
    dynamodb: StreamData
    eventSourceARN: str
    userIdentity: NotRequired[UserIdentity]


class LambdaBatch(TypedDict):
    """What a function on a DynamoDB stream is called with."""

    Records: list[StreamRecord]


TIME_TO_LIVE: UserIdentity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
"""The identity that a deletion by time to live carries (DynamoDB developer guide, "DynamoDB Streams and TTL")."""


def lambda_record(record: Mapping[str, object], stream_arn: str) -> StreamRecord:
    """Return the record that Lambda would hand to a function, from one of boto3's ``get_records``."""
    shaped = cast("dict[str, object]", _as_json(record))
    identity = cast("dict[str, str] | None", shaped.pop("userIdentity", None))
    # The region of a stream's table stands in its ARN; moto's records always say us-east-1.
    shaped["awsRegion"] = stream_arn.split(":")[3]
    shaped["eventSourceARN"] = stream_arn
    if identity is not None:
        shaped["userIdentity"] = {
            "type": identity["Type"],
            "principalId": identity["PrincipalId"],
        }
    return cast("StreamRecord", shaped)


def is_unchanged(record: StreamRecord) -> bool:
    """Return whether the record is of a write that changed nothing: DynamoDB writes no such record, moto does."""
    data = record["dynamodb"]
    return "OldImage" in data and data["OldImage"] == data.get("NewImage")


def is_first_half_of_upsert(record: StreamRecord, following: StreamRecord) -> bool:
    """Return whether two records that follow each other are one write: moto writes two INSERTs for an UpdateItem that creates.

    The first holds nothing but the keys. DynamoDB never inserts an item twice without a REMOVE between.
    """
    return (
        record["eventName"] == following["eventName"] == "INSERT"
        and record["dynamodb"]["Keys"] == following["dynamodb"]["Keys"]
    )


def key_text(keys: Image) -> str:
    """Return one text for one key, the same whatever the order of its attributes."""
    return json.dumps(keys, sort_keys=True)


def _as_json(value: object) -> object:
    """Return what remains of a value of boto3's after the way to a function as JSON."""
    if isinstance(value, dict):
        return {key: _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_as_json(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return float(int(value.timestamp()))
    return value
