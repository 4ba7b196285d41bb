"""What an agent says, made storable: as near to what it said as the log, and DynamoDB, can hold.

Only where the exact encoding refuses something comes here, so what is usual costs nothing. Then only the odd value changes:

- Objects become what they dump themselves as, or their fields, or their text. Keys become text.
- The two halves of a surrogate pair become its character, a half alone U+FFFD.
- What nests deeper than 30 levels beside an odd value, or in itself, becomes text there. So does a whole number that the
  interpreter can't spell.
- A run's metadata is native attributes of its state item. So a number that DynamoDB has not, or an empty key, becomes text, and
  what is beyond its share is cut (cut.py). `storable_record` says where that was, without any of the values.

Ids are never changed, nor is what an event's class says: a field that is missing or of another type is still refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from behest_core.errors import InvalidValueError
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.events import EncodedEvent, Event, UnknownEvent, type_name
from behest_core.model.json import check_storable
from behest_core.model.limits import METADATA_BYTES, stored_size
from behest_core.model.nesting import nests_too_deep
from behest_core.model.record import check_record, encode_record
from behest_core.recording.cut import STATE_TEXT_BYTES, Place, cut_text, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.record import RunRecord

REPLACEMENT: Final = "\ufffd"
_LEVELS: Final = 30
_AROUND: Final = 8
"""How many levels there may be around a value in an event, at most."""

_SPELLED_BITS: Final = 10_000
"""Some 3,000 digits: from 4,300 on Python raises."""

_CHANGES_TOLD, _KEY_LENGTH = 10, 40


def whole(text: str) -> str:
    """Return a text that UTF-8 can hold: with the halves of surrogate pairs joined, and those that are alone replaced."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def as_json(value: object) -> JSON:
    """Return any object as JSON: pydantic models as they dump themselves, what nobody knows as its text. Never raises."""
    try:
        encoded = msgspec.json.encode(value, enc_hook=_dumped)
        if not nests_too_deep(b"[" * _AROUND + encoded + b"]" * _AROUND):
            exact: JSON = msgspec.json.decode(encoded)
            return exact
    except Exception:  # noqa: BLE001, S110 (foreign objects: keys of any type, cycles, whatever their methods raise)
        pass
    return _Mending().mended(value)


def storable(value: JSON) -> JSON:
    """Return a value as it is where JSON can hold it, else the nearest JSON."""
    try:
        msgspec.json.encode(value)
    except Exception:  # noqa: BLE001 (the same)
        return as_json(value)
    return value


def _dumped(value: object) -> object:
    dump: Any = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)


def as_object(event: NewEvent) -> dict[str, Any]:
    """Return an event as the object it is on the wire, its values as the agent gave them. Raises InvalidValueError."""
    if isinstance(event, EncodedEvent | UnknownEvent):
        try:
            fields: dict[str, Any] = msgspec.json.decode(event.raw, type=dict)
        except DECODE_ERRORS as error:
            raise InvalidValueError("event", str(error)) from error
        return fields
    return _fields(event) if isinstance(event, Struct) else {"type": event.get("type"), **event}


def type_of(event: object) -> object:
    """Return the type of what is to be an event; None of what can't be one."""
    if isinstance(event, Event):
        return type_name(event.__class__)
    if isinstance(event, EncodedEvent | UnknownEvent):
        return event.type
    return event.get("type") if isinstance(event, Mapping) else None


def mended_event(event: dict[str, Any]) -> dict[str, JSON]:
    """Return an event's object with all its values made storable."""
    return {_Mending().mended_key(name): as_json(value) for name, value in event.items()}


def storable_record(record: RunRecord) -> tuple[RunRecord, list[str]]:
    """Return the record as DynamoDB can hold it, and where that is not what it was.

    What can't be mended, such as an id that is too long, stays for `EventLog.create` to refuse.
    """
    try:
        check_record(record)
        encode_record(record)
    except Exception:  # noqa: BLE001 (foreign objects, whatever their methods raise)
        mending = _Mending(for_item=True)
        texts = {name: mending.text(getattr(record, name), name) for name in ("provider", "model")}
        if record.client_request_id is not None:
            texts["client_request_id"] = mending.text(record.client_request_id, "client_request_id")
        metadata = mending.within_its_share(mending.mended(record.metadata, "metadata"), "metadata")
        return replace(record, metadata=metadata, **texts), mending.told()
    return record, []


class _Mending:
    """Makes one value storable, in a state item or in an event, and keeps where it had to be changed."""

    def __init__(self, *, for_item: bool = False) -> None:
        self._for_item = for_item
        self._changes: list[str] = []

    def told(self) -> list[str]:
        """Return the places that were changed, and how; the first ten of them."""
        more = len(self._changes) - _CHANGES_TOLD
        return self._changes[:_CHANGES_TOLD] + ([f"and {more} more"] if more > 0 else [])

    def mended(self, value: object, path: str = "", within: tuple[int, ...] = ()) -> JSON:
        """Return the value, with what is odd in it made storable. `within` are the identities of what it lies in."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._whole(value, path)
        if isinstance(value, int | float):
            return self._number(value, path)
        if len(within) >= _LEVELS or id(value) in within:
            self._changes.append(f"{path} (nested too deep, as text)")
            return whole(_spelled(value))
        try:
            return self._opened(value, path, (*within, id(value)))
        except Exception:  # noqa: BLE001 (a foreign list or dict, whatever its methods raise)
            return whole(_spelled(value))

    def _opened(self, value: object, path: str, within: tuple[int, ...]) -> JSON:
        if isinstance(value, Mapping):
            return self._mapping(value, path, within)
        if isinstance(value, list | tuple | set | frozenset):
            return [self.mended(each, f"{path}[{n}]", within) for n, each in enumerate(value)]
        return self.mended(_content(value), path, within)

    def _mapping(self, value: Mapping[Any, Any], path: str, within: tuple[int, ...]) -> dict[str, JSON]:
        mended: dict[str, JSON] = {}
        for key, each in value.items():
            name = self.mended_key(key, path)
            while name in mended:
                name += "_"
            mended[name] = self.mended(each, f"{path}.{_shown(name)}", within)
        return mended

    def mended_key(self, key: object, path: str = "") -> str:
        """Return a key as text."""
        name = self._whole(key, f"{path}, a key") if isinstance(key, str) else whole(_spelled(key, str))
        if name or not self._for_item:
            return name
        self._changes.append(f"{path} (an empty key)")
        return "(empty)"

    def text(self, value: object, path: str) -> str:
        """Return what has to be a text, and is copied into a state item, as one that has room there."""
        text = self._whole(value if isinstance(value, str) else _spelled(value, str), path)
        short = str(cut_text(text, STATE_TEXT_BYTES))
        if short != text:
            self._changes.append(f"{path} (cut)")
        return short

    def within_its_share(self, value: JSON, path: str) -> JSON:
        """Return the value, with the largest of its parts cut where it has no room in a state item."""
        around: dict[str, JSON] = {path: value}
        parts = [Place(value, name) for name in value] if isinstance(value, dict) else []
        for places, before in ((parts, f"{path}."), ([Place(around, path)], "")):
            names = shorten(places, lambda: stored_size(around[path]), METADATA_BYTES)
            self._changes.extend(f"{before}{_shown(str(name))} (cut)" for name in names)
        return around[path]

    def _whole(self, text: str, path: str) -> str:
        mended = whole(text)
        if REPLACEMENT in mended and REPLACEMENT not in text:
            self._changes.append(f"{path} (a lone surrogate)")
        return mended

    def _number(self, value: float, path: str) -> JSON:
        if _is_too_long(value):
            return self._as_text(_spelled(value, hex), path)
        if self._for_item:
            try:
                check_storable(value, path)
            except InvalidValueError:
                return self._as_text(str(value), path)
        is_a_number = isinstance(value, int) or math.isfinite(value)
        return value if is_a_number else None  # as the exact encoding writes what JSON has no number for

    def _as_text(self, number: str, path: str) -> str:
        self._changes.append(f"{path} (a number, as text)")
        return number


def _is_too_long(value: float) -> bool:
    """Return whether a whole number has more digits than the interpreter is willing to spell."""
    return isinstance(value, int) and value.bit_length() > _SPELLED_BITS


def _content(value: object) -> object:
    """Return what a foreign object consists of; its text where that can't be seen. Never raises."""
    for look in (_dumped_json, _dumped_objects, _parts, _encoded):
        try:
            found = look(value)
        except Exception:  # noqa: BLE001, S112 (whatever foreign methods raise: then it is looked at otherwise)
            continue
        if found is not None:
            return found
    return _spelled(value)


def _dumped_json(value: Any) -> object:  # noqa: ANN401 (anything)
    return value.model_dump(mode="json")


def _dumped_objects(value: Any) -> object:  # noqa: ANN401 (anything)
    return value.model_dump()


def _parts(value: Any) -> object:  # noqa: ANN401 (anything)
    if isinstance(value, Struct):
        return _fields(value)
    return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}


def _encoded(value: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))


def _fields(value: Struct) -> dict[str, Any]:
    """Return a struct's fields as they are named on the wire, its tag first."""
    config = value.__struct_config__
    tag = {} if config.tag is None else {str(config.tag_field): config.tag}
    return tag | {name: each for name, each in _given(value) if each is not UNSET}


def _given(value: Struct) -> Iterator[tuple[str, Any]]:
    for each in msgspec.structs.fields(value):
        yield each.encode_name, getattr(value, each.name)


def _spelled(value: object, spell: Any = repr) -> str:  # noqa: ANN401 (a function of anything)
    """Return an object's text: its JSON where it has lists or dicts that are, else as it spells itself; never raises."""
    try:
        if isinstance(value, Mapping | list | tuple):
            return msgspec.json.encode(value).decode()
    except Exception:  # noqa: BLE001, S110 (the same)
        pass
    try:
        return str(spell(value))
    except Exception:  # noqa: BLE001 (the same)
        return f"<{type(value).__name__}>"


def _shown(name: str) -> str:
    """Return a key as it may stand in a path: short, and without what steers a terminal."""
    short = name[:_KEY_LENGTH]
    return (short if short.isprintable() else ascii(short)[1:-1]) + ("" if short == name else "…")
