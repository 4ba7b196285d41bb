"""What is written comes back as it was."""

from __future__ import annotations

import json
from base64 import b64encode

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from behest_core.dynamodb import items
from behest_core.errors import InvalidValueError
from behest_core.interchange import read_run, write_run
from behest_core.model.commit import Commit
from behest_core.model.decoding import core_decoder, decode_each, encode_event, split
from behest_core.model.json import as_stored
from behest_core.model.packing import RecordedEvent
from behest_core.model.record import decode_record, encode_record
from tests.contract.fake.attributes import stored_item
from tests.properties.strategies import RUN, commit_of, encoded_events, good_events, records, states, storable


def as_delivered(item):
    """Return an item as Lambda delivers it: through JSON, with binary values as base64 text."""
    return json.loads(json.dumps(item, default=lambda binary: b64encode(binary).decode()))


def read(commit):
    """Return a commit with its JSON read."""
    return msgspec.structs.replace(commit, payload=commit.read().json, text=None, packed=None)


@given(st.lists(encoded_events, min_size=1, max_size=40), st.integers(1, 10**12), st.booleans())
def test_a_commit_comes_back_from_its_item_and_from_the_stream(events, sequence, expires):
    commit = msgspec.structs.replace(
        commit_of(1, events), sequence=sequence, expires_at=1_800_000_000 if expires else None
    )
    item = items.commit_to_item(commit, 1_800_000_000 if expires else None)
    assert read(items.commit_from_item(item)) == commit
    assert read(items.commit_from_item(as_delivered(item))) == commit
    assert items.last_of(item) == commit.last


@given(st.lists(encoded_events, min_size=1, max_size=12))
def test_the_events_of_a_commit_are_the_bytes_that_were_appended(events):
    commit = commit_of(1, events)
    assert list(map(bytes, split(items.commit_from_item(items.commit_to_item(commit)).read().json))) == events


@given(records)
def test_a_run_record_comes_back(record):
    commit = Commit(run_id=RUN, sequence=0, payload=encode_record(record))
    assert decode_record(items.commit_from_item(items.commit_to_item(commit))) == record


@given(states)
def test_a_state_comes_back_from_its_item(state):
    assert items.state_from_item(items.state_to_item(state)) == state


@given(states)
def test_a_state_comes_back_from_what_the_table_makes_of_its_item(state):
    stored, _ = stored_item(items.state_to_item(state))
    assert items.state_from_item(stored) == state


@given(storable)
def test_what_is_stored_is_stored_the_same_when_it_comes_back(value):
    assert items.from_attribute(items.to_attribute(value)) == as_stored(value)
    assert as_stored(as_stored(value)) == as_stored(value)


@given(good_events())
def test_an_event_comes_back_with_all_its_fields(event):
    encoded = encode_event(event)
    assert msgspec.json.decode(encoded) == event
    assert next(iter(msgspec.json.decode(encoded))) == "type"
    assert encode_event(core_decoder.decode_one(encoded)) is not None


@given(st.none() | records, st.lists(good_events(), min_size=1, max_size=8))
def test_a_run_comes_back_from_its_line(record, events):
    encoded = [encode_event(event) for event in events]
    recorded = [RecordedEvent(RUN, at, "", event) for at, event in enumerate(encoded, start=1)]
    line = write_run(record, recorded)
    run = read_run("file", 1, line)
    assert run.run_id == RUN
    assert [msgspec.json.decode(event.raw) for event in run.events] == list(map(msgspec.json.decode, encoded))
    assert (
        write_run(run.record, [RecordedEvent(RUN, at, "", each.raw) for at, each in enumerate(run.events, 1)]) == line
    )


@given(st.dictionaries(st.text(max_size=5), storable, max_size=4))
def test_what_is_appended_can_be_folded(event):
    try:
        encoded = encode_event({"type": "TextDelta", "timestamp": "2026-01-31T12:00:00Z", "delta": ""} | event)
    except InvalidValueError:
        return
    _, error = decode_each(b"[" + encoded + b"]", core_decoder.decode_one)
    assert error is None
