"""Commits that somebody wrote to do harm: bombs of zlib, arrays of nothing, JSON that nests as deep as it can."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle
from typing import Any

import pytest

from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold
from behest_core.model import nesting
from behest_core.model.commit import INFLATED_BYTES, MOST_EVENTS, Commit
from behest_core.model.nesting import NESTING, nests_too_deep
from behest_core.projection.projector import Projector
from behest_core.runtime import WORKERS
from behest_core.testing import MemoryStream, Template
from tests.builders import RUN, commit, custom, run_started, text_delta
from tests.contract.fake import FakeDynamoDB

TABLES = Template().tables()
EVENTS, STATES = TABLES["EventTable"], TABLES["StateTable"]
MEGABYTE = 1024 * 1024
PEAK = 256 * MEGABYTE
HOSTILE = 99


def array(value: bytes, size: int) -> bytes:
    """Return a JSON array of one value, again and again, of at most so many bytes."""
    return b"[" + b",".join([value] * ((size - 2) // (len(value) + 1))) + b"]"


def packed(text: bytes) -> dict[str, Any]:
    return {"B": zlib.compress(text, 9)}


def record_with(metadata: bytes) -> bytes:
    return (
        b'{"session_id":"s","provider":"p","model":"m","created_at":"2026-01-31T12:00:00Z","metadata":'
        + metadata
        + b"}"
    )


SHORT = b'{"type":"A","timestamp":""}'
FULL = INFLATED_BYTES - 200
COUNTS = {"1": "1", "most": str(MOST_EVENTS), "1,000,000": "1000000"}
ITEM = 390 * 1024
"""What one event, or a record, may have is some more."""


def one_event(fields: bytes) -> dict[str, Any]:
    return {"count": {"N": "1"}, "events": packed(b"[{" + fields + b"}]")}


def events_of(array_of_them: bytes) -> dict[str, Any]:
    return {"count": {"N": str(array_of_them.count(b"timestamp"))}, "events": packed(array_of_them)}


def shaped(size: int) -> dict[str, dict[str, Any]]:
    """Return bombs of so many bytes that are no arrays of nothing: of digits, keys, escapes, what is no text, and types."""
    others = 40_000 if size == ITEM else 2_000  # more of them would make a large one's item too large to be written
    head = b'"type":"TextDelta","timestamp":"","delta":"'
    usage = b'"type":"UsageRecorded","timestamp":"","usage":{"output_tokens":1,"input_tokens":'
    return {
        "a number in a record": {"record": packed(record_with(b"1" * size))},
        "long numbers in a record": {"record": packed(record_with(array(b"1" * 40, size)))},
        "keys in a record": {
            "record": packed(record_with(b"{%b}" % b",".join(b'"%d":0' % (n % others) for n in range(size // 10))))
        },
        "a number of tokens": one_event(usage + b"1" * size + b"}"),
        "escapes": one_event(head + rb"\n" * (size // 2) + b'"'),
        "bytes that are no text": one_event(head + b"\xff" * size + b'"'),
        "a long type": one_event(b'"timestamp":"","type":"' + b"a" * size + b'"'),
        "brackets": {"count": {"N": "1"}, "events": packed(b"[" * size)},
        "events of one type": events_of(array(SHORT, size)),
        "events of a known type": events_of(array(b'{"type":"RunCancelled","timestamp":""}', size)),
        "events of many types": events_of(
            b"[%b]" % b",".join(b'{"type":"a%d","timestamp":""}' % (n % others) for n in range(size // 36))
        ),
    }


BOMBS = {
    **{f"{name}, {size // 1024} KB": bomb for size in (ITEM, FULL) for name, bomb in shaped(size).items()},
    **{
        f"{value.decode()}s of {size // MEGABYTE} MB, count {name}": {
            "count": {"N": count},
            "events": packed(array(value, size)),
        }
        for value in (b"0", b"{}", b"[[]]")
        for size in (16 * MEGABYTE, FULL)
        for name, count in COUNTS.items()
    },
    **{
        f"text, count {name}": {"count": {"N": count}, "events": {"S": array(b"[]", 390 * 1024).decode()}}
        for name, count in COUNTS.items()
    },
    "an event with an array of nothing": {
        "count": {"N": str(MOST_EVENTS)},
        "events": packed(b'[{"type":"A","timestamp":"","x":' + array(b"{}", FULL) + b"}]"),
    },
    "a record, 16 MB": {"record": packed(record_with(array(b"0", 16 * MEGABYTE)))},
    "a record, 390 KB": {"record": packed(record_with(array(b"{}", 390 * 1024)))},
}


def test_a_hundred_bombs_in_one_batch_are_parked_in_bounded_memory_and_the_other_runs_are_right():
    stream = MemoryStream(EVENTS.name)
    database = FakeDynamoDB([EVENTS.create, STATES.create], {EVENTS.name: stream})
    log, states = EventLog(database, EVENTS.name), StateTable(database, STATES.name)
    # each kind once, and then those that take the least time to see through while memory is traced
    hostile = chain(BOMBS.values(), cycle([BOMBS[name] for name in BOMBS if name.startswith("0s of 16 MB")]))
    for n, bomb in zip(range(HOSTILE), hostile, strict=False):
        sequence = "0" if "record" in bomb else "1"
        item = {"run_id": {"S": f"hostile-{n}"}, "sequence": {"N": sequence}, **bomb}
        database.put_item(TableName=EVENTS.name, Item=item)
    log.append("innocent", [run_started(), text_delta()])
    [shard] = stream.shards()
    records = stream.read(shard.shard_id, None, 1000).records
    with ThreadPoolExecutor(WORKERS) as pool:
        projector = Projector(log, states, spread=pool.map)
        tracemalloc.start()
        try:
            report = projector.project(records)
            assert tracemalloc.get_traced_memory()[1] < PEAK
        finally:
            tracemalloc.stop()
    assert report.first_unfinished is None
    found = states.get_many([f"hostile-{n}" for n in range(HOSTILE)] + ["innocent"])
    assert len(found) == HOSTILE + 1
    assert [name for name, state in found.items() if state.parked is None] == ["innocent"]
    assert found["innocent"].event_count == 2


def test_a_foreign_commit_of_as_many_events_as_there_can_be_is_folded():
    text = array(SHORT, FULL)
    count = text.count(SHORT)
    item = {"run_id": {"S": RUN}, "sequence": {"N": "2"}, "count": {"N": str(count)}, "events": packed(text)}
    state = fold(None, [commit(1, run_started()), items.commit_from_item(item)]).state
    assert (state.parked, state.event_count) == (None, count + 1)


def test_an_event_of_more_small_values_than_a_commit_has_events_is_folded():
    text = b'[{"type":"A","timestamp":"","x":' + array(b"0", MEGABYTE // 3) + b"}," + SHORT + b"]"
    assert text.count(b",") > MOST_EVENTS
    item = {"run_id": {"S": RUN}, "sequence": {"N": "2"}, "count": {"N": "2"}, "events": packed(text)}
    state = fold(None, [commit(1, run_started()), items.commit_from_item(item)]).state
    assert (state.parked, state.event_count) == (None, 3)


# ---------------------------------------------------------------- nesting

TYPE = "approvals.Requested"
UPCASTING = Dispatch(upcasters={TYPE: lambda event: event})


def nested(levels: int) -> str:
    """Return JSON of so many levels."""
    return "[" * levels + "]" * levels


def event_text(levels: int, type_: str) -> str:
    """Return an event that nests so deep in the commit's array: which is a level, and so is the event."""
    event = json.dumps({"type": type_, "timestamp": "2026-01-31T12:00:03Z", "delta": "x"})
    return f'{event[:-1]},"field":{nested(levels - 2)}}}'


def commit_of(levels: int, type_: str, *, is_packed: bool) -> Commit:
    good = json.dumps(custom())
    text = f"[{good},{event_text(levels, type_)},{good}]"
    events = packed(text.encode()) if is_packed else {"S": text}
    found = items.commit_from_item(
        {"run_id": {"S": RUN}, "sequence": {"N": "2"}, "count": {"N": "3"}, "events": events}
    )
    assert found is not None
    return found


@pytest.fixture(params=[1_000, 20_000])
def recursion_limit(request):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    ("type_", "dispatch"), [("TextDelta", Dispatch()), (TYPE, Dispatch()), (TYPE, UPCASTING), ("TextDelta", UPCASTING)]
)
def test_how_deep_an_event_may_nest_does_not_depend_on_the_interpreters_stack(type_, dispatch, is_packed):
    for levels, sequence in ((NESTING, None), (NESTING + 1, 3)):
        log = [commit(1, run_started()), commit_of(levels, type_, is_packed=is_packed), commit(5, text_delta())]
        state = fold(None, log, dispatch).state
        assert (state.parked and state.parked.sequence) == sequence
        assert state.event_count == (5 if sequence is None else 2)


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("levels", [30, 31, NESTING - 1, NESTING, 5_000])
def test_a_record_whose_metadata_nests_deeper_than_an_item_can_hold_parks_its_run(levels, is_packed):
    text = record_with(nested(levels).encode())
    item = {"run_id": {"S": RUN}, "sequence": {"N": "0"}, "record": packed(text) if is_packed else {"S": text.decode()}}
    state = fold(None, [items.commit_from_item(item), commit(1, run_started())]).state
    assert (state.parked and state.parked.error) == (None if levels == 30 else "MalformedRecordError")
    assert state.has_record is (levels == 30)


# ---------------------------------------------------------------- time


def test_a_text_that_is_never_closed_is_gone_through_once_and_not_from_each_of_its_quotes():
    text = b'["' + b'\\"' * 100_000 + b"[" * 1_000
    assert len(nesting._STRINGS.findall(text)) == 1
    assert not nests_too_deep(text)
    assert nests_too_deep(b"[" * 1_000 + text)


@pytest.mark.parametrize(
    ("deep", "before"),
    [(b"[" * MEGABYTE + b"]" * MEGABYTE, 1), (array(nested(NESTING - 1).encode(), MEGABYTE) + b"[", 0)],
    ids=["too deep", "as deep as it may be, again and again"],
)
def test_brackets_are_counted_in_one_pass_however_many_and_deep_they_are(deep, before, monkeypatch):
    passes, counted = [], nesting._depths

    def depths(text):
        passes.append(len(text))
        return counted(text)

    monkeypatch.setattr(nesting, "_depths", depths)
    assert nests_too_deep(deep) is bool(before)
    assert len(passes) == 1


def test_only_one_commit_is_decoded_at_a_time_however_many_threads_there_are():
    inside, most = 0, 0

    def watched(events):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        decoded = [decode(events) for _ in range(20)]
        inside -= 1
        return decoded[0]

    dispatch, interval = Dispatch(), sys.getswitchinterval()
    decode, dispatch.decode = dispatch.decode, watched
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            log = [commit(1, run_started(), *[text_delta()] * 100)]
            folded = list(pool.map(lambda _: fold(None, log, dispatch).state.event_count, range(50)))
    finally:
        sys.setswitchinterval(interval)
    assert (most, set(folded)) == (1, {101})


def test_nothing_of_a_commit_that_parks_its_run_stays_in_memory_until_garbage_is_collected():
    text = array(SHORT, MEGABYTE)
    item = {
        "run_id": {"S": RUN},
        "sequence": {"N": "1"},
        "count": {"N": str(text.count(SHORT))},
        "events": packed(text),
    }
    gc.disable()
    tracemalloc.start()
    try:
        assert fold(None, [items.commit_from_item(item)]).state.parked.error == "ValueError"
        assert tracemalloc.get_traced_memory()[0] < MEGABYTE / 2
    finally:
        tracemalloc.stop()
        gc.enable()
