"""DynamoDB items to and from commits and states. The only module that knows what attributes are called; it makes no request.

Both tables' formats are a public contract: docs/items.md. But anything may have written an item, and DynamoDB checks the types
of keys only. So whatever is read goes through here, and nothing here fails on an attribute's type: what can't be read is a commit
with a `problem`, a MalformedStateError, or None.

Items are in the low-level client's form, ``{"sequence": {"N": "7"}}``. What Lambda delivers is the same, but for binary
values, which are base64 text there.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import msgspec
from msgspec import Raw

from behest_core.errors import MalformedStateError
from behest_core.model.change import RunChanged
from behest_core.model.commit import MOST_EVENTS, Commit
from behest_core.model.json import AnyJSON, number_from_text
from behest_core.model.limits import METADATA_BYTES, WRITE_UNIT_BYTES, stored_size
from behest_core.model.state import ExtensionSlice, RunState
from behest_core.model.timestamps import canonical

if TYPE_CHECKING:
    from behest_core.model.json import JSON

Attribute: TypeAlias = Mapping[str, Any]
Item: TypeAlias = Mapping[str, Attribute]

# the keys and attributes that requests name
RUN_ID: Final = "run_id"
SEQUENCE: Final = "sequence"
COUNT: Final = "count"
COMMIT_ID: Final = "commit_id"
REVISION: Final = "revision"
DECISIONS: Final = "decisions"
SESSION_ID: Final = "session_id"
STATUS_SHARD: Final = "status_shard"
CREATED_AT: Final = "created_at"

DELETED_AT: Final = "deleted_at"
PARKED_SHARD: Final = "parked_shard"
PARKED_AT: Final = "parked_at"
WAITING_SHARD: Final = "waiting_shard"
WAITING_SINCE: Final = "waiting_since"
HOUR_SHARD: Final = "hour_shard"
COMMITTED_AT: Final = "committed_at"
EXPIRES_AT: Final = "expires_at"

BY_SESSION: Final = "by_session"
BY_STATUS: Final = "by_status"
BY_PARKED: Final = "by_parked"
BY_WAITING: Final = "by_waiting"
BY_HOUR: Final = "by_hour"

SHARDS: Final = 8
"""Over how many partitions one key of an index is spread: 8 take 8,000 changes of one status a second."""

LAST_POSITION: Final = 10**15
"""The last position of a log: no run comes near it, and every reader has exact numbers up to there."""

TOMBSTONE_POSITIONS: Final = (0, LAST_POSITION)

_LONG: Final = 10**37
"""What a count of a state stays below, so that the next one is a number of DynamoDB's, too."""

_UNKNOWN_TIME: Final = "an unknown time"


WAITING_SHARDS: Final = 2
"""Over how many those are spread that wait for a person: people are slow, and a list of all should take few requests."""


def shards_of(key: str, shards: int = SHARDS) -> list[str]:
    """Return the hash keys over which an index spreads a status, ``parked``, ``waiting``, or an hour."""
    return [f"{key}#{shard}" for shard in range(shards)]


def shard_of(key: str, run_id: str, shards: int = SHARDS) -> str:
    """Return the one of them that a run is under, the same for ever."""
    return f"{key}#{crc32(run_id.encode()) % shards}"


def hour_of(timestamp: str) -> str:
    """Return the hour, in UTC, of a time in behest's own form: ``2026-01-31T12``."""
    return timestamp[:13]


# ---------------------------------------------------------------- commits


def commit_to_item(commit: Commit, expires_at: int | None = None) -> dict[str, Any]:
    """Return the item of a commit. `expires_at` is when DynamoDB may delete it, in seconds since 1970.

    `events` is text while that is no dearer to write than zlib's binary.
    """
    payload = commit.read().json
    item: dict[str, Any] = {
        RUN_ID: {"S": commit.run_id},
        SEQUENCE: {"N": str(commit.sequence)},
        COMMIT_ID: {"S": commit.commit_id},
        COMMITTED_AT: {"S": commit.committed_at},
    }
    if expires_at is not None:
        item[EXPIRES_AT] = {"N": str(expires_at)}
    if commit.sequence <= 1 and commit.committed_at:
        # a run's first item, with record or without: how the reconciler finds runs whose first stream record was lost
        item[HOUR_SHARD] = {"S": shard_of(hour_of(commit.committed_at), commit.run_id)}
    if commit.is_record:
        item["record"] = {"S": payload.decode()}
        return item
    item[COUNT] = {"N": str(commit.count)}
    item["events"] = _pack(payload, _item_bytes(item) + len("events"))
    return item


def _pack(payload: bytes, beside: int) -> dict[str, Any]:
    """Return the attribute that costs fewer write units in an item with `beside` bytes more; text where both cost the same."""
    if beside + len(payload) > WRITE_UNIT_BYTES:
        packed = zlib.compress(payload)
        if (beside + len(packed) - 1) // WRITE_UNIT_BYTES < (beside + len(payload) - 1) // WRITE_UNIT_BYTES:
            return {"B": packed}
    return {"S": payload.decode()}


def _item_bytes(item: Item) -> int:
    return sum(len(name) + len(next(iter(attribute.values())).encode()) for name, attribute in item.items())


def tombstone_items(run_id: str, deleted_at: str) -> list[dict[str, Any]]:
    """Return what is left of a deleted run's log.

    One at its first position, so that the run can't be created again. One at its last, so that whoever looks for the log's end
    meets it, whatever somebody appended who hadn't heard of the deletion.
    """
    return [
        {RUN_ID: {"S": run_id}, SEQUENCE: {"N": str(position)}, DELETED_AT: {"S": deleted_at}}
        for position in TOMBSTONE_POSITIONS
    ]


def deleted_at(item: Item) -> str | None:
    """Return when the run of an item was deleted, None where it wasn't. That it was is sure, even where the time isn't one."""
    if DELETED_AT not in item:
        return None
    return text_of(item, DELETED_AT) or _UNKNOWN_TIME


def commit_from_item(item: Item) -> Commit | None:
    """Return the commit of an item, or of a stream record's image; None for a tombstone, and where its key is no position.

    What else is wrong with the item is said in `problem`: such a commit is part of its run, and can't be folded.
    """
    sequence = _position(item)
    if sequence is None or DELETED_AT in item:
        return None
    count = _count(item) if sequence else 1
    attribute = item.get("events" if sequence else "record", _ABSENT)
    text, packed = attribute.get("S"), attribute.get("B")
    problem = None if count else f"`{COUNT}` is not a whole number from 1 to {MOST_EVENTS:,}"
    if text is None and packed is None:
        problem = problem or f"`{'events' if sequence else 'record'}` is neither text nor binary"
    if problem is not None:
        text = packed = None
    return Commit(
        run_id=run_id_of(item),
        sequence=sequence,
        count=count or 1,
        text=text,
        packed=packed,
        commit_id=text_of(item, COMMIT_ID) or "",
        committed_at=committed_at(item),
        expires_at=number_of(item, EXPIRES_AT),
        problem=problem,
    )


def last_of(item: Item) -> int | None:
    """Return the last position that an item of the event table takes, from its sequence and count alone."""
    sequence = _position(item)
    if sequence is None:
        return None
    return sequence + ((_count(item) if sequence else None) or 1) - 1


def committed_at(item: Item) -> str:
    """Return when an item of the event table was written, as its writer says; empty where it doesn't."""
    return text_of(item, COMMITTED_AT) or ""


def _position(item: Item) -> int | None:
    sequence = number_of(item, SEQUENCE)
    return None if sequence is None or not 0 <= sequence <= LAST_POSITION else sequence


def _count(item: Item) -> int | None:
    count = number_of(item, COUNT)
    return None if count is None or not 1 <= count <= MOST_EVENTS else count


# ---------------------------------------------------------------- attributes, whatever their type


def run_id_of(item: Item) -> str:
    """Return the run that an item is of. As every item's key it is text, without fail."""
    return str(item[RUN_ID]["S"])


def text_of(item: Item, name: str) -> str | None:
    """Return an attribute that is text, None where there is none or it is of another type."""
    text: str | None = item.get(name, _ABSENT).get("S")
    return text


def number_of(item: Item, name: str) -> int | None:
    """Return an attribute that is a whole number, None where there is none or it is anything else."""
    text = item.get(name, _ABSENT).get("N")
    if text is None:
        return None
    if text.isdecimal() and len(text) < _DIGITS:
        return int(text)
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else None


_ABSENT: Final[Attribute] = {}
_DIGITS: Final = 39  # DynamoDB's numbers have fewer


# ---------------------------------------------------------------- stream records

Record: TypeAlias = Mapping[str, Any]
"""One record of a DynamoDB stream, as Lambda delivers it."""


class Change(Enum):
    """What happened to an item of the event table, where it isn't a new commit."""

    EXPIRED = "expired"
    DELETED = "deleted"
    MODIFIED = "modified"
    REMOVED = "removed"
    MISPLACED = "misplaced"


def change_of(record: Record) -> Commit | Change:
    """Return the commit that a record brings, or what else it tells.

    A delete by TTL says so in `userIdentity` ("DynamoDB Streams and Time to Live").
    """
    kind = record["eventName"]
    image: Item = record["dynamodb"].get("NewImage") or {}
    if DELETED_AT in image:
        return Change.DELETED
    if kind == "INSERT":
        return commit_from_item(image) or Change.MISPLACED
    if kind == "MODIFY":
        return Change.MODIFIED
    by_ttl = (record.get("userIdentity") or {}).get("principalId") == "dynamodb.amazonaws.com"
    return Change.EXPIRED if by_ttl else Change.REMOVED


def key_of(record: Record) -> tuple[str, int]:
    """Return the run id and the sequence of the item that a record is about; a misplaced one's sequence is rounded down."""
    keys = record["dynamodb"]["Keys"]
    return keys[RUN_ID]["S"], int(Decimal(keys[SEQUENCE]["N"]))


def written_at(record: Record) -> float | None:
    """Return when the stream noted what a record tells, in whole seconds since 1970; None where it doesn't say."""
    moment = record["dynamodb"].get("ApproximateCreationDateTime")
    if moment is None:
        return None
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def sequence_number_of(record: Record) -> str:
    """Return the record's sequence number: the stream's own, opaque."""
    return str(record["dynamodb"]["SequenceNumber"])


# ---------------------------------------------------------------- states


def state_to_item(state: RunState) -> dict[str, Any]:
    """Return the item of a state. An absent value is an absent attribute."""
    if state.deleted_at is not None:
        return {
            RUN_ID: {"S": state.run_id},
            REVISION: {"N": str(state.revision)},
            DELETED_AT: {"S": state.deleted_at},
        }
    parks, waiting_since = state.parks, state.waiting_since
    values: dict[str, JSON] = {
        RUN_ID: state.run_id,
        SESSION_ID: state.session_id,
        "status": str(state.status),
        STATUS_SHARD: shard_of(state.status, state.run_id),
        "provider": state.provider,
        "model": state.model,
        "metadata": state.metadata,
        "iteration": state.iteration,
        "total_usage": msgspec.to_builtins(state.total_usage),
        "last_finish": msgspec.to_builtins(state.last_finish),
        "last_error": state.last_error,
        "event_count": state.event_count,
        CREATED_AT: state.created_at,
        "updated_at": state.updated_at,
        SEQUENCE: state.sequence,
        REVISION: state.revision,
        "reducer_version": state.reducer_version,
        "parked": msgspec.to_builtins(state.parked),
        PARKED_SHARD: shard_of("parked", state.run_id) if parks else None,
        PARKED_AT: min(parked.parked_at for parked in parks.values()) if parks else None,
        "waiting": msgspec.to_builtins(state.waiting),
        WAITING_SHARD: shard_of("waiting", state.run_id, WAITING_SHARDS) if waiting_since is not None else None,
        WAITING_SINCE: waiting_since,
        "ended_at": state.ended_at,
        "extensions": {name: _slice_values(piece) for name, piece in state.extensions.items()} or None,
        "has_record": state.has_record or None,
        "annotations": None if state.annotations is None else msgspec.to_builtins(state.annotations),
        DECISIONS: state.decisions or None,
        COMMIT_ID: state.commit_id,
        "guard": msgspec.to_builtins(state.guard),
    }
    return {name: to_attribute(value) for name, value in values.items() if value is not None}


def _slice_values(piece: ExtensionSlice) -> dict[str, JSON]:
    values: dict[str, JSON] = {"state": piece.state, "sequence": piece.sequence, "version": piece.version}
    if piece.parked is not None:
        values["parked"] = msgspec.to_builtins(piece.parked)
    return {**values, "outdated": True} if piece.outdated else values


def state_from_item(item: Item) -> RunState:
    """Return the state of an item. Raises MalformedStateError where something other than behest wrote it."""
    try:
        values = {name: from_attribute(attribute) for name, attribute in item.items() if name in _STATE_FIELDS}
        slices = _slices_from(values.pop("extensions", {}))
        state = msgspec.convert(values, RunState)
        counts = _counts_of(state)
        if min(counts) < 0 or max(counts) >= _LONG:
            wrong = next(name for name, count in zip(_COUNTS, counts, strict=True) if not 0 <= count < _LONG)
            raise ValueError(f"`{wrong}` is not a whole number of 0 or more")  # noqa: TRY301 (one way to be malformed)
        if stored_size(state.metadata) > METADATA_BYTES:
            raise ValueError("`metadata` is larger than a state has room for")  # noqa: TRY301 (the same)
        state.extensions = slices
        _check_range_keys(state)
    except (msgspec.ValidationError, ValueError) as error:
        raise MalformedStateError(run_id_of(item), str(error)) from error
    return state


def _check_range_keys(state: RunState) -> None:
    """Raise ValueError where a text would become an index's range key, and is no time.

    DynamoDB takes none that is empty or long, and checks those alone that are attributes of their own; lists leave out what
    doesn't sort among times.
    """
    if state.created_at is not None:
        _check_time(CREATED_AT, state.created_at)
    for parked in state.parks.values():
        _check_time(PARKED_AT, parked.parked_at)
    if state.waiting is not None:
        _check_time(WAITING_SINCE, state.waiting.since)


def _check_time(name: str, text: str) -> None:
    try:
        canonical(text)
    except ValueError as error:
        raise ValueError(f"`{name}` is not an RFC 3339 time") from error


_STATE_FIELDS: Final = frozenset(RunState.__struct_fields__)
_COUNTS: Final = (REVISION, SEQUENCE, "iteration", "event_count", "reducer_version", DECISIONS)
_counts_of = attrgetter(*_COUNTS)


def _slices_from(values: JSON) -> dict[str, ExtensionSlice]:
    """Return the slices of an item. Raises ValueError where they are none."""
    if not isinstance(values, dict):
        raise ValueError("`extensions` is not a map")  # noqa: TRY004 (of what was stored, not of an argument)
    slices = {}
    for name, piece in values.items():
        if not isinstance(piece, dict) or "state" not in piece:
            raise ValueError("a slice in `extensions` has no `state`")
        slices[name] = msgspec.convert({**piece, "state": Raw(msgspec.json.encode(piece["state"]))}, ExtensionSlice)
    return slices


def repaired_state(item: Item) -> RunState:
    """Return the state of an item; where that can't be read, one without content, which is folded again from its log."""
    try:
        return state_from_item(item)
    except MalformedStateError:
        return RunState(run_id=run_id_of(item), revision=revision_of(item) or 0)


def revision_of(item: Item) -> int | None:
    """Return which write of a state item it is, None where that is no number by which it could be told from the next."""
    revision = number_of(item, REVISION)
    return None if revision is None or not 1 <= revision < _LONG else revision


def run_changed(record: Record) -> RunChanged | None:
    """Return the change of status that a record of the state table's stream tells, None where there is none.

    Raises MalformedStateError where something other than behest wrote the item. A status before it that can't be read is none.
    """
    new, old = record["dynamodb"].get("NewImage"), record["dynamodb"].get("OldImage")
    if not new or DELETED_AT in new:
        return None
    after, before = _text(new, "status"), text_of(old or {}, "status")
    if after is None or after == before:
        return None
    run_id, revision, sequence = run_id_of(new), number_of(new, REVISION), number_of(new, SEQUENCE)
    if revision is None or sequence is None:
        raise MalformedStateError(run_id, f"`{REVISION if revision is None else SEQUENCE}` is not a whole number")
    return RunChanged(
        id=f"{run_id}#{revision}",
        run_id=run_id,
        session_id=_text(new, SESSION_ID),
        before=before,
        after=after,
        provider=_text(new, "provider"),
        model=_text(new, "model"),
        sequence=sequence,
        updated_at=_text(new, "updated_at"),
    )


class Decisions(NamedTuple):
    """That decisions were folded into a state: they lie in the run's log behind `after`, up to `until`."""

    run_id: str
    session_id: str | None
    metadata: AnyJSON
    after: int
    until: int


def decisions_of(record: Record) -> Decisions | None:
    """Return that decisions are new with a record of the state table's stream, None where none are.

    Raises MalformedStateError where something other than behest wrote the item.
    """
    new, old = record["dynamodb"].get("NewImage") or {}, record["dynamodb"].get("OldImage") or {}
    if DECISIONS not in new or (number_of(new, DECISIONS) or 0) <= (number_of(old, DECISIONS) or 0):
        return None
    run_id, until = run_id_of(new), number_of(new, SEQUENCE)
    if until is None:
        raise MalformedStateError(run_id, f"`{SEQUENCE}` is not a whole number")
    after = min(number_of(old, SEQUENCE) or 0, until)
    metadata = from_attribute(new["metadata"]) if "metadata" in new else None
    return Decisions(run_id, text_of(new, SESSION_ID), metadata, after, until)


def _text(item: Item, name: str) -> str | None:
    """Return a text of a state item, None where it is absent."""
    text = text_of(item, name)
    if text is None and name in item:
        raise MalformedStateError(run_id_of(item), f"`{name}` is not text")
    return text


def to_attribute(value: JSON) -> dict[str, Any]:
    """Return a JSON value as a DynamoDB attribute. The SDK's serializer takes no floats; a float's shortest text is exact."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | float):
        return {"N": str(value)}
    if isinstance(value, list):
        return {"L": [to_attribute(item) for item in value]}
    return {"M": {key: to_attribute(item) for key, item in value.items()}}


def from_attribute(attribute: Attribute) -> JSON:
    """Return a DynamoDB attribute as a JSON value. Numbers come back as int where they are whole, else as float.

    Raises ValueError for what is no JSON: binary and sets.
    """
    [(kind, value)] = attribute.items()
    if kind == "S":
        return value  # type: ignore[no-any-return]
    if kind == "N":
        return number_from_text(value)
    if kind == "M":
        return {key: from_attribute(item) for key, item in value.items()}
    if kind == "L":
        return [from_attribute(item) for item in value]
    if kind == "BOOL":
        return value  # type: ignore[no-any-return]
    if kind == "NULL":
        return None
    raise ValueError(f"an attribute of type {kind} is no JSON")
