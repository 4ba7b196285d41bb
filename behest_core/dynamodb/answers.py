"""What BatchGetItem answers, made into objects item by item, as they are read.

The SDK makes all objects of an answer at once, and most of them twice. An answer has 16 MB at most, which is 1.8 million of the
smallest values: more memory than a function has. Here what is not read yet is one text, and what has been read is the reader's.

botocore does the rest: it signs, sends, repeats, checks and raises as for any other request, and parses all of an answer but its
items. A client that a user brings stays as it is.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

_RESPONSES: Final = "Responses"
_parts_of = msgspec.json.Decoder(dict[str, Raw]).decode
_items_of = msgspec.json.Decoder(dict[str, list[Raw]]).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Items:
    """The items of a table that an answer holds. Each is made when it is reached, every time they are gone through."""

    def __init__(self, raw: list[Raw]) -> None:
        self._raw = raw

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(_item, self._raw)


def read_item_by_item(client: DynamoDBClient) -> DynamoDBClient:
    """Let the items of a client's BatchGetItem be read so, and return the client."""
    client.meta.events.register("before-parse.dynamodb.BatchGetItem", _take_items)
    return client


def _take_items(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Take the items out of an answer before botocore parses it. What is no answer is left to botocore, which says so."""
    if response_dict["status_code"] != 200:
        return
    try:
        parts = _parts_of(response_dict["body"])
        tables = _items_of(parts.pop(_RESPONSES, b"{}"))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    response_dict["body"] = _encode(parts)
    customized_response_dict[_RESPONSES] = {table: Items(raw) for table, raw in tables.items()}


def _item(raw: Raw) -> dict[str, Any]:
    item: dict[str, Any] = _decode(raw)
    if b'"B' in bytes(raw):
        for attribute in item.values():
            _unpack(attribute)
    return item


def _unpack(attribute: dict[str, Any]) -> None:
    """Turn the base64 of an attribute, and of those in it, into bytes."""
    [(kind, value)] = attribute.items()
    if kind == "B":
        attribute[kind] = b64decode(value)
    elif kind == "BS":
        attribute[kind] = list(map(b64decode, value))
    elif kind in {"M", "L"}:
        for inner in value.values() if kind == "M" else value:
            _unpack(inner)
