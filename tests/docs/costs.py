"""What a run costs in write request units, computed from the items that behest writes.

The run is made up, and the same every time. Its events are as many, as long and as bursty as those of the average of 200
recorded runs of a customer-service agent: 12 model calls, half of them with a tool call, 470 events in about 100 seconds.

No compressed item is near the border of a unit, so another zlib gives the same figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from behest_core.dynamodb import items
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.decoding import encode_event
from behest_core.model.limits import WRITE_UNIT_BYTES
from behest_core.model.record import RunRecord, encode_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from behest_core.model.json import JSON

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
RUN_ID = "ab7f7cd2-7493-592c-8481-9ee76c16455b"
_ID, _TIME = "0" * 36, "2026-01-31T12:00:00.000000Z"  # any of their length
RECORD = RunRecord(
    run_id=RUN_ID,
    session_id="9b1d4c2e-1f7a-4a52-8c3e-5d6f7a8b9c0d",
    provider="openai",
    model="gpt-4o",
    metadata={"customer": "c-1042", "priority": 2},
    created_at="2026-01-31T12:00:00.000000Z",
)
_TEXT = "your order has been changed and will leave from gate on confirm the payment refund within hours date total of"
_WORDS = _TEXT.split()

Timed = tuple[timedelta, bytes]


@dataclass(frozen=True)
class Cost:
    """What was written for a run, in write request units, but for `commits` and `saves`, which count."""

    commits: int
    log: int
    log_as_text: int
    saves: int
    state: int
    index: int

    @property
    def total(self) -> int:
        return self.log + self.state + self.index


def events() -> list[Timed]:
    """Return the run's events, each with the time that has passed since the run began."""
    return list(_events(Random("a run of an agent")))


def _events(random: Random) -> Iterator[Timed]:
    now = timedelta(milliseconds=5)

    def event(kind: str, pause: float, **fields: JSON) -> Timed:
        nonlocal now
        now += timedelta(seconds=pause)
        moment = (BEGIN + now).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return now, encode_event({"type": kind, **fields, "timestamp": moment})

    def message() -> str:
        return f"{random.getrandbits(32):08x}-2b7b-4d6e-8c39-{random.getrandbits(48):012x}"

    served = {"provider": RECORD.provider, "model": RECORD.model}
    yield event("RunStarted", 0, session_id=RECORD.session_id, **served)
    for call in range(12):
        yield event("ContextBuilt", 0.05, message_count=2 * call + 2)
        yield event("ModelStarted", 0.01, iteration=call + 1, **served)
        for first in [True] + 29 * [False]:
            yield event("TextDelta", 1.2 if first else 0.03, delta=f"{random.choice(_WORDS)} ")
        yield event("UsageRecorded", 0.05, usage={"input_tokens": 2000 + 300 * call, "output_tokens": 60})
        yield event("AssistantMessageCommitted", 0.02, message_id=message())
        if call % 2 == 0:
            yield from _tool_call(event, random, f"call_{call:024x}", message())
        else:
            now += timedelta(seconds=10)  # the customer types
    yield event("RunCompleted", 0.1, finish_reason="stop", iterations=12)


def _tool_call(event: Any, random: Random, call_id: str, message_id: str) -> Iterator[Timed]:
    tool = {"call_id": call_id, "tool_name": "get_reservation_details"}
    yield event("ToolCallStarted", 0.3, **tool)
    for piece in ('{"reserva', 'tion_id"', ': "', "4WQ1", '50"}'):
        yield event("ToolCallDelta", 0.03, call_id=call_id, delta=piece)
    arguments = {"reservation_id": "4WQ150"}
    yield event("ToolCallCompleted", 0.03, call={"id": call_id, "name": tool["tool_name"], "arguments": arguments})
    yield event("ToolExecutionStarted", 0.01, **tool)
    output = {"passengers": [" ".join(random.choices(_WORDS, k=12)) for _ in range(10)]}
    yield event("ToolExecutionFinished", 0.6, result={"Success": {"output": output}}, duration_ms=600, **tool)
    yield event("ToolMessageCommitted", 0.02, message_id=message_id)


def cost(run: Sequence[Timed], *, packed_over: timedelta, batched_over: timedelta) -> Cost:
    """Compute what a run costs whose writer appends, and whose projector is called, once per so much time with events."""
    record = Commit(run_id=RUN_ID, sequence=0, payload=encode_record(RECORD), commit_id=_ID, committed_at=_TIME)
    written = [(timedelta(0), record), *_commits(run, packed_over)]
    log = [commit for _, commit in written]
    stored = [items.commit_to_item(commit) for commit in log]
    batches = ([commit for _, commit in batch] for _, batch in groupby(written, lambda each: each[0] // batched_over))
    states = list(_states(batches))
    saves = list(pairwise([{}, *states]))
    return Cost(
        commits=len(stored),
        log=sum(map(units, stored)),
        log_as_text=sum(units(_as_text(commit)) for commit in log),
        saves=len(saves),
        state=sum(max(map(units, save)) for save in saves),
        index=sum(_index_units(*save) for save in saves) + sum("hour_shard" in item for item in stored),
    )


_REVISION = 1_769_860_803_210_448


def _states(batches: Iterable[list[Commit]]) -> Iterator[dict[str, Any]]:
    """Return the state's item as it is saved after each batch."""
    state = None
    for commits in batches:
        state = fold(state, commits).state
        assert state is not None
        state.revision = _REVISION
        yield items.state_to_item(state)


def _as_text(commit: Commit) -> dict[str, Any]:
    item = items.commit_to_item(commit)
    return item if commit.is_record else item | {"events": {"S": commit.payload.decode()}}


def _commits(run: Sequence[Timed], packed_over: timedelta) -> Iterator[tuple[timedelta, Commit]]:
    """Cut the run into commits: one per event where there is no time to wait, else all events until it is over."""
    lots: list[list[Timed]] = []
    for each in run:
        if lots and each[0] - lots[-1][0][0] < packed_over:
            lots[-1].append(each)
        else:
            lots.append([each])
    sequence = 1
    for lot in lots:
        payload = b"[" + b",".join(event for _, event in lot) + b"]"
        yield (
            lot[-1][0],
            Commit(
                run_id=RUN_ID,
                sequence=sequence,
                count=len(lot),
                payload=payload,
                commit_id=_ID,
                committed_at=_TIME,
            ),
        )
        sequence += len(lot)


def _index_units(before: dict[str, Any], after: dict[str, Any]) -> int:
    """The indexes hold nothing but keys: one unit when an entry is made, two when its key changes, none otherwise."""
    units = 0
    for hash_key, range_key in (
        ("session_id", "created_at"),
        ("status_shard", "created_at"),
        ("parked_shard", "parked_at"),
        ("waiting_shard", "waiting_since"),
    ):
        old, new = ([item.get(name) for name in (hash_key, range_key)] for item in (before, after))
        if None not in new and old != new:
            units += 1 if None in old else 2
    return units


def units(item: dict[str, Any]) -> int:
    return -(-sum(len(name) + _bytes(value) for name, value in item.items()) // WRITE_UNIT_BYTES)


def _bytes(attribute: dict[str, Any]) -> int:
    """Return the size of an attribute's value by DynamoDB's rules ("Item sizes and formats"), rounded up."""
    [(kind, value)] = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return len(value.strip("-0.")) // 2 + 2
        case "B":
            return len(value)
        case "M":
            return 3 + sum(1 + len(name) + _bytes(inner) for name, inner in value.items())
        case "L":
            return 3 + sum(1 + _bytes(inner) for inner in value)
        case _:
            return 1


def mean_size(run: Sequence[Timed]) -> float:
    """Return the bytes of JSON that an event has on average."""
    return sum(len(event) for _, event in run) / len(run)
