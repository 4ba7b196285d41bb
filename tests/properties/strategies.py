"""What examples are made of: JSON, events, logs and the ways to cut them, items, states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st

from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.model.commit import Commit
from behest_core.model.json import as_stored
from behest_core.model.record import RunRecord, encode_record
from behest_core.model.state import (
    ExtensionSlice,
    FinishReason,
    Guard,
    Parked,
    RunState,
    RunStatus,
    TokenUsage,
    UnknownFinishReason,
    Waiting,
)
from behest_core.model.timestamps import canonical

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

RUN = "run-1"

# ---------------------------------------------------------------- values

text = st.text(max_size=8)
ids = st.text(min_size=1, max_size=8)
counts = st.integers(0, 2**31)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**37), 10**37)
    | st.floats(-1e100, 1e100).filter(lambda number: not 0 < abs(number) < 1e-100)
)


def json_of(leaves: SearchStrategy[Any], keys: SearchStrategy[str]) -> SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    )


storable = json_of(scalars | text, ids)
"""JSON that DynamoDB can store."""

anything = json_of(scalars | text | st.floats() | st.integers(-(10**400), 10**400), text)
"""JSON, also what can't be stored, or not even be written."""


def _is_time(moment: str) -> bool:
    try:
        canonical(moment)
    except ValueError:
        return False
    return True


moments = st.builds(
    lambda moment, zone: moment.isoformat() + zone,
    st.datetimes(),
    st.sampled_from(["Z", "z", "+02:00", "-00:30", "+23:59"]),
).filter(_is_time)


# ---------------------------------------------------------------- events

usage = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={"total_tokens": counts, "cache_read_input_tokens": counts, "cached_input_tokens": counts},
)
_FIELDS: dict[str, dict[str, SearchStrategy[Any]]] = {
    "RunStarted": {"session_id": ids, "provider": text, "model": text},
    "ContextBuilt": {"message_count": counts},
    "ModelStarted": {"provider": text, "model": text, "iteration": counts},
    "TextDelta": {"delta": text},
    "ToolCallCompleted": {"call": st.fixed_dictionaries({"id": text, "name": text, "arguments": storable})},
    "UsageRecorded": {"usage": usage},
    "RunCompleted": {
        "finish_reason": text | st.sampled_from(list(FinishReason)) | st.fixed_dictionaries({"unknown": text}),
        "iterations": counts,
    },
    "RunFailed": {"error": text},
    "RunCancelled": {},
    "approvals.Requested": {"call_id": text},
}


@st.composite
def good_events(draw: Any) -> dict[str, Any]:
    """Return an event that can be folded: of a core type or an unknown one, maybe with fields nobody knows."""
    kind = draw(st.sampled_from(sorted(_FIELDS)))
    fields = draw(st.fixed_dictionaries(_FIELDS[kind], optional={"extra": storable}))
    return {"type": kind, "timestamp": draw(moments), **fields}


@st.composite
def odd_events(draw: Any) -> Any:
    """Return an event with a field or two that hold anything, or are gone; sometimes no event at all."""
    event = draw(good_events())
    for name in draw(st.lists(st.sampled_from(sorted(event)), max_size=2, unique=True)):
        if draw(st.booleans()):
            event[name] = draw(anything)
        else:
            del event[name]
    return draw(st.one_of(st.just(event), st.just(event), anything))


def written(event: Any) -> bytes | None:
    """Return the JSON of what may be an event, None where it has none."""
    try:
        encoded: bytes = msgspec.json.encode(event)
        msgspec.json.decode(encoded)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return encoded


encoded_events = st.one_of(good_events(), good_events(), good_events(), odd_events()).map(written).filter(bool)
"""Events as they may lie in a log: mostly good ones."""

# ---------------------------------------------------------------- logs

records = st.builds(
    RunRecord,
    run_id=st.just(RUN),
    session_id=ids,
    provider=text,
    model=text,
    metadata=storable,
    client_request_id=st.none() | text,
    created_at=moments,
    updated_at=st.none() | moments,
)


def commit_of(sequence: int, events: list[bytes]) -> Commit:
    payload = b"[" + b",".join(events) + b"]"
    return Commit(run_id=RUN, sequence=sequence, count=len(events), payload=payload, commit_id="c", committed_at="t")


@st.composite
def cut(draw: Any, events: list[bytes]) -> list[Commit]:
    """Cut events into commits."""
    commits, at = [], 0
    while at < len(events):
        count = draw(st.integers(1, len(events) - at))
        commits.append(commit_of(at + 1, events[at : at + count]))
        at += count
    return commits


@st.composite
def logs(draw: Any) -> tuple[list[Commit], list[bytes]]:
    """Return a run's events, and the log that holds nothing but its record, if it has one."""
    events = draw(st.lists(encoded_events, min_size=1, max_size=12))
    record = draw(st.none() | records)
    return ([] if record is None else [Commit(run_id=RUN, sequence=0, payload=encode_record(record))]), events


# ---------------------------------------------------------------- states

parks = st.builds(Parked, sequence=counts, error=text, message=text, version=counts, at=text, parked_at=moments)

states = st.builds(
    RunState,
    run_id=ids,
    session_id=st.none() | ids,
    status=st.sampled_from(RunStatus),
    provider=st.none() | text,
    model=st.none() | text,
    metadata=storable.map(as_stored),
    iteration=counts,
    total_usage=st.builds(TokenUsage, counts, counts, counts, cache_read_input_tokens=counts),
    last_finish=st.none() | st.sampled_from(FinishReason) | st.builds(UnknownFinishReason, text),
    last_error=st.none() | text,
    event_count=counts,
    created_at=st.none() | moments.map(canonical),
    updated_at=st.none() | text,
    sequence=counts,
    revision=counts,
    reducer_version=st.integers(0, REDUCER_VERSION + 1),
    parked=st.none() | parks,
    waiting=st.none()
    | st.builds(Waiting, since=moments.map(canonical), reason=text, pending=st.lists(text, max_size=3)),
    ended_at=st.none() | moments.map(canonical),
    extensions=st.dictionaries(
        ids,
        st.builds(
            ExtensionSlice.of,
            storable.map(as_stored),
            sequence=counts,
            version=counts,
            parked=st.none() | parks,
            outdated=st.booleans(),
        ),
        max_size=2,
    ),
    has_record=st.booleans(),
    commit_id=st.none() | ids,
    guard=st.none() | st.builds(Guard, owner=text, until=text, deaths=counts),
)

# ---------------------------------------------------------------- items

_numbers = st.one_of(
    st.integers(-(10**37), 10**37).map(str),
    st.decimals(-(10**20), 10**20, places=3).map(str),
    st.sampled_from(["0", "1", "-1", "1.5", "1E+2", "9.9E+125", "1E-130"]),
)
attributes = st.recursive(
    st.one_of(
        st.builds(lambda value: {"S": value}, text),
        st.builds(lambda value: {"N": value}, _numbers),
        st.builds(lambda value: {"B": value}, st.binary(max_size=12)),
        st.builds(lambda value: {"BOOL": value}, st.booleans()),
        st.just({"NULL": True}),
        st.builds(lambda value: {"SS": value}, st.lists(text, min_size=1, max_size=2)),
        st.builds(lambda value: {"NS": value}, st.lists(_numbers, min_size=1, max_size=2)),
    ),
    lambda inner: (
        st.builds(lambda value: {"L": value}, st.lists(inner, max_size=3))
        | st.builds(lambda value: {"M": value}, st.dictionaries(ids, inner, max_size=3))
    ),
    max_leaves=5,
)
"""Attribute values of any type, as DynamoDB gives them."""
