"""A state as rows that a person reads, and which of them an event changed. Pure.

A row is a value with the names that lead to it. What is in an object or a list stands below it, one level deeper; what lies
deeper than DEEPEST levels is one row of JSON, and more than MOST rows are not shown.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.model.json import JSON
    from behest_core.model.state import RunState

DEEPEST: Final = 8
MOST: Final = 1_000
_LONGEST: Final = 2_000  # characters of a value

Change: TypeAlias = Literal["", "new", "changed", "gone"]
_NOTHING: Final = object()


class Row(Struct, frozen=True):
    """A name with its value as text, None where what it holds stands below it. `was` is the value before, where it changed."""

    depth: int
    name: str
    value: str | None
    change: Change = ""
    was: str | None = None


def as_json(state: RunState | None) -> dict[str, Any]:
    """Return a state as JSON values, slices included; empty where there is none."""
    values: dict[str, Any] = {} if state is None else msgspec.json.decode(msgspec.json.encode(state))
    return values


def told(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Return a value without what says nothing: null, and what is empty, at any depth."""
    if isinstance(value, dict):
        return {name: kept for name, each in value.items() if (kept := told(each)) not in (None, {}, [])}
    return value


def rows(after: JSON, before: Any = _NOTHING) -> list[Row]:  # noqa: ANN401 (JSON, or that nothing is compared)
    """Return the rows of a value; compared with `before`, where that is given, with what is new, changed or gone."""
    compared = after if before is _NOTHING else before
    return list(islice(_below(after, compared, 0), MOST))


def _below(after: Any, before: Any, depth: int) -> Iterator[Row]:  # noqa: ANN401 (JSON)
    now, then = _named(after), _named(before)
    for name in [*now, *(name for name in then if name not in now)]:
        yield from _row(name, now.get(name, _NOTHING), then.get(name, _NOTHING), depth)


def _row(name: str, after: Any, before: Any, depth: int) -> Iterator[Row]:  # noqa: ANN401 (JSON)
    change: Change = (
        "" if after == before else "new" if before is _NOTHING else "gone" if after is _NOTHING else "changed"
    )
    held, held_before = _named(after), _named(before)
    if (held or held_before) and depth < DEEPEST:
        is_other = bool(held) != bool(held_before) and change == "changed"
        yield Row(depth, name, None if held else _text(after), change, _text(before) if is_other else None)
        yield from _below(after if held else {}, before if held_before else {}, depth + 1)
        return
    was = _text(before) if change in {"changed", "gone"} else None
    yield Row(depth, name, _text(after), change, was)


def _named(value: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """Return what a value holds by name, a list's by place; nothing for one that holds none."""
    if isinstance(value, dict):
        return value
    return {str(place): each for place, each in enumerate(value)} if isinstance(value, list) else {}


def _text(value: Any) -> str:  # noqa: ANN401 (JSON)
    if value is _NOTHING:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"
