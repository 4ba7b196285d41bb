"""What a DynamoDB item can hold, and how large it is there.

Limits are AWS's ("Service, account, and table quotas in Amazon DynamoDB"): an item has at most 400 KB, a number 38
significant digits and a magnitude from 1E-130 to 9.99E+125, a value at most 32 levels of nesting. Sizes follow "DynamoDB item
sizes and formats"; where AWS says "approximately", ours is the upper bound.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, Final

from msgspec import inspect

from behest_core.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[[Any], bool]
    JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
else:
    JSON = Any


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


def plain_check(value_type: Any) -> Check:  # noqa: ANN401 (a type, in any of the forms there are)
    """Return a function that says of values of the type whether they need no closer look, but for the digits of their numbers.

    Most of a value's type says that already: text that JSON can hold is UTF-8, and a class has a name for each of its fields.
    """
    return _plain_check(inspect.type_info(value_type), ()) or (lambda _: True)


def _plain_check(found: inspect.Type, within: tuple[inspect.Type, ...]) -> Check | None:
    """Return the check of a type that lies within others, None where it needs none."""
    if isinstance(found, _PLAIN_TYPES):
        return None
    if isinstance(found, inspect.StructType) and found not in within:
        checks = [_field_check(each.name, _plain_check(each.type, (*within, found))) for each in found.fields]
        return _every([check for check in checks if check is not None])
    if isinstance(found, inspect.ListType):
        item = _plain_check(found.item_type, within)
        return None if item is None else lambda value: all(map(item, value))
    if isinstance(found, inspect.DictType) and isinstance(found.key_type, inspect.StrType):
        entry = _plain_check(found.value_type, within)
        return lambda value: "" not in value and (entry is None or all(map(entry, value.values())))
    if isinstance(found, inspect.UnionType) and len(found.types) == 2 and found.includes_none:
        checks = [_plain_check(each, within) for each in found.types]
        given = _every([check for check in checks if check is not None])
        return None if given is None else lambda value: value is None or given(value)
    return lambda _: False


def _field_check(name: str, check: Check | None) -> Check | None:
    return None if check is None else lambda value: check(getattr(value, name))


def _every(checks: list[Check]) -> Check | None:
    if len(checks) < 2:
        return checks[0] if checks else None
    return lambda value: all(check(value) for check in checks)


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
