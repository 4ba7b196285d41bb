"""The client of DynamoDB that behest makes for itself: botocore's, with the JSON of requests and answers made by msgspec.

botocore checks each value of a request against a model, copies it twice, and makes all objects of an answer at once, most of them
twice. Of a save that is more than half of all work, of one with slices three quarters. And an answer of BatchGetItem has 16 MB at
most, which is 1.8 million of the smallest values: more memory than a function has. Here a request is encoded as it is, since
`items` has checked what goes into it. Of an answer of BatchGetItem, what is not read yet is one text, and what has been read is
the reader's.

botocore does the rest as for any other request: credentials, endpoint, signature, time-outs, checks of what arrived, repeats,
errors. So its events are all that is used of it here. A client that a user brings stays as it is, and gives the same.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.config import Config
from msgspec import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_USER_AGENT: Final = "behest-core"
"""botocore's own is longer, and put together for every request, which takes a quarter of a request's time."""

_BODY: Final = "behest_body"

Item = dict[str, dict[str, Any]]
_encode = msgspec.json.Encoder().encode
_parts_of = msgspec.json.Decoder(dict[str, Raw]).decode
_item_of = msgspec.json.Decoder(Item).decode
_raw_items_of = msgspec.json.Decoder(list[Raw]).decode
_raw_tables_of = msgspec.json.Decoder(dict[str, list[Raw]]).decode


class Items:
    """The items of a table that an answer holds. Each is made when it is reached, every time they are gone through."""

    def __init__(self, raw: list[Raw]) -> None:
        self._raw = raw

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Item]:
        return map(_item, self._raw)


def make_client(create: Callable[..., Any], config: Config | None = None) -> DynamoDBClient:
    """Make a client by a session's `client` or `create_client`, with botocore's `config`. It checks no parameters."""
    settings = Config(user_agent=_USER_AGENT).merge(config or Config()).merge(Config(parameter_validation=False))
    client: DynamoDBClient = create("dynamodb", config=settings)
    register: Callable[[str, Callable[..., Any]], None] = client.meta.events.register
    for operation in _OPERATIONS:
        register(f"provide-client-params.dynamodb.{operation}", _encode_request)
        register(f"before-call.dynamodb.{operation}", _put_body)
        register(f"before-parse.dynamodb.{operation}", _take_items)
    return client


def _encode_request(params: dict[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any] | None:
    """Encode a request, and return what botocore finds the endpoint by. Text that is no UTF-8 is left to it, too."""
    try:
        context[_BODY] = _encode(params)
    except UnicodeEncodeError:
        return None
    if "RequestItems" in params:
        return {"RequestItems": {table: {} for table in params["RequestItems"]}}
    return {"TableName": params["TableName"]}


def _put_body(params: dict[str, Any], context: Mapping[str, Any], **_: object) -> None:
    if _BODY in context:
        params["body"] = context[_BODY]


def _take_items(
    operation_model: Any,  # noqa: ANN401 (botocore's)
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: object,
) -> None:
    """Take the items out of an answer before botocore parses it. What is no answer is left to botocore, which says so."""
    if response_dict["status_code"] != 200:
        return
    name, read = _OPERATIONS[operation_model.name]
    try:
        parts = _parts_of(response_dict["body"])
        if name not in parts:
            return
        found = read(parts.pop(name))
    except (msgspec.MsgspecError, ValueError):
        return
    response_dict["body"] = _encode(parts)
    customized_response_dict[name] = found


def _item(raw: Raw) -> Item:
    item: Item = _item_of(raw)
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


def _page(raw: Raw) -> list[Item]:
    return [_item(each) for each in _raw_items_of(raw)]


def _tables(raw: Raw) -> dict[str, Items]:
    return {table: Items(items) for table, items in _raw_tables_of(raw).items()}


_OPERATIONS: Final[Mapping[str, tuple[str, Callable[[Raw], Any]]]] = {
    "PutItem": ("Attributes", _item),
    "DeleteItem": ("Attributes", _item),
    "GetItem": ("Item", _item),
    "Query": ("Items", _page),
    "Scan": ("Items", _page),
    "BatchGetItem": ("Responses", _tables),
}
"""The operations that behest makes, with the part of an answer that holds items, and what reads it."""
