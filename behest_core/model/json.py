"""What a DynamoDB item can hold, and how large it is there.

Limits are AWS's ("Service, account, and table quotas in Amazon DynamoDB"): an item has at most 400 KB, a number 38
significant digits and a magnitude from 1E-130 to 9.99E+125, a value at most 32 levels of nesting. Sizes follow "DynamoDB item
sizes and formats"; where AWS says "approximately", ours is the upper bound.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import inspect
from msgspec.json import decode, encode

from behest_core.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
else:
    JSON = Any

AnyJSON: TypeAlias = Any
"""JSON that whoever reads it looks into, such as ``state.metadata["team"]``: a type checker takes that without a cast."""


class JSONObject:
    """What can be had as a JSON object: a mixin for structs."""

    __slots__ = ()

    def to_dict(self) -> dict[str, AnyJSON]:
        """Return it as a JSON object, of plain Python values."""
        found: dict[str, AnyJSON] = decode(encode(self))
        return found

    def to_json(self) -> str:
        """Return it as JSON text."""
        return encode(self.to_dict()).decode()


_NUMBER_DIGITS: Final = 38
_LONG: Final = 10**_NUMBER_DIGITS  # an int below it needs no second look
_EXACT: Final = Context(prec=5000)
_PLAIN_TYPES: Final = (inspect.StrType, inspect.IntType, inspect.BoolType, inspect.NoneType, inspect.LiteralType)
_NESTING: Final = 30  # of 32: the attribute itself and its map are two levels


def check_storable(value: JSON, path: str) -> None:
    """Raise InvalidValueError, naming the value's place, unless DynamoDB can store the JSON value without loss."""
    if _is_plain(value, 0):
        return
    pending: list[tuple[JSON, str, int]] = [(value, path, 0)]
    while pending:
        item, where, depth = pending.pop()
        if isinstance(item, list | dict):
            if depth >= _NESTING:
                raise InvalidValueError(where, f"nested deeper than {_NESTING} levels")
            pending.extend((child, place, depth + 1) for child, place in _children(item, where))
        else:
            _check_scalar(item, where)


def _is_plain(value: object, depth: int) -> bool:
    """Return whether a value needs no closer look: most don't, and this is several times as fast."""
    if isinstance(value, str):
        return value.isascii()
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -_LONG < value < _LONG
    if depth >= _NESTING:
        return False
    if isinstance(value, dict):
        return all(map(_is_plain_key, value)) and all(_is_plain(child, depth + 1) for child in value.values())
    return isinstance(value, list) and all(_is_plain(child, depth + 1) for child in value)


def _is_plain_key(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and key != ""


def is_plain_type(value_type: Any) -> bool:  # noqa: ANN401 (a type, in any of the forms there are)
    """Return whether what JSON gives for the type can be stored, but for the digits of its numbers and for empty keys.

    Most of a value's type says that already: text that JSON can hold is UTF-8, and a class has a name for each of its fields.
    """
    return _is_plain_type(inspect.type_info(value_type), (), 0)


def _is_plain_type(found: inspect.Type, within: tuple[type, ...], depth: int) -> bool:
    """Return whether a type is plain that lies so deep, within these classes: one that holds itself has no depth."""
    if isinstance(found, _PLAIN_TYPES) or depth >= _NESTING:
        return depth < _NESTING
    if isinstance(found, inspect.UnionType) and len(found.types) == 2 and found.includes_none:
        return all(_is_plain_type(each, within, depth) for each in found.types)
    if isinstance(found, inspect.StructType) and found.cls not in within:
        return all(_is_plain_type(each.type, (*within, found.cls), depth + 1) for each in found.fields)
    if isinstance(found, inspect.ListType):
        return _is_plain_type(found.item_type, within, depth + 1)
    if isinstance(found, inspect.DictType) and isinstance(found.key_type, inspect.StrType):
        return _is_plain_type(found.value_type, within, depth + 1)
    return False


def _children(item: list[JSON] | dict[str, JSON], where: str) -> Iterator[tuple[JSON, str]]:
    if isinstance(item, list):
        yield from ((child, f"{where}[{i}]") for i, child in enumerate(item))
        return
    for key, child in item.items():
        if not isinstance(key, str):
            raise InvalidValueError(where, f"expected text as keys, got {type(key).__name__}")
        if not key:
            raise InvalidValueError(where, "a key is empty; DynamoDB has no empty attribute names")
        _check_text(key, where)
        yield child, f"{where}.{key}"


def _check_scalar(item: JSON, where: str) -> None:
    if item is None or isinstance(item, bool):
        return
    if isinstance(item, str):
        _check_text(item, where)
    elif isinstance(item, float) and not math.isfinite(item):
        raise InvalidValueError(where, f"{item} is not a number that JSON or DynamoDB can hold")
    elif isinstance(item, int | float):
        _check_number(Decimal(item if isinstance(item, int) else repr(item)), where)
    else:
        raise InvalidValueError(where, f"{type(item).__name__} is not JSON; use lists, dicts and text")


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(where, "the text has a lone surrogate, which UTF-8 can't hold") from None


def _check_number(number: Decimal, where: str) -> None:
    digits = number.normalize(_EXACT).as_tuple().digits
    if len(digits) > _NUMBER_DIGITS:
        raise InvalidValueError(
            where, f"a number of {len(digits)} digits; DynamoDB keeps {_NUMBER_DIGITS}, write it as text"
        )
    if number and not -130 <= number.adjusted() <= 125:
        raise InvalidValueError(where, "a number beyond DynamoDB's 1E-130 to 9.99E+125, write it as text")


def as_stored(value: JSON) -> JSON:
    """Return a storable value as it comes back from an item: a number that is whole comes back as an int."""
    if isinstance(value, list):
        return [as_stored(item) for item in value]
    if isinstance(value, dict):
        return {key: as_stored(item) for key, item in value.items()}
    return number_from_text(repr(value)) if isinstance(value, float) else value


def number_from_text(text: str) -> int | float:
    """Return a number as DynamoDB writes it: an int where it is whole, else a float."""
    if text.lstrip("-").isdigit():
        return int(text)
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)
