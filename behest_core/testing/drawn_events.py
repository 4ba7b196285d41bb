"""Draws valid events from a seeded generator, by the types of their fields.

What is drawn is what a plugin may meet: empty text, letters beyond ASCII, optional fields that are missing, clocks that go back.
Fields whose name ends in `id` take few values for a while and then others, so that events refer to each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import inspect

from behest_core.model.events import ToolExecutionResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from behest_core.model.events import Event
    from behest_core.model.json import JSON

_TEXTS: Final = ("", "a", "two words", "Zoë", "日本", "line\nbreak", "x" * 60)
_WHOLE: Final = (0, 1, 2, 7, 100, 12_345)
_ID_LASTS: Final = 6  # so many events, then another id comes up
_IDS_AT_ONCE: Final = 3
_PRESENT: Final = 0.7


class CantDrawError(Exception):
    """A field has a type of which no value can be made up."""


class DrawnEvents:
    """Events of some classes, each log another one. `samples` are given events by type, as JSON objects: drawn too."""

    def __init__(
        self,
        random: Random,
        classes: Mapping[str, type[Event]],
        favourites: Sequence[str],
        samples: Mapping[str, Sequence[bytes]],
    ) -> None:
        self._random = random
        self._types = {name: inspect.type_info(each) for name, each in classes.items()}
        self._names = list(classes)
        self._favourites = list(favourites) or self._names
        self._samples = samples
        self._count = 0

    def log(self, size: int) -> list[bytes]:
        """Draw a log of so many events, half of them favourites, as JSON objects. Raises CantDrawError."""
        names = (self._names, self._favourites)
        return [self.event(self._random.choice(self._random.choice(names))) for _ in range(size)]

    def event(self, name: str) -> bytes:
        """Draw an event of a type: one of the samples, or made up. Raises CantDrawError where neither is there."""
        self._count += 1
        samples = self._samples.get(name, ())
        if samples and self._random.random() < 1 - _PRESENT:
            return self._random.choice(samples)
        info = self._types[name]
        try:
            fields = self._fields(info.fields)  # type: ignore[attr-defined]  # it is a struct's
        except CantDrawError as error:
            if samples:
                return self._random.choice(samples)
            raise CantDrawError(f"{name}: {error}; give `events` an example of it") from error
        return msgspec.json.encode({"type": name, **fields, "timestamp": self._time()})

    def _time(self) -> str:
        second = max(self._count + self._random.choice((0, 0, 0, 0, -3)), 0)
        fraction = self._random.choice(("", "", ".5", ".123456789"))
        return f"2026-01-31T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}{fraction}Z"

    def _fields(self, fields: Sequence[inspect.Field]) -> dict[str, JSON]:
        return {
            field.encode_name: self._value(field.type, field.encode_name)
            for field in fields
            if field.required or self._random.random() < _PRESENT
        }

    def _value(self, of: inspect.Type, name: str = "") -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912 (one case for each type)
        match of:
            case inspect.NoneType():
                return None
            case inspect.BoolType():
                return self._random.random() < 1 / 2
            case inspect.IntType() | inspect.FloatType():
                return self._number(of)
            case inspect.StrType():
                return self._text(of, name)
            case inspect.AnyType():
                return self._random.choice((None, True, 1, 0.5, "Zoë", [1, {"a": None}], {"b": "c"}, {}))
            case inspect.EnumType():
                return self._random.choice([each.value for each in of.cls])
            case inspect.LiteralType():
                return self._random.choice(of.values)
            case inspect.UnionType():
                return self._value(self._random.choice(of.types), name)
            case inspect.Metadata():
                return self._value(of.type, name)
            case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType():
                size = max(self._random.randrange(4), of.min_length or 0)
                return [self._value(of.item_type, name) for _ in range(size)]
            case inspect.TupleType():
                return [self._value(each, name) for each in of.item_types]
            case inspect.DictType():
                keys = {str(self._value(of.key_type)) or "key" for _ in range(self._random.randrange(3))}
                return {key: self._value(of.value_type) for key in sorted(keys)}
            case inspect.StructType() if of.cls is ToolExecutionResult:
                return self._random.choice(({"Success": {"output": "done"}}, {"Failure": {"error": "Zoë"}}))
            case inspect.StructType() if not of.array_like:
                tag = {str(of.tag_field): of.tag} if of.tag_field else {}
                return {**tag, **self._fields(of.fields)}
            case inspect.DataclassType() | inspect.TypedDictType():
                return self._fields(of.fields)
            case inspect.DateTimeType():
                return self._time()
            case inspect.DateType():
                return "2026-01-31"
            case inspect.UUIDType():
                return f"00000000-0000-4000-8000-{self._random.randrange(9):012}"
            case inspect.DecimalType():
                return self._random.choice(("0", "0.5", "12.25"))
            case _:
                raise CantDrawError(f"a value of {type(of).__name__.removesuffix('Type')} can't be made up")

    def _number(self, of: inspect.IntType | inspect.FloatType) -> float:
        lowest = of.ge if of.ge is not None else of.gt + 1 if of.gt is not None else None
        highest = of.le if of.le is not None else of.lt - 1 if of.lt is not None else None
        number: float = self._random.choice(_WHOLE)
        if of.multiple_of is not None:
            number *= of.multiple_of
        elif isinstance(of, inspect.FloatType):
            number += self._random.choice((0, 0.5, 0.1))
        if lowest is not None:
            number = max(number, lowest)
        return number if highest is None else min(number, highest)

    def _text(self, of: inspect.StrType, name: str) -> str:
        if of.pattern is not None:
            raise CantDrawError(f"text of the pattern {of.pattern} can't be made up")
        text = self._random.choice(_TEXTS)
        if name.lower().endswith("id"):
            text = f"{name}-{self._count // _ID_LASTS + self._random.randrange(_IDS_AT_ONCE)}"
        return text.ljust(of.min_length or 0, "x")[: of.max_length]
