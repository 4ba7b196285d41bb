"""Runs as lines of JSON, in the shapes of the seed (behest 0.3.3): what `behest fold`, `import` and `export` read and write.

    {"record": RunRecord, "events": [{"sequence": 1, "run_id": …, "event": {"RunStarted": {…}}, "timestamp": …}, …]}

How such a line and a run's log differ, and nothing else does:

- In a line an event is tagged from outside and names its run; in the log `type` is its first field and the run is the key.
- A line's event record has a time of its own. Where that isn't the event's `timestamp`, the log keeps it in the event's field
  `recorded_at`, and writing the line puts it back.
- A line's events are numbered one by one from any number; the log's from 1, so that is what is written.
- A run without record is written with `"record": null`. The seed has no such runs.
- A line may have more, such as the golden files' `state`: it is ignored, as are unknown fields of the record and of event
  records. Unknown types and fields of events are kept as they are, number by number.

Reading checks all that the log would: what this module gives can be folded and appended. Nothing here holds more than one line,
and `fold_line` no more of it than some hundred events.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from behest_core.errors import InvalidValueError, MalformedEventError, MalformedLineError, StateTooLargeError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import replay
from behest_core.model.agent_events import CORE_EVENTS
from behest_core.model.decoding import DECODE_ERRORS, check_depth, core_decoder, exact_decoder
from behest_core.model.events import EncodedEvent
from behest_core.model.limits import check_run_id
from behest_core.model.nesting import nests_too_deep
from behest_core.model.packing import array_of
from behest_core.model.record import RunRecord, check_record
from behest_core.model.state import RunState
from behest_core.model.timestamps import canonical, to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.model.json import JSON
    from behest_core.model.packing import RecordedEvent

RECORDED_AT: Final = "recorded_at"
"""The event's field that holds the time of its event record, where that is another one."""


class RunLine(Struct, frozen=True):
    """A run as a line holds it.

    `record` is None for a run without one. `events` are as they will lie in the log. `source` and `number` say where the line
    stands, counted from 1.
    """

    source: str
    number: int
    run_id: str
    record: RunRecord | None
    events: list[EncodedEvent]


# ---------------------------------------------------------------- reading


class _Line(Struct, gc=False):
    record: Raw
    events: list[Raw]


class _EventRecord(Struct, gc=False):
    sequence: Annotated[int, Meta(ge=0)]
    run_id: str
    event: dict[str, Raw]
    timestamp: str


class _WrongError(Exception):
    """Something in a line is wrong: at this field, and this was expected."""

    def __init__(self, field: str, expected: str) -> None:
        self.field = field
        self.expected = expected


_read_line = msgspec.json.Decoder(_Line).decode
_read_record = msgspec.json.Decoder(RunRecord | None).decode
_read_event_record = msgspec.json.Decoder(_EventRecord).decode
_read_event_records = msgspec.json.Decoder(list[_EventRecord]).decode
_read_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_read_text = msgspec.json.Decoder(str).decode
_read_any = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode
_read_exactly = exact_decoder(CORE_EVENTS)
_BLOCK: Final = 128
"""How many events are read in one call: where one has an unusual form, so many are taken apart."""


def numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Return the lines with their numbers, from 1; without those that are blank."""
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def read_run(source: str, number: int, line: bytes) -> RunLine:
    """Read a line: `number` is its place in `source`. Raises MalformedLineError, which names the field."""
    with _place_of(source, number):
        run = _opened(line)
        events = [event for block in _blocks(run) for event in block]
    return RunLine(source, number, run.run_id, run.record, events)


def fold_line(source: str, number: int, line: bytes, dispatch: Dispatch = CORE) -> RunState:
    """Read a line and fold its run, with the extensions of the dispatch, without holding its events.

    Raises MalformedLineError, also at an event that can't be folded.
    """
    with _place_of(source, number):
        run = _opened(line)
        decoded = (dispatch.decode(array_of(event.raw for event in block))[0] for block in _blocks(run))
        state = replay(run.record, run.run_id, decoded, dispatch)
        if state.parked is not None:
            raise _WrongError(_place_at(run, state.parked.sequence), state.parked.message)
    return state


@contextmanager
def _place_of(source: str, number: int) -> Iterator[None]:
    try:
        yield
    except _WrongError as wrong:
        raise MalformedLineError(source, number, wrong.field, wrong.expected) from None


class _Run(NamedTuple):
    """A line whose record is read, and whose events are not."""

    run_id: str
    record: RunRecord | None
    events: list[Raw]


def _opened(line: bytes) -> _Run:
    try:
        _check_utf8(line)
        parts = _read_line(line)
    except DECODE_ERRORS as error:
        raise _wrong("", error) from error
    record = _record(parts.record)
    return _Run(record.run_id if record is not None else _run_id(parts.events), record, parts.events)


def _check_utf8(line: bytes) -> None:
    """Raise UnicodeDecodeError where the line is no UTF-8. msgspec doesn't look at what it passes over."""
    if not line.isascii():
        line.decode()


def _place_at(run: _Run, sequence: int) -> str:
    """Return the place of the event that would lie at a sequence of the log; 0 is the record."""
    if sequence == 0:
        return "record"
    [tag] = _read_event_record(run.events[sequence - 1]).event
    return f"events[{sequence - 1}].event.{tag}"


def _blocks(run: _Run) -> Iterator[list[EncodedEvent]]:
    """Return the events as they will lie in the log, checked, some hundred at a time."""
    first = None
    for start in range(0, len(run.events), _BLOCK):
        records = _event_records(start, run.events[start : start + _BLOCK])
        first = records[0].sequence if first is None else first
        _check_records(start, records, first, run.run_id)
        yield _cut_out(records, run.run_id) or _taken_apart(start, records)


def _record(raw: Raw) -> RunRecord | None:
    try:
        record: RunRecord | None = _read_record(raw)
        if record is None:
            return None
        check_record(record)
    except InvalidValueError as error:
        field = {"record": "record", "run_id": "record.id"}.get(error.path, f"record.{error.path}")
        raise _WrongError(field, error.reason) from error
    except StateTooLargeError as error:
        raise _WrongError("record", str(error)) from error
    except DECODE_ERRORS as error:
        raise _wrong("record", error) from error
    if record.updated_at == record.created_at:
        return msgspec.structs.replace(record, updated_at=None)
    return record


def _run_id(events: list[Raw]) -> str:
    """Return the id of a run without record: its first event's."""
    if not events:
        raise _WrongError("record", "expected a run record, as there are no events to name the run")
    try:
        return check_run_id(_read_event_record(events[0]).run_id)
    except InvalidValueError as error:
        raise _WrongError("events[0].run_id", error.reason) from error
    except DECODE_ERRORS as error:
        raise _wrong("events[0]", error) from error


def _event_records(start: int, raws: list[Raw]) -> list[_EventRecord]:
    """Read event records, of which the first is at this place, in one call where nothing is wrong with any."""
    try:
        return _read_event_records(msgspec.json.format(array_of(raws), indent=-1))
    except DECODE_ERRORS:
        for place, raw in enumerate(raws, start):
            try:
                _read_event_record(raw)
            except DECODE_ERRORS as error:
                raise _wrong(f"events[{place}]", error) from error
        raise


def _check_records(start: int, records: list[_EventRecord], first: int, run_id: str) -> None:
    """Refuse records that aren't numbered one by one from `first`, are another run's, or have no time."""
    second = ""
    for place, found in enumerate(records, start):
        if found.sequence != first + place:
            raise _WrongError(f"events[{place}].sequence", f"expected {first + place}, got {found.sequence}")
        if found.run_id != run_id:
            raise _WrongError(f"events[{place}].run_id", f"expected the run's id {run_id}, got {found.run_id}")
        if len(found.event) != 1:
            raise _WrongError(f"events[{place}].event", f"expected one field, the event's type; got {len(found.event)}")
        text = found.timestamp
        if not (text[:19] == second and text[19:20] == "." and text[-1] == "Z" and _is_fraction(text[20:-1])):
            _check_time(f"events[{place}].timestamp", text)
            second = text[:19]


def _is_fraction(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 40


def _cut_out(records: list[_EventRecord], run_id: str) -> list[EncodedEvent] | None:
    """Return the events cut out of the line as they stand there; None unless all have the form that Rust's serde writes.

    That is: the run's id first, the time of the event record, and the fields that the type has. A field `type`
    is none of those, but msgspec would let it pass.
    """
    begin = b'{"run_id":%b,' % _write(run_id)
    length, heads, block = len(begin), _Heads(), []
    for found in records:
        [(tag, body)] = found.event.items()
        raw = bytes(body)
        if not raw.startswith(begin):
            return None
        block.append(EncodedEvent(tag, heads[tag] + raw[length:]))
    array = array_of(event.raw for event in block)
    if array.count(b'"type"') != len(block) or nests_too_deep(array):
        return None
    try:
        exact = _read_exactly(array)
    except DECODE_ERRORS:
        return None
    is_so = all(event.timestamp == found.timestamp for event, found in zip(exact, records, strict=True))
    return block if is_so else None


class _Heads(dict[str, bytes]):
    """How an event begins in the log, by its type."""

    def __missing__(self, tag: str) -> bytes:
        self[tag] = head = b'{"type":%b,' % _write(tag)
        return head


def _taken_apart(start: int, records: list[_EventRecord]) -> list[EncodedEvent]:
    """Return the events put together field by field, whatever their form."""
    block = []
    for place, found in enumerate(records, start):
        event = _event(f"events[{place}].event", found)
        _check_event(f"events[{place}].event.{event.type}", event)
        block.append(event)
    return block


def _event(place: str, found: _EventRecord) -> EncodedEvent:
    """Return the event as it will lie in the log."""
    [(tag, body)] = found.event.items()
    place = f"{place}.{tag}"
    try:
        fields = _read_fields(body)
        run_id = _read_text(fields.pop("run_id", b"null"))
        timestamp = _read_text(fields.get("timestamp", b"null"))
    except DECODE_ERRORS as error:
        raise _wrong(place, error) from error
    if run_id != found.run_id:
        raise _WrongError(f"{place}.run_id", f"expected the run's id {found.run_id}, got {run_id}")
    if "type" in fields:
        raise _WrongError(f"{place}.type", "expected no field of this name, which is the type's own in the log")
    if RECORDED_AT in fields and (found.timestamp != timestamp or _is_recorded_at(fields)):
        raise _WrongError(
            f"{place}.{RECORDED_AT}", "expected no field of this name, in which the log keeps the record's time"
        )
    _check_time(f"{place}.timestamp", timestamp)
    if found.timestamp != timestamp:
        fields[RECORDED_AT] = Raw(_write(found.timestamp))
    return EncodedEvent(tag, _object({"type": _write(tag), **fields}))


def _check_event(place: str, event: EncodedEvent) -> None:
    """Refuse what the core could not fold."""
    try:
        check_depth(event.raw)
        core_decoder.decode_one(event.raw)
    except InvalidValueError as error:
        raise _WrongError(place, error.reason) from error
    except DECODE_ERRORS as error:
        raise _wrong(place, error) from error


def _check_time(place: str, text: str) -> None:
    try:
        to_datetime(text)
    except ValueError as error:
        raise _WrongError(place, str(error)) from error


_MISSING = re.compile(r"Object missing required field `(.+)`")


def _wrong(place: str, error: Exception) -> _WrongError:
    """Return where below the place msgspec found what: its messages end with the path, `… - at `$.usage``."""
    message, _, path = str(error).partition(" - at `$")
    place += path.rstrip("`")
    missing = _MISSING.fullmatch(message)
    if missing:
        place, message = f"{place}.{missing[1]}", "expected, but missing"
    if message[1:2].islower():
        message = message[0].lower() + message[1:]
    return _WrongError(place.lstrip(".") or "line", message)


# ---------------------------------------------------------------- writing


def write_run(record: RunRecord | None, events: Iterable[RecordedEvent]) -> bytes:
    """Return the line of a run's record and events, without a line break.

    Raises MalformedEventError where an event has no such form.
    """
    written = b",".join(_event_line(event.run_id, event.sequence, event.raw) for event in events)
    return b'{"record":%b,"events":[%b]}' % (_record_line(record), written)


def _record_line(record: RunRecord | None) -> bytes:
    if record is None:
        return b"null"
    fields: dict[str, JSON] = msgspec.to_builtins(record)
    return _write({**fields, "updated_at": record.updated_at or record.created_at})


def _event_line(run_id: str, sequence: int, event: bytes) -> bytes:
    """Return an event record of a line."""
    try:
        fields = _read_fields(msgspec.json.format(event, indent=-1))
        tag = _read_text(fields.pop("type"))
        recorded_at = fields.pop(RECORDED_AT) if _is_recorded_at(fields) else fields["timestamp"]
        own = fields.pop("run_id", None)
    except KeyError as error:
        raise MalformedEventError(run_id, sequence, f"it has no {error}") from error
    except DECODE_ERRORS as error:
        raise MalformedEventError(run_id, sequence, str(error)) from error
    if own is not None and _read_any(own) != run_id:
        raise MalformedEventError(
            run_id, sequence, "its own field `run_id` names another run; a line has no place for it"
        )
    body = _object({"run_id": _write(run_id), **fields})
    return b'{"sequence":%d,"run_id":%b,"event":{%b:%b},"timestamp":%b}' % (
        sequence,
        _write(run_id),
        _write(tag),
        body,
        recorded_at,
    )


def _is_recorded_at(fields: dict[str, Raw]) -> bool:
    """Return whether an event's field `recorded_at` is its record's time: a time, and not the event's own."""
    if RECORDED_AT not in fields:
        return False
    try:
        recorded_at: str = _read_text(fields[RECORDED_AT])
        canonical(recorded_at)
    except (*DECODE_ERRORS, ValueError):
        return False
    return recorded_at != str(_read_any(fields.get("timestamp", b"null")))


def _object(fields: dict[str, Raw | bytes]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (_write(name), value) for name, value in fields.items())


def same_record(one: RunRecord | None, other: RunRecord | None) -> bool:
    """Return whether two run records are the same to a reader of lines."""
    return one == other or _record_line(one) == _record_line(other)


def same_event(run_id: str, one: bytes, other: bytes) -> bool:
    """Return whether two events of a log are the same to a reader of lines: whatever the order of their fields."""
    if one == other:
        return True
    return bool(_read_any(_event_line(run_id, 1, one)) == _read_any(_event_line(run_id, 1, other)))


_FIELDS = RunState.__struct_fields__
_STATE_FIELDS: Final = _FIELDS[: _FIELDS.index("updated_at") + 1]  # the seed's come first: see RunState


def write_state(state: RunState) -> bytes:
    """Return a state as the seed writes it: its fields, null where absent, and `extensions` where there are any."""
    written = {name: getattr(state, name) for name in _STATE_FIELDS}
    if state.extensions:
        written["extensions"] = state.extensions
    return _write(written)
