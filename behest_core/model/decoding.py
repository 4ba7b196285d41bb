"""Events from JSON and to JSON: a commit's array in one call where that goes, one event by itself, cut but not decoded.

Lenient in, exact out: fields that a class doesn't name are ignored, a type that no class names becomes an `UnknownEvent`.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, Union

import msgspec
from msgspec import Raw, Struct

from behest_core.errors import InvalidValueError
from behest_core.model.agent_events import CORE_EVENTS
from behest_core.model.events import AnyEvent, EncodedEvent, Event, NewEvent, Timed, UnknownEvent, type_name
from behest_core.model.limits import Identifier
from behest_core.model.nesting import NESTING, nests_too_deep
from behest_core.model.timestamps import Timestamp, to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from behest_core.model.json import JSON

Decoded = TypeVar("Decoded")


class _Head(Struct, gc=False):
    """What every event has, whatever its type."""

    type: Identifier
    timestamp: Timestamp


# msgspec's own errors, and what it lets through: bytes that are no UTF-8, nesting beyond the interpreter's stack
DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


_decode_head = msgspec.json.Decoder(_Head).decode


_split = msgspec.json.Decoder(list[Raw]).decode
_write = msgspec.json.Encoder().encode


class EventDecoder:
    """Decodes events into instances of the given classes, and into UnknownEvent where none of them names the type."""

    def __init__(self, classes: Iterable[type[Event]]) -> None:
        by_type = {type_name(event_class): event_class for event_class in classes}
        self._known = frozenset(by_type)
        union: Any = Union[tuple(by_type.values())]  # noqa: UP007 (made at run time)
        self._decode_one = msgspec.json.Decoder(union).decode

    def decode_one(self, event: bytes | Raw) -> AnyEvent:
        """Decode one event's JSON object. Raises one of DECODE_ERRORS."""
        head = _decode_head(event)
        if head.type in self._known:
            decoded: Event = self._decode_one(event)
            return decoded
        return UnknownEvent(head.type, head.timestamp, bytes(event))


class CommitDecoder(Generic[Decoded]):
    """Decodes commits for the fold: a commit's JSON array in one call where that goes.

    It goes unless the array has an event that none of the `classes` can read: then `decode_one` reads each by itself. Where that
    gives an UnknownEvent, the type is learned: from then on such an event is read in the same call as the others, as an instance
    of a class that has the timestamp alone. To the fold both are the same: an event that counts, has a time, and that nobody
    listens to. A process learns LEARNED_TYPES at most, as types come from the log. Whatever it has learned, it reads the same.
    """

    def __init__(self, classes: Iterable[type[Event]], decode_one: Callable[[bytes], Decoded]) -> None:
        self._classes: tuple[type[Event], ...] = tuple(classes)
        self._decode_one = decode_one
        self._learned: set[str] = set()
        self._lock = threading.Lock()
        self._decode_all = _decoder_of(self._classes)

    def decode(self, events: bytes) -> tuple[list[Decoded], Exception | None]:
        """Return the events up to the first that can't be read, and what is wrong with that one, None where all can."""
        try:
            return self._decode_all(events), None
        except DECODE_ERRORS:
            decoded, error = decode_each(events, self._decode_one)
            self._learn({event.type for event in decoded if isinstance(event, UnknownEvent)})
            return decoded, error

    def _learn(self, types: set[str]) -> None:
        with self._lock:
            new = sorted(types - self._learned)[: LEARNED_TYPES - len(self._learned)]
            if new:
                self._classes = (*self._classes, *(narrowed(Event, (), type_=each) for each in new))
                self._learned.update(new)
                self._decode_all = _decoder_of(self._classes)


LEARNED_TYPES: Final = 256
"""How many types that no class names a process reads as quickly as those that one does. The first of each takes 0.1 to 0.6 ms."""


def _decoder_of(classes: tuple[type[Event], ...]) -> Callable[[bytes], list[Any]]:
    union: Any = Union[classes]  # noqa: UP007 (made at run time)
    return msgspec.json.Decoder(list[union]).decode


def decode_each(events: bytes, decode_one: Callable[[bytes], Decoded]) -> tuple[list[Decoded], Exception | None]:
    """Decode a commit's JSON array event by event.

    Returns the events up to the first that can't be read, and what is wrong with that one, None where all can.
    """
    decoded: list[Decoded] = []
    try:
        for event in split(events):
            decoded.append(decode_one(bytes(event)))  # noqa: PERF401 (those before an error count)
    except DECODE_ERRORS as error:
        return decoded, error
    return decoded, None


def narrowed(event_class: type[Event], fields: Iterable[str], *, type_: str | None = None) -> type[Event]:
    """Return a class of the same type that reads the timestamp and these fields only: for folds that don't look at the rest.

    With `type_`, the class is of that type.
    """
    known = {each.name: each for each in msgspec.structs.fields(event_class)}
    return msgspec.defstruct(  # type: ignore[return-value]  # a fold asks it for nothing else
        event_class.__name__,
        [(name, known[name].type, *(() if known[name].required else (known[name].default,))) for name in fields],
        bases=(Timed,),
        tag=type_ or type_name(event_class),
        gc=False,
        kw_only=True,
    )


def exact_decoder(classes: Iterable[type[Event]]) -> Callable[[bytes], list[Event]]:
    """Return what reads the array of events of these classes that have the classes' fields and no others.

    It raises one of DECODE_ERRORS at any other.
    """
    exact = [
        msgspec.defstruct(each.__name__, [], bases=(each,), tag=type_name(each), gc=False, forbid_unknown_fields=True)
        for each in classes
    ]
    return _decoder_of(tuple(exact))  # type: ignore[arg-type]  # they are subclasses


def split(events: bytes) -> list[Raw]:
    """Cut a commit's JSON array into its events, undecoded. Raises one of DECODE_ERRORS."""
    return _split(events)


_CORE_TYPES: Final = frozenset(map(type_name, CORE_EVENTS))

core_decoder: Final = EventDecoder(CORE_EVENTS)
"""Decodes the core's types in full."""


def encode(event: NewEvent) -> EncodedEvent:
    """Return the event as it will lie in the log: `type` first, an UnknownEvent as it was read.

    Refuses what could not be folded: raises InvalidValueError where a field is missing or of the wrong type, the timestamp isn't
    RFC 3339, or the event nests too deep. An event of a plugin's class is checked by that class, the JSON object of one only for
    its type and time.
    """
    try:
        if isinstance(event, Event):
            return _encode_instance(event)
        if isinstance(event, EncodedEvent):
            return event
        raw = event.raw if isinstance(event, UnknownEvent) else _encode_mapping(event)
        check_depth(raw)
        decoded = core_decoder.decode_one(raw)
        _check_time(decoded.timestamp)
        return EncodedEvent(decoded.type if isinstance(decoded, UnknownEvent) else type_name(decoded.__class__), raw)
    except DECODE_ERRORS as error:
        raise InvalidValueError(_path(error), str(error)) from error


def check_known(event: EncodedEvent) -> EncodedEvent:
    """Return the event. Raises InvalidValueError where its type is neither the core's nor dotted: mistyped, as a rule."""
    if "." not in event.type and event.type not in _CORE_TYPES:
        raise InvalidValueError(
            "event.type",
            f"behest has no event type {event.type!r}; types of your own have a dotted name, such as 'orders.Placed' "
            "(allow_unknown=True takes any)",
        )
    return event


def encode_event(event: NewEvent) -> bytes:
    """Return the JSON alone of what `encode` gives."""
    return encode(event).raw


def _encode_instance(event: Event) -> EncodedEvent:
    """Encode an event and read it back by its own class, once: msgspec checks no types when it encodes.

    That is less than the same checks take in Python, unless the event has large JSON in it.
    """
    name, read_back = _reader_of(event.__class__)
    try:
        raw = _write(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError("event", f"not JSON: {error}") from error
    if len(raw) > NESTING:  # asked here, too, as this is what an agent waits for
        check_depth(raw)
    read_back(raw)
    _check_time(event.timestamp)
    return EncodedEvent(name, raw)


@cache
def _reader_of(event_class: type[Event]) -> tuple[str, Callable[[bytes], object]]:
    """Return the type that is written for a class, and what reads it: the core's own class where the type is the core's."""
    name = type_name(event_class)
    core = {type_name(each): each for each in CORE_EVENTS}
    return name, msgspec.json.Decoder(core.get(name, event_class)).decode


def check_depth(event: bytes) -> None:
    """Raise InvalidValueError where an event's JSON nests so deep that it could not be folded out of a commit's array."""
    if len(event) > NESTING and nests_too_deep(b"[%b]" % event):
        raise InvalidValueError("event", f"nested deeper than {NESTING - 1} levels")


def _check_time(timestamp: str) -> None:
    try:
        to_datetime(timestamp)
    except ValueError as error:
        raise InvalidValueError("event.timestamp", str(error)) from error


def _encode_mapping(event: Mapping[str, JSON]) -> bytes:
    try:
        return _write({"type": event.get("type"), **event})
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError("event", f"not JSON: {error}") from error


def _path(error: Exception) -> str:
    """Return the place that msgspec's message ends with (`… - at `$.usage.input_tokens``), as `event.usage.input_tokens`."""
    _, found, place = str(error).rpartition(" - at `$")
    return f"event{place.rstrip('`')}" if found else "event"
