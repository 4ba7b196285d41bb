"""The golden files' lines in behest's own classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from behest_core.model.decoding import core_decoder, encode_event
from behest_core.model.record import RunRecord
from behest_core.model.state import RunState

if TYPE_CHECKING:
    from behest_core.model.events import AnyEvent

_SEEDS_FIELDS = RunState.__struct_fields__[: RunState.__struct_fields__.index("updated_at") + 1]


def record_of(line: dict[str, Any]) -> RunRecord:
    return msgspec.convert(line["record"], RunRecord)


def encoded_events_of(line: dict[str, Any]) -> list[bytes]:
    events = []
    for recorded in line["events"]:
        [(name, fields)] = recorded["event"].items()
        events.append(encode_event({"type": name, **fields}))
    return events


def events_of(line: dict[str, Any]) -> list[AnyEvent]:
    return [core_decoder.decode_one(event) for event in encoded_events_of(line)]


def wire_state(state: RunState) -> dict[str, Any]:
    """Return the state in the golden files' shape."""
    values: dict[str, Any] = msgspec.to_builtins(state)
    return {name: values[name] for name in _SEEDS_FIELDS}
