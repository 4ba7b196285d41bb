"""Whatever lies in a table, a stream, a file or a queue: it parks a run, or is refused by name. Nothing else is ever raised."""

from __future__ import annotations

import contextlib
import json
import zlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.errors import (
    BehestError,
    InvalidValueError,
    MalformedError,
    MalformedEventError,
    MalformedLineError,
    MalformedRecordError,
    MalformedStateError,
    RunNotFoundError,
    RunParkedError,
    WaitTimeoutError,
)
from behest_core.fold.rules import fold, fold_batch
from behest_core.interchange import fold_line, write_run
from behest_core.model.commit import Commit
from behest_core.model.decoding import DECODE_ERRORS, encode_event
from behest_core.model.json import check_storable
from behest_core.model.packing import RecordedEvent
from behest_core.model.record import RunRecord, check_record, decode_record
from behest_core.model.state import RunState
from behest_core.model.timestamps import canonical, to_datetime
from behest_core.projection.catch_up import CatchUp
from behest_core.projection.lost_batch import LostBatch
from behest_core.projection.projector import Projector
from behest_core.store import RunStore
from behest_core.testing import MemoryStream, Template
from tests.builders import commit, record_commit, run_record, run_started, text_delta
from tests.contract.fake import FakeDynamoDB
from tests.contract.fake.attributes import InvalidAttributeError, as_delivered
from tests.contract.fake.table import Stored
from tests.properties.strategies import RUN, anything, attributes, ids, odd_events, text, written

TABLES = Template().tables()
EVENTS, STATES = TABLES["EventTable"], TABLES["StateTable"]

json_bytes = anything.map(written).filter(bool)
cut_short = json_bytes.flatmap(lambda whole: st.integers(0, len(whole)).map(lambda size: whole[:size]))
payloads = st.one_of(
    st.binary(max_size=40),
    json_bytes,
    cut_short,
    st.lists(odd_events(), max_size=4).map(written).filter(bool),
)
deep = example(b"[" * 50_000)


@deep
@given(payloads)
def test_any_payload_of_a_commit_folds_or_parks(payload):
    log = [record_commit(), commit(1, run_started())]
    for count in (1, 2, 5):
        broken = Commit(run_id="run-1", sequence=2, count=count, payload=payload)
        folded = fold(None, [*log, broken, commit(2 + count, text_delta())])
        assert folded.state.parked is None or 2 <= folded.state.parked.sequence < 2 + count
        assert (folded.state.parked is None) == (folded.state.sequence == 2 + count)


@deep
@given(payloads)
def test_any_payload_of_a_run_record_is_read_or_refused_by_name_and_folds_or_parks(payload):
    record = Commit(run_id=RUN, sequence=0, payload=payload)
    with contextlib.suppress(MalformedRecordError):
        decode_record(record)
    assert fold(None, [record, commit(1, run_started())]).state is not None
    late = fold(None, [commit(1, run_started())]).state
    fold_batch(late, [record])


_ATTRIBUTES = ["count", "events", "record", "commit_id", "committed_at", "expires_at", "deleted_at", "hour_shard", "x"]
stored_items = st.dictionaries(st.sampled_from(_ATTRIBUTES), attributes)
packed = st.builds(
    lambda count, payload: {"count": {"N": str(count)}, "events": {"B": zlib.compress(payload)}},
    st.integers(0, 5),
    payloads,
)
positions = st.sampled_from(["0", "1", "2", "3", "7", "-1", "1.5", "1E+2", "1E+15", "9.9E+125"])


@given(positions, stored_items | packed)
def test_any_item_of_the_event_table_is_a_commit_or_none(sequence, item):
    item = {"run_id": {"S": RUN}, "sequence": {"N": sequence}} | item
    for each in (item, json.loads(json.dumps(as_delivered(item)))):
        found = items.commit_from_item(each)
        items.last_of(each)
        if found is not None:
            fold(None, [record_commit(), commit(1, run_started()), found])


_STATE = items.state_to_item(fold(None, [record_commit(run_record(RUN, metadata={"a": 1}))]).state)
_STATE_ATTRIBUTES = [
    *_STATE,
    "parked",
    "parked_at",
    "parked_shard",
    "waiting",
    "waiting_shard",
    "waiting_since",
    "ended_at",
    "extensions",
    "guard",
    "has_record",
    "deleted_at",
    "x",
]
_REVISIONS = st.sampled_from([{}, *({"revision": {"N": number}} for number in ("0", "1", "7", "-1", "1.5", "1E+37"))])
state_items = st.builds(
    lambda base, revision, odd: {**base, **revision, **odd, "run_id": {"S": RUN}},
    st.sampled_from([_STATE, {}]),
    _REVISIONS,
    st.dictionaries(st.sampled_from(_STATE_ATTRIBUTES), attributes),
)


@given(state_items)
def test_any_item_of_the_state_table_is_read_or_refused_by_name_and_can_be_repaired(item):
    with contextlib.suppress(MalformedStateError):
        items.state_from_item(item)
    assert items.repaired_state(item).run_id == RUN


whole_logs = st.lists(st.tuples(positions, stored_items | packed), max_size=4)


def tables_with(log, state):
    """Return tables that hold these items, of one run, and the stream of the first; as other writers may have put them."""
    stream = MemoryStream(EVENTS.name)
    database = FakeDynamoDB([EVENTS.create, STATES.create], {EVENTS.name: stream})
    # put past the client: it knows nothing of sets, which others may store
    for sequence, item in log:
        put_past_the_client(database.tables[EVENTS.name], {**item, "sequence": {"N": sequence}})
    if state is not None:
        put_past_the_client(database.tables[STATES.name], state)
    return database, stream


@given(whole_logs, st.none() | state_items)
def test_the_projector_raises_nothing_whatever_lies_in_the_tables(log, state):
    database, stream = tables_with(log, state)
    [shard] = stream.shards()
    tables = EventLog(database, EVENTS.name), StateTable(database, STATES.name)
    projector, catch_up = Projector(*tables), CatchUp(*tables)
    records = stream.read(shard.shard_id, None, 100).records
    for batch in (records, records[1:], records[:1]):
        assert projector.project(json.loads(json.dumps(batch))).first_unfinished is None
    assert catch_up.fold(RUN, guarded=True).is_finished


_READS_AND_WRITES = {
    "head": lambda log: log.head(RUN),
    "tail": lambda log: log.tail(RUN),
    "record": lambda log: log.record(RUN),
    "commits": lambda log: list(log.commits(RUN)),
    "commits after": lambda log: list(log.commits(RUN, after=2)),
    "events": lambda log: list(log.events(RUN)),
    "whole": lambda log: list(log.whole(RUN)[1]),
    "run_ids": lambda log: list(log.run_ids()),
    "started": lambda log: list(log.started(datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))),
    "create": lambda log: log.create(run_record(RUN)),
    "append": lambda log: log.append(RUN, [text_delta()]),
    "append at": lambda log: log.append(RUN, [text_delta()], expected_sequence=3),
}


@given(whole_logs)
def test_whatever_lies_in_the_event_table_is_read_or_refused_by_name_and_can_be_deleted(log):
    for use in _READS_AND_WRITES.values():
        database, _ = tables_with(log, None)
        with contextlib.suppress(BehestError):
            use(EventLog(database, EVENTS.name))
        EventLog(database, EVENTS.name).delete(RUN, "2026-01-31T12:00:00Z")
        left = [dict(item.item) for item in database.tables[EVENTS.name].rows()]
        assert left == items.tombstone_items(RUN, "2026-01-31T12:00:00Z")


@given(state_items)
def test_whatever_lies_in_the_state_table_is_read_left_out_or_refused_by_name(item):
    database, _ = tables_with([], item)
    store = RunStore(EVENTS.name, STATES.name, client=database)
    for one in (store.get_state, store.state_table.get, lambda run_id: store.wait(run_id, 1, timeout=0)):
        with contextlib.suppress(MalformedStateError, RunNotFoundError, WaitTimeoutError, RunParkedError):
            one(RUN)
    untold = []
    for many in (store.states, store.parked_states, lambda **how: store.get_states([RUN], **how).values()):
        assert {state.run_id for state in many(unreadable=untold.append)} <= {RUN}
    table = store.state_table
    for each in (table.find(repair=True), table.find_parked(repair=True), table.get_many([RUN], repair=True).values()):
        assert {state.run_id for state in each} <= {RUN}
    assert set(table.run_ids()) <= {RUN}


@given(state_items)
def test_whatever_lies_in_the_state_table_is_replaced_by_the_next_save_and_can_be_deleted(item):
    for is_saved_first in (True, False):
        database, _ = tables_with([], item)
        table = StateTable(database, STATES.name)
        if is_saved_first:
            saved = table.save(table.get_many([RUN], repair=True).get(RUN) or RunState(run_id=RUN))
            assert table.get(RUN).revision == saved.revision >= 1
        table.bury(RUN, "2026-01-31T12:00:00Z")
        assert table.get(RUN).deleted_at is not None


def put_past_the_client(table, item):
    """Put an item of whatever attributes, unless its keys won't do: DynamoDB itself refuses those."""
    item = {**item, "run_id": {"S": RUN}}
    with contextlib.suppress(InvalidAttributeError):
        for index in table.indexes.values():
            index.schema.check(item, index=index.name)
        table.put(Stored(item, 100))


# ---------------------------------------------------------------- what callers pass


@given(odd_events() | anything)
def test_any_event_is_appended_or_refused_by_name_and_then_it_folds(event):
    if not isinstance(event, dict):
        return
    try:
        encoded = encode_event(event)
    except InvalidValueError:
        return
    folded = fold(None, [Commit(run_id=RUN, sequence=1, payload=b"[" + encoded + b"]")])
    assert folded.state.parked is None or folded.state.parked.error == "OverflowError"


@example(10**5000)
@example({"": 1})
@example("\ud800")
@given(anything)
def test_any_metadata_is_stored_or_refused_by_name(metadata):
    record = RunRecord(
        run_id=RUN, session_id="s", provider="p", model="m", metadata=metadata, created_at="2026-01-31T12:00:00Z"
    )
    with contextlib.suppress(InvalidValueError):
        check_storable(metadata, "metadata")
    with contextlib.suppress(BehestError):
        check_record(record)


@example("0000-01-01T00:00:00Z")
@example("0001-01-01T00:00:00+23:59")
@example("9999-12-31T23:59:59-23:59")
@example("2026-01-31T24:00:00Z")
@given(
    st.text(max_size=30) | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([zZ]|[+-]\d\d:\d\d)", fullmatch=True)
)
def test_any_text_is_a_time_or_a_value_error(moment):
    with contextlib.suppress(ValueError):
        assert len(canonical(moment)) == len("2026-01-31T12:00:00.000000000Z")
        to_datetime(moment)


# ---------------------------------------------------------------- files and queues

_RECORD = {"id": ids, "session_id": ids, "provider": text, "model": text, "created_at": text}
_EVENT = {"sequence": st.integers(0, 3), "run_id": st.just(RUN), "event": anything, "timestamp": text}
_LINE = {
    "record": anything | st.fixed_dictionaries(_RECORD),
    "events": anything | st.lists(st.fixed_dictionaries(_EVENT), max_size=3),
}
lines = payloads | st.fixed_dictionaries(_LINE).map(written).filter(bool)


@deep
@given(lines)
def test_any_line_is_a_run_or_refused_by_name(line):
    with contextlib.suppress(MalformedLineError):
        fold_line("file", 1, line)


@given(payloads)
def test_any_event_of_a_log_is_written_to_a_line_or_refused_by_name(event):
    with contextlib.suppress(MalformedEventError):
        write_run(None, [RecordedEvent(RUN, 1, "", event)])
    with contextlib.suppress(MalformedEventError):
        assert RecordedEvent(RUN, 1, "", event).event.timestamp is not None


@given(st.text(max_size=20) | payloads.map(lambda each: each.decode(errors="replace")))
def test_any_message_is_a_lost_batch_or_refused_by_name(body):
    with contextlib.suppress(MalformedError):
        LostBatch.from_message(body)


def test_what_counts_as_a_decode_error_is_what_msgspec_lets_out():
    for broken in (b"\xff", b'"\xff"', b"[" * 50_000, b"{", b""):
        with pytest.raises(DECODE_ERRORS):
            msgspec.json.decode(broken)
