"""What is too long for the log is split, or cut; what is cut says so.

- TextDelta and ToolCallDelta are pieces already: one that fits no item is several of its type.
- Of any other value that is too large its beginning and its size are kept: ``{"cut": "…", "bytes": 500002}``. What has to stay a
  text keeps its beginning, and says so in a remark: ``… (cut, of 500000 bytes)``.
- A tool's arguments, output and error are cut where they are beyond `cut_at`. What reaches the state item is cut at
  STATE_TEXT_BYTES. Of an event that fits no item, and of metadata, the largest fields are cut, as far as they have to be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from behest_core.model.events import EncodedEvent
from behest_core.model.limits import EVENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from behest_core.model.events import Event
    from behest_core.model.json import JSON

STATE_TEXT_BYTES: Final = 10_000
"""The most that a text has which the fold copies into the state: a provider, a model, a finish reason, an error."""

_EVENT_LIMIT: Final = EVENT_BYTES - 2
_LEAST: Final = 64
"""What is always left of a value that is cut, in bytes of JSON."""

_Cut = Callable[[Any, int], Any]

_PIECES: Final = frozenset({"TextDelta", "ToolCallDelta"})

_write = msgspec.json.Encoder().encode


def cut_value(value: JSON, limit: int) -> JSON:
    """Return the value, or its beginning and its size where it is larger than so many bytes of JSON."""
    encoded = _write(value)
    if len(encoded) <= limit:
        return value
    return {"cut": encoded[:limit].decode(errors="ignore"), "bytes": len(encoded)}


def cut_text(text: JSON, limit: int) -> JSON:
    """Return the text, or its beginning and a remark, together within so many bytes; what is no text stays as it is."""
    encoded = text.encode() if isinstance(text, str) else b""
    if len(encoded) <= limit:
        return text
    remark = f" (cut, of {len(encoded)} bytes)"
    return encoded[: max(0, limit - len(remark))].decode(errors="ignore") + remark


def _cut_field(value: JSON, limit: int) -> JSON:
    return cut_text(value, limit) if isinstance(value, str) else cut_value(value, limit)


class Place:
    """Where a value is that may be cut, and how; however often it is cut, it is cut from what it was."""

    def __init__(self, holder: Any, key: str | int, how: _Cut = _cut_field) -> None:  # noqa: ANN401 (a list or a dict)
        self.key = key
        self._holder = holder
        self._how = how
        self._value = holder[key]

    def cut(self, limit: int) -> None:
        """Cut the value where it is beyond so many bytes."""
        self._holder[self.key] = self._how(self._value, limit)

    @property
    def size(self) -> int:
        """The bytes of JSON of what is there now."""
        return _size(self._holder[self.key])


class _Bound(NamedTuple):
    """A value of an event that may be large: its path, with ``*`` for each of a list, how it is cut, and where."""

    path: tuple[str, ...]
    cut: _Cut
    limit: Literal["tools", "state", "item"]


_BOUNDED: Final[dict[str, tuple[_Bound, ...]]] = {
    "ToolCallCompleted": (_Bound(("call", "arguments"), cut_value, "tools"),),
    "ToolExecutionFinished": (
        _Bound(("result", "Success", "output"), cut_value, "tools"),
        _Bound(("result", "Failure", "error"), cut_text, "tools"),
    ),
    "RunStarted": (_Bound(("provider",), cut_text, "state"), _Bound(("model",), cut_text, "state")),
    "RunCompleted": (
        _Bound(("finish_reason",), cut_text, "state"),
        _Bound(("finish_reason", "unknown"), cut_text, "state"),
    ),
    "RunFailed": (_Bound(("error",), cut_text, "state"),),
    "agent.ModelRequested": (_Bound(("messages", "*"), cut_value, "item"),),
    "agent.ModelFinished": (_Bound(("tool_calls", "*", "arguments"), cut_value, "tools"),),
}


def needs_a_look_from(cut_at: int | None) -> int:
    """Return the bytes of JSON up to which an event has nothing that is split or cut."""
    return min(STATE_TEXT_BYTES, _EVENT_LIMIT if cut_at is None else cut_at)


def _limits_of(kind: str, cut_at: int | None) -> dict[_Bound, int | None]:
    """Return at how many bytes each large value of a type is cut; None where only the item bounds it."""
    limits = {"tools": cut_at, "state": STATE_TEXT_BYTES, "item": None}
    return {bound: limits[bound.limit] for bound in _BOUNDED.get(kind, ())}


def is_readable(event: EncodedEvent, event_class: type[Event]) -> bool:
    """Return whether what has become of an event is still one of its class."""
    try:
        msgspec.json.decode(event.raw, type=event_class)
    except msgspec.ValidationError:
        return False
    return True


def fitted(event: EncodedEvent, cut_at: int | None) -> Sequence[EncodedEvent]:
    """Return the event, cut to its limits, or in pieces: each fits an item.

    Of an event that is large by more than what can be cut as much is left as there is: it fits no item.
    """
    limits = _limits_of(event.type, cut_at)
    if len(event.raw) <= min([_EVENT_LIMIT, *(limit for limit in limits.values() if limit is not None)]):
        return (event,)
    fields = msgspec.json.decode(event.raw)
    bounded = [(place, limit) for bound, limit in limits.items() for place in _places(fields, bound.path, bound.cut)]
    for place, limit in bounded:
        if limit is not None:
            place.cut(limit)
    if event.type in _PIECES and _size({**fields, "delta": ""}) <= _EVENT_LIMIT // 2:
        return list(_pieces(event.type, fields))
    kept = {"type", "timestamp", *(bound.path[0] for bound in limits)}
    others = [Place(fields, name) for name in fields if name not in kept]
    shorten([*(place for place, _ in bounded), *others], lambda: _size(fields), _EVENT_LIMIT)
    return (EncodedEvent(event.type, _write(fields)),)


def _places(holder: Any, path: tuple[str, ...], cut: _Cut) -> Iterator[Place]:  # noqa: ANN401 (a part of an event)
    """Return the places that a path leads to."""
    name, *rest = path
    keys: Iterable[str | int] = range(len(holder)) if name == "*" and isinstance(holder, list) else [name]
    for key in keys:
        if isinstance(key, str) and not (isinstance(holder, dict) and key in holder):
            continue
        if rest:
            yield from _places(holder[key], tuple(rest), cut)
        else:
            yield Place(holder, key, cut)


def _pieces(kind: str, fields: dict[str, Any]) -> Iterator[EncodedEvent]:
    raw, text = _write(fields), fields["delta"]
    if len(raw) <= _EVENT_LIMIT:
        yield EncodedEvent(kind, raw)
        return
    half = len(text) // 2
    for piece in (text[:half], text[half:]):
        yield from _pieces(kind, {**fields, "delta": piece})


def shorten(places: Iterable[Place], size: Callable[[], int], limit: int) -> list[str | int]:
    """Cut the largest of the values, and the next largest, until the whole is within the limit; return the keys of those.

    What is cut is escaped once more where it was no text, so that how much has to go is found by trying.
    """
    shortened: list[str | int] = []
    for place in sorted(places, key=lambda each: -each.size):
        excess, room = size() - limit, place.size
        if excess <= 0 or room <= 2 * _LEAST:
            break
        shortened.append(place.key)
        while excess > 0 and room > _LEAST:
            room = max(_LEAST, (room - excess) * 7 // 8)
            place.cut(room)
            excess = size() - limit
    return shortened


def _size(value: JSON) -> int:
    return len(_write(value))
