"""A DynamoDB in memory: the calls of boto3's low-level client that behest makes, and only those.

Pure Python, deterministic, and fast: some microseconds a call. It keeps DynamoDB's rules as far as behest can meet them; what
behest doesn't do is refused with UnsupportedRequestError. That it can be believed is what the contract suite is for
(tests/contract/behaviours.py), which moto and a deployed emulator pass too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.contract.fake.attributes import InvalidAttributeError, copied, sort_value, stored_item
from tests.contract.fake.expressions import (
    Expression,
    InvalidExpressionError,
    Name,
    Node,
    Value,
    check_placeholders,
    holds,
    name_of,
    parse_condition,
    parse_projection,
)
from tests.contract.fake.faults import UnsupportedRequestError, client_error, invalid
from tests.contract.fake.table import FakeTable, KeySchema, Partition, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.contract.fake.table import StreamSink

    Item = dict[str, Any]

PAGE_BYTES: Final = 1024 * 1024
"""The most that one Query reads (API reference, Query)."""

BATCH_KEYS: Final = 100
"""The most that one BatchGetItem takes (API reference, BatchGetItem)."""

_EXPRESSIONS: Final = {"ExpressionAttributeNames", "ExpressionAttributeValues"}
_PARAMETERS: Final = {
    "PutItem": _EXPRESSIONS | {"TableName", "Item", "ConditionExpression", "ReturnValuesOnConditionCheckFailure"},
    "DeleteItem": _EXPRESSIONS | {"TableName", "Key", "ConditionExpression", "ReturnValuesOnConditionCheckFailure"},
    "GetItem": _EXPRESSIONS | {"TableName", "Key", "ConsistentRead", "ProjectionExpression"},
    "BatchGetItem": {"RequestItems"},
    "Query": _EXPRESSIONS
    | {"TableName", "IndexName", "ConsistentRead", "ScanIndexForward", "KeyConditionExpression", "ProjectionExpression"}
    | {"Limit", "ExclusiveStartKey"},
    "DescribeTable": {"TableName"},
}


class FakeDynamoDB:
    """The fake's client.

    `definitions` are create_table's arguments, as `Template().tables()` has them; `streams` take the records of the tables
    named. `clock` and `lag` say how far indexes are behind (none by default), `served` how many of the keys of a BatchGetItem
    get an answer (all by default): the others are left unprocessed.
    """

    def __init__(
        self,
        definitions: Iterable[Mapping[str, Any]],
        streams: Mapping[str, StreamSink] | None = None,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        lag: Callable[[], float] = lambda: 0.0,
        served: Callable[[int], int] = lambda keys: keys,
    ) -> None:
        streams = streams or {}
        made = [FakeTable(each, streams.get(each["TableName"]), clock=clock, lag=lag) for each in definitions]
        self.tables = {table.name: table for table in made}
        self._served = served

    # ------------------------------------------------------------ writing

    def put_item(self, **request: Any) -> dict[str, Any]:
        """Write an item if the condition, where there is one, holds for what is there."""
        table = self._table("PutItem", request)
        try:
            item, size = stored_item(request["Item"])
            table.schema.check(item)
            for index in table.indexes.values():
                index.schema.check(item, index=index.name)
        except InvalidAttributeError as error:
            raise invalid("PutItem", str(error)) from None
        self._check_condition("PutItem", table, item, request)
        table.put(Stored(item, size))
        return _answer()

    def delete_item(self, **request: Any) -> dict[str, Any]:
        """Delete an item, if there is one."""
        table = self._table("DeleteItem", request)
        key = _key("DeleteItem", table.schema, request["Key"])
        self._check_condition("DeleteItem", table, key, request)
        table.remove(key)
        return _answer()

    def _check_condition(self, operation: str, table: FakeTable, key: Item, request: Mapping[str, Any]) -> None:
        condition = _parsed(operation, request, "ConditionExpression")
        _check_placeholders(operation, request, condition)
        if condition is None:
            return
        found = table.get(key)
        if not holds(condition.root, found.item if found else None, request):
            wanted = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            item = copied(found.item) if found and wanted else None
            raise client_error(operation, "ConditionalCheckFailedException", "The conditional request failed", item)

    # ------------------------------------------------------------ reading

    def get_item(self, **request: Any) -> dict[str, Any]:
        """Read an item, consistently whether asked to or not."""
        table = self._table("GetItem", request)
        projection = _parsed("GetItem", request, "ProjectionExpression")
        _check_placeholders("GetItem", request, projection)
        found = table.get(_key("GetItem", table.schema, request["Key"]))
        return _answer() if found is None else _answer(Item=_projected(found.item, projection, request))

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """Read items by key, in no order."""
        _check_parameters("BatchGetItem", request)
        [(name, wanted)] = request["RequestItems"].items()
        if wanted.keys() - {"Keys", "ConsistentRead"}:
            raise UnsupportedRequestError(f"BatchGetItem with {sorted(wanted)}")
        table = self._named("BatchGetItem", name)
        keys = [_key("BatchGetItem", table.schema, key) for key in wanted["Keys"]]
        if not 1 <= len(keys) <= BATCH_KEYS:
            raise invalid("BatchGetItem", "Too many items requested for the BatchGetItem call")
        if len({str(key) for key in keys}) < len(keys):
            raise invalid("BatchGetItem", "Provided list of item keys contains duplicates")
        served = self._served(len(keys))
        found = [table.get(key) for key in reversed(keys[:served])]
        unread = {name: {**wanted, "Keys": keys[served:]}} if served < len(keys) else {}
        return _answer(Responses={name: [copied(each.item) for each in found if each]}, UnprocessedKeys=unread)

    def query(self, **request: Any) -> dict[str, Any]:
        """Read a page of one partition, of the table or of an index."""
        table = self._table("Query", request)
        index = request.get("IndexName")
        if index is not None and index not in table.indexes:
            raise invalid("Query", f"The table does not have the specified index: {index}")
        if index is not None and request.get("ConsistentRead"):
            raise invalid("Query", "Consistent reads are not supported on global secondary indexes")
        condition = _parsed("Query", request, "KeyConditionExpression")
        projection = _parsed("Query", request, "ProjectionExpression")
        _check_placeholders("Query", request, condition, projection)
        place = table.index(index) if index else table
        hash_key, low, high = _key_span(place.schema, condition, request)
        partition = place.partitions.get(hash_key, Partition())
        positions = range(*partition.span(low, high))
        if not request.get("ScanIndexForward", True):
            positions = positions[::-1]
        if "ExclusiveStartKey" in request:
            positions = _behind(partition, positions, _start(table, index, request["ExclusiveStartKey"]))
        page, is_cut = _page(partition, positions, request.get("Limit"))
        items = [_projected(each.item, projection, request) for each in page]
        answer = _answer(Items=items, Count=len(page), ScannedCount=len(page))
        if is_cut:
            names = dict.fromkeys([*table.schema.names, *place.schema.names])
            answer["LastEvaluatedKey"] = {name: dict(page[-1].item[name]) for name in names}
        return answer

    def describe_table(self, **request: Any) -> dict[str, Any]:
        """Tell that a table is active."""
        table = self._table("DescribeTable", request)
        return _answer(Table={"TableName": table.name, "TableStatus": "ACTIVE"})

    def _table(self, operation: str, request: Mapping[str, Any]) -> FakeTable:
        _check_parameters(operation, request)
        return self._named(operation, request["TableName"])

    def _named(self, operation: str, name: str) -> FakeTable:
        if name not in self.tables:
            raise client_error(operation, "ResourceNotFoundException", "Requested resource not found")
        return self.tables[name]


def _check_parameters(operation: str, request: Mapping[str, Any]) -> None:
    if unknown := request.keys() - _PARAMETERS[operation]:
        raise UnsupportedRequestError(f"{operation} with {sorted(unknown)}")


def _answer(**fields: Any) -> dict[str, Any]:
    return {**fields, "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}


def _key(operation: str, schema: KeySchema, key: Item) -> Item:
    if key.keys() != set(schema.names):
        raise invalid(operation, "The provided key element does not match the schema")
    try:
        stored, _ = stored_item(key)
        schema.check(stored)
    except InvalidAttributeError as error:
        raise invalid(operation, str(error)) from None
    return stored


def _parsed(operation: str, request: Mapping[str, Any], name: str) -> Expression | None:
    if name not in request:
        return None
    try:
        return (parse_projection if name == "ProjectionExpression" else parse_condition)(request[name])
    except InvalidExpressionError as error:
        raise invalid(operation, f"Invalid {name}: {error}") from None


def _check_placeholders(operation: str, request: Mapping[str, Any], *expressions: Expression | None) -> None:
    try:
        check_placeholders(request, *expressions)
    except InvalidExpressionError as error:
        raise invalid(operation, str(error)) from None


def _projected(item: Item, projection: Expression | None, request: Mapping[str, Any]) -> Item:
    if projection is None:
        return copied(item)
    wanted = {name_of(each, request) for each in projection.root}
    return copied({name: value for name, value in item.items() if name in wanted})


Bound = tuple[Any, bool]


def _key_span(
    schema: KeySchema, condition: Expression | None, request: Mapping[str, Any]
) -> tuple[Any, Bound | None, Bound | None]:
    """Give the hash key, and the bounds of the range key."""
    if condition is None:
        raise invalid(
            "Query", "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    root = condition.root
    parts = root.operands if root.operator == "AND" else (root,)
    by_name: dict[str, Node] = {}
    for part in parts:
        if not isinstance(part, Node) or not part.operands or not isinstance(part.operands[0], Name):
            raise UnsupportedRequestError(f"key condition {request['KeyConditionExpression']!r}")
        by_name[name_of(part.operands[0], request)] = part
    own = by_name.pop(schema.hash, None)
    bounds = by_name.pop(schema.range, None) if schema.range else None
    if own is None or own.operator != "=" or by_name or len(parts) > 2:
        raise invalid("Query", f"Query condition missed key schema element: {schema.hash}")
    low, high = _bounds(bounds, request)
    return sort_value(_operand(own.operands[1], request)), low, high


def _bounds(node: Node | None, request: Mapping[str, Any]) -> tuple[Bound | None, Bound | None]:
    if node is None:
        return None, None
    values = [sort_value(_operand(each, request)) for each in node.operands[1:]]
    match node.operator:
        case "=":
            return (values[0], True), (values[0], True)
        case "<" | "<=":
            return None, (values[0], node.operator == "<=")
        case ">" | ">=":
            return (values[0], node.operator == ">="), None
        case "BETWEEN":
            return (values[0], True), (values[1], True)
    raise invalid("Query", f"Invalid operator used in KeyConditionExpression: {node.operator}")


def _operand(operand: Any, request: Mapping[str, Any]) -> Item:
    if not isinstance(operand, Value):
        raise UnsupportedRequestError(f"key condition {request['KeyConditionExpression']!r}")
    return request["ExpressionAttributeValues"][operand.text]


def _start(table: FakeTable, index: str | None, key: Item) -> tuple[Any, str]:
    if index is None:
        return table.schema.sort_key(key), ""
    return table.indexes[index].key(key)


def _behind(partition: Partition, positions: range, start: tuple[Any, str]) -> range:
    """Give the positions that a page beginning behind the start key may hold; the item of that key may be gone."""
    keys = partition.keys
    skipped = 0
    for at in positions:
        if (keys[at] <= start) if positions.step > 0 else (keys[at] >= start):
            skipped += 1
        else:
            break
    return positions[skipped:]


def _page(partition: Partition, positions: range, limit: int | None) -> tuple[list[Stored], bool]:
    """Give a page, and whether it was cut: at the limit, also where nothing is left behind it, or at 1 MB."""
    page: list[Stored] = []
    size = 0
    for at in positions:
        stored = partition.items[at]
        size += stored.size
        if page and size > PAGE_BYTES:
            return page, True
        page.append(stored)
        if len(page) == limit:
            return page, True
    return page, False
