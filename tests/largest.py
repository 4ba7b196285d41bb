"""A state with the largest value of every attribute together, folded where a log can make it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from behest_core.dynamodb.items import LAST_POSITION
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold
from behest_core.model.events import Event
from behest_core.model.limits import (
    ANNOTATIONS_BYTES,
    ERROR_BYTES,
    EXTENSIONS_BYTES,
    MESSAGE_BYTES,
    METADATA_BYTES,
    PENDING_ID_BYTES,
    PENDING_IDS,
    REASON_BYTES,
    SLICE_BYTES,
    TEXT_BYTES,
    VALUE_BYTES,
    slice_size,
    stored_size,
)
from behest_core.model.state import Annotations, Guard, Parked, RunState, Waiting
from behest_core.model.timestamps import canonical, from_datetime, to_datetime
from behest_core.plugins import Extension, ExtensionState
from tests.builders import at, raw_commit, record_commit, run_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.model.commit import Commit

WIDE = "\U0001f680"  # four bytes
RUN_ID = WIDE * 255
U64 = 2**64 - 1
NOW = from_datetime(to_datetime(at(0)))


class Kept(Event, tag="bounds.Kept"):
    values: list[Any]


class Keeping(ExtensionState):
    values: list[Any] = []


def keeping(name: str, state: type[ExtensionState] = Keeping) -> Extension:
    """Return an extension that keeps what the events say."""
    extension = Extension(name, state, version=2**63 - 1)

    @extension.on(Kept)
    def keep(state, event, run):
        state.values = event.values

    return extension


def events_at(sequence: int, *events: dict[str, Any]) -> Commit:
    """Return a commit of events as JSON objects, as a writer may put them."""
    objects = [{"timestamp": at(1), **event} for event in events]
    return raw_commit(sequence, len(objects), msgspec.json.encode(objects))


def parked_for_long(version: int) -> Parked:
    """Return why something is parked after more attempts than are kept, each of the longest message."""
    parked = None
    for _ in range(9):
        longest = Parked.by(
            LAST_POSITION - 1, "E" + WIDE * ERROR_BYTES, "m" * (MESSAGE_BYTES - 4) + WIDE * MESSAGE_BYTES, version
        )
        parked = longest.after(parked, NOW)
    return msgspec.structs.replace(parked, attempts=2**63)


STARTED = {"type": "RunStarted", "session_id": "s", "provider": "p", "model": "m"}
CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens", "cached_input_tokens")
MOST_EXTENSIONS = EXTENSIONS_BYTES // (SLICE_BYTES + slice_size(msgspec.json.encode(Keeping())))


def usage(tokens: int, **cached: int) -> dict[str, Any]:
    return {"type": "UsageRecorded", "usage": {"input_tokens": tokens, "output_tokens": 0, **cached}}


def values_of(size: int) -> list[list[Any]]:
    """Return values that fill a slice of this size, half with what is largest as attributes: lists in lists, and digits."""
    chain = msgspec.json.decode("[" * 27 + "]" * 27)
    room = size - slice_size(msgspec.json.encode(Keeping()))
    chains = [chain] * (room // 2 // (3 * 27 + 1))
    left = size - slice_size(msgspec.json.encode(Keeping(chains)))
    return [*chains, *[0] * (left // 2)]


def names_of(extensions: int) -> list[str]:
    """Return names of so many extensions, as long as they can be."""
    return [f"e{n:02}".ljust(64, "x") for n in range(extensions)]


def text_of(size: int) -> list[Any]:
    """Return a text that fills a slice of this size: it is quick to look through."""
    return ["x" * (size - slice_size(msgspec.json.encode(Keeping([""]))))]


def largest_log(extensions: int, values: Callable[[int], list[Any]] = values_of) -> list[Commit]:
    """Return a log that brings a run to its bounds, and so many extensions, each of which keeps `values` of its share."""
    wide = WIDE * (TEXT_BYTES // 16)
    log = [
        record_commit(run_record(RUN_ID, session_id=WIDE * 255, metadata="m" * METADATA_BYTES)),
        events_at(1, {**STARTED, "provider": wide, "model": wide}),
        events_at(2, {"type": "RunFailed", "error": wide}),
        events_at(3, {"type": "RunCompleted", "finish_reason": wide, "iterations": 1}),
        events_at(4, {"type": "ModelStarted", "provider": "p", "model": "m", "iteration": U64}),
        events_at(5, usage(U64, **dict.fromkeys(CACHED, U64))),
        events_at(6, {"type": "bounds.Kept", "values": values(EXTENSIONS_BYTES // extensions - SLICE_BYTES)}),
        events_at(7, {"type": "TextDelta", "delta": "", "timestamp": WIDE * 80}),
    ]
    return [
        msgspec.structs.replace(each, run_id=RUN_ID, commit_id=f"{n}".ljust(64, WIDE)) for n, each in enumerate(log)
    ]


def largest_state(extensions: int = 4) -> RunState:
    """Return it, with so many extensions.

    What no log can bring to its bound is set: counts, the guard, and why something is parked. So are an end and
    what the run waits for, which no run has together.
    """
    state = fold(None, largest_log(extensions), Dispatch(map(keeping, names_of(extensions)))).state
    assert state is not None
    assert state.parks == {}
    assert state.sequence == 7
    state.sequence = state.event_count = state.decisions = LAST_POSITION - 1
    state.revision = state.reducer_version = 10**37 - 2
    state.annotations = Annotations(metadata={"m": "m" * (ANNOTATIONS_BYTES - 3 * VALUE_BYTES)})
    assert stored_size([]) + stored_size(state.annotations.metadata) <= ANNOTATIONS_BYTES
    state.guard = Guard(owner="o" * 36, until=NOW, deaths=2**63)
    state.parked = parked_for_long(version=2**63)
    pending = [WIDE * (PENDING_ID_BYTES // 4)] * PENDING_IDS
    state.waiting = Waiting(since=canonical(NOW), reason=WIDE * (REASON_BYTES // 4), pending=pending)
    state.ended_at = canonical(NOW)
    for piece in state.extensions.values():
        piece.sequence, piece.outdated, piece.parked = LAST_POSITION - 1, True, parked_for_long(version=2**63)
    return state
