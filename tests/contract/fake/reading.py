"""What a Query or a Scan reads: of which place, between which keys, and how much of it in one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.contract.fake.attributes import sort_value
from tests.contract.fake.expressions import Expression, Name, Node, Value, name_of
from tests.contract.fake.faults import UnsupportedRequestError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.contract.fake.table import FakeTable, Index, KeySchema, Partition, Stored

    Item = dict[str, Any]

PAGE_BYTES: Final = 1024 * 1024
"""The most that one Query or Scan reads (API reference)."""


def place_of(operation: str, table: FakeTable, request: Mapping[str, Any]) -> FakeTable | Index:
    """Return what is to be read: the table or one of its indexes."""
    index = request.get("IndexName")
    if index is None:
        return table
    if index not in table.indexes:
        raise invalid(operation, f"The table does not have the specified index: {index}")
    if request.get("ConsistentRead"):
        raise invalid(operation, "Consistent reads are not supported on global secondary indexes")
    return table.index(index)


Bound = tuple[Any, bool]


def key_span(
    schema: KeySchema, condition: Expression | None, request: Mapping[str, Any]
) -> tuple[Any, Bound | None, Bound | None]:
    """Return the hash key, and the bounds of the range key."""
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


def positions_behind(partition: Partition, positions: range, start: tuple[Any, str]) -> range:
    """Return the positions that a page beginning behind the start key may hold; the item of that key may be gone."""
    keys = partition.keys
    skipped = 0
    for at in positions:
        if (keys[at] <= start) if positions.step > 0 else (keys[at] >= start):
            skipped += 1
        else:
            break
    return positions[skipped:]


def page_of(found: Iterable[Stored], limit: int | None) -> tuple[list[Stored], bool]:
    """Return a page, and whether it was cut: at the limit, also where nothing is left behind it, or at 1 MB."""
    page: list[Stored] = []
    size = 0
    for stored in found:
        size += stored.size
        if page and size > PAGE_BYTES:
            return page, True
        page.append(stored)
        if len(page) == limit:
            return page, True
    return page, False
