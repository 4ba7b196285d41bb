"""Attribute values as DynamoDB keeps them: checked, brought into its own form, and measured.

From the DynamoDB developer guide, "Item sizes and formats" and "Constraints": a number has 38 significant digits and comes back
without leading or trailing zeros and without exponent; values nest up to 32 levels; an item has 400 KB, names included.
"""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.contract.fake.faults import UnsupportedRequestError

ITEM_BYTES = 400 * 1024
NESTING = 32


class InvalidAttributeError(Exception):
    """DynamoDB refuses the value. The text is its message."""


def stored_item(item: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return a copy of the item as DynamoDB keeps it, and its size in bytes."""
    stored, size = {}, 0
    for name, attribute in item.items():
        if not name:
            raise InvalidAttributeError("Empty attribute name")
        stored[name], inner = stored_value(attribute)
        size += len(name.encode()) + inner
    if size > ITEM_BYTES:
        raise InvalidAttributeError("Item size has exceeded the maximum allowed size")
    return stored, size


def stored_value(attribute: dict[str, Any], depth: int = 1) -> tuple[dict[str, Any], int]:
    """Return a copy of one value as DynamoDB keeps it, and its size in bytes."""
    try:
        [(kind, value)] = attribute.items()
    except ValueError:
        message = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
        raise InvalidAttributeError(message) from None
    if kind == "S":
        return {"S": value}, len(value.encode())
    if kind == "N":
        number = normal_number(value)
        return {"N": number}, len(number.strip("-0.")) // 2 + 2
    if kind == "B":
        return {"B": bytes(value)}, len(value)
    if kind in {"BOOL", "NULL"}:
        return {kind: value}, 1
    if kind in {"M", "L"}:
        return _stored_container(kind, value, depth)
    raise UnsupportedRequestError(f"a value of type {kind}")


def _stored_container(kind: str, value: Any, depth: int) -> tuple[dict[str, Any], int]:
    if depth > NESTING:
        raise InvalidAttributeError("Nesting Levels have exceeded supported limits")
    size = 3 + len(value)
    if kind == "L":
        inner = [stored_value(each, depth + 1) for each in value]
        return {"L": [each for each, _ in inner]}, size + sum(each for _, each in inner)
    stored = {}
    for name, each in value.items():
        stored[name], more = stored_value(each, depth + 1)
        size += len(name.encode()) + more
    return {"M": stored}, size


def normal_number(text: str) -> str:
    """Return a number's text as DynamoDB gives it back."""
    if text.isdigit() and text.isascii() and len(text) <= 38 and (text[0] != "0" or len(text) == 1):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidAttributeError("The parameter cannot be converted to a numeric value: " + text) from None
    if not number.is_finite():
        raise InvalidAttributeError("The parameter cannot be converted to a numeric value: " + text)
    digits = number.as_tuple().digits
    significant = len("".join(map(str, digits)).strip("0"))
    if significant > 38:
        raise InvalidAttributeError("Attempting to store more than 38 significant digits in a Number")
    if number and not -130 <= number.adjusted() <= 125:
        beyond = "overflow. Attempting to store a number with magnitude larger than supported range"
        raise InvalidAttributeError(
            "Number " + (beyond if number.adjusted() > 0 else beyond.replace("larger", "smaller"))
        )
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if not number else plain


def sort_value(attribute: dict[str, Any]) -> Any:
    """Return what a key's value is sorted by. Code points sort as UTF-8 does."""
    if "N" in attribute:
        text = attribute["N"]
        return int(text) if text.isdigit() else Decimal(text)
    return attribute["S"]


def copied(item: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that shares nothing with the item that can be changed."""
    return {name: _copied(attribute) for name, attribute in item.items()}


def _copied(attribute: dict[str, Any]) -> dict[str, Any]:
    if "M" in attribute:
        return {"M": copied(attribute["M"])}
    if "L" in attribute:
        return {"L": [_copied(each) for each in attribute["L"]]}
    return attribute.copy()


def as_delivered(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as a stream's record brings it to a function: binary values as base64 text. Shares what holds none."""
    return {name: _as_delivered(attribute) for name, attribute in item.items()}


def _as_delivered(attribute: dict[str, Any]) -> dict[str, Any]:
    if "B" in attribute:
        return {"B": b64encode(attribute["B"]).decode()}
    if "M" in attribute:
        return {"M": as_delivered(attribute["M"])}
    if "L" in attribute:
        return {"L": [_as_delivered(each) for each in attribute["L"]]}
    return attribute
