"""Requests as DynamoDB checks them before it looks at any item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.contract.fake.attributes import InvalidAttributeError, copied, stored_item
from tests.contract.fake.expressions import (
    Expression,
    InvalidExpressionError,
    check_placeholders,
    name_of,
    parse_condition,
    parse_projection,
)
from tests.contract.fake.faults import UnsupportedRequestError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.contract.fake.table import KeySchema

    Item = dict[str, Any]

_EXPRESSIONS: Final = {"ExpressionAttributeNames", "ExpressionAttributeValues"}
_WRITE: Final = _EXPRESSIONS | {"TableName", "ConditionExpression", "ReturnValuesOnConditionCheckFailure"}
_READ: Final = _EXPRESSIONS | {"TableName", "ConsistentRead", "ProjectionExpression"}
_PAGE: Final = _READ | {"IndexName", "Limit", "ExclusiveStartKey"}
_PARAMETERS: Final = {
    "PutItem": _WRITE | {"Item"},
    "DeleteItem": _WRITE | {"Key"},
    "GetItem": _READ | {"Key"},
    "BatchGetItem": {"RequestItems"},
    "Query": _PAGE | {"KeyConditionExpression", "ScanIndexForward"},
    "Scan": _PAGE,
    "DescribeTable": {"TableName"},
}


def check_parameters(operation: str, request: Mapping[str, Any]) -> None:
    if unknown := request.keys() - _PARAMETERS[operation]:
        raise UnsupportedRequestError(f"{operation} with {sorted(unknown)}")


def key_of(operation: str, schema: KeySchema, key: Item) -> Item:
    if key.keys() != set(schema.names):
        raise invalid(operation, "The provided key element does not match the schema")
    try:
        stored, _ = stored_item(key)
        schema.check(stored)
    except InvalidAttributeError as error:
        raise invalid(operation, str(error)) from None
    return stored


def expressions_of(operation: str, request: Mapping[str, Any], *names: str) -> list[Expression | None]:
    """Return a request's expressions of these names, parsed, None where it has none."""
    parsed = []
    for name in names:
        parse = parse_projection if name == "ProjectionExpression" else parse_condition
        try:
            parsed.append(parse(request[name]) if name in request else None)
        except InvalidExpressionError as error:
            raise invalid(operation, f"Invalid {name}: {error}") from None
    try:
        check_placeholders(request, *parsed)
    except InvalidExpressionError as error:
        raise invalid(operation, str(error)) from None
    return parsed


def projected(item: Item, projection: Expression | None, request: Mapping[str, Any]) -> Item:
    if projection is None:
        return copied(item)
    wanted = {name_of(each, request) for each in projection.root}
    return copied({name: value for name, value in item.items() if name in wanted})
