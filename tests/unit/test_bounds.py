"""Whatever a log holds: the state item has room for it, or the run is parked, and the reason shows nothing of it."""

import json

import pytest

from behest_core.dynamodb import items
from behest_core.fold.rules import fold, parked_by
from behest_core.model.limits import EXTENSIONS_BYTES, ITEM_BYTES, METADATA_BYTES, TEXT_BYTES
from behest_core.model.state import ExtensionSlice, Guard, RunState
from tests.builders import RUN, at, commit, raw_commit, record_commit, run_failed, run_record, run_started
from tests.contract.fake.attributes import stored_item

LONG = "2" * 2_000_000


def size_of(state):
    return stored_item(items.state_to_item(state))[1]


@pytest.mark.parametrize("type_", ["TextDelta", "RunCancelled", "approvals.Requested"])
def test_an_event_whose_time_is_without_end_parks_its_run(type_):
    text = json.dumps([{"type": type_, "timestamp": LONG, "delta": ""}]).encode()
    state = fold(None, [commit(1, run_started()), raw_commit(2, 1, text)]).state
    assert (state.sequence, state.parked.sequence, state.parked.error) == (1, 2, "MalformedEventError")
    assert size_of(state) < 2_000


def test_an_id_of_a_commit_without_end_is_kept_in_part():
    item = items.commit_to_item(commit(1, run_started())) | {"commit_id": {"S": "é" * 150_000}}
    state = fold(None, [items.commit_from_item(item)]).state
    assert state.parked is None
    assert size_of(state) < 2_000


@pytest.mark.parametrize("share", ["texts", "metadata"])
def test_texts_and_metadata_beyond_their_shares_park_the_run(share):
    largest = [record_commit(run_record(metadata="m" * 122_000)), commit(1, run_failed(error="e" * 122_000))]
    assert fold(None, largest).state.parked is None
    if share == "texts":
        beyond = fold(None, [*largest, commit(2, run_failed(error="e" * 123_000))]).state
    else:
        beyond = fold(None, [record_commit(run_record(metadata="m" * 123_000))]).state
    assert beyond.parked.error == "StateTooLargeError"
    assert size_of(beyond) < ITEM_BYTES


def test_what_is_kept_of_failed_attempts_is_bounded():
    parked = None
    for _ in range(50):
        parked = parked_by(1, "é" * 100_000, "é" * 100_000).after(parked, at(0))
    assert size_of(RunState(run_id=RUN, parked=parked)) < 8_000


@pytest.mark.parametrize(
    "metadata",
    [{"secret": {"": 1}}, {"secret": int("9" * 40)}, {"secret": json.loads("[" * 31 + "]" * 31)}],
    ids=["an empty key", "too many digits", "too deep"],
)
def test_why_a_record_cannot_be_folded_is_told_without_its_keys(metadata):
    state = fold(None, [record_commit(run_record(metadata=metadata))]).state
    assert state.parked.error == "MalformedRecordError"
    assert "secret" not in state.parked.message


def test_an_item_holds_the_largest_value_of_every_attribute_together():
    half = [0] * (EXTENSIONS_BYTES // 4 - 2)
    parked = parked_by(1, "E" * 1_000, "e" * 1_000).after(None, at(0))
    slices = {
        name: ExtensionSlice.of({"n": half[:-4]}, sequence=2**63, version=2**31, parked=parked) for name in ("a", "b")
    }
    record = record_commit(run_record(session_id="é" * 255, metadata="m" * METADATA_BYTES))
    state = fold(None, [record, commit(1, run_failed(error="e" * (TEXT_BYTES - 12)))]).state
    assert state.parked is None
    state.parked, state.extensions = parked, slices
    state.updated_at, state.commit_id = "é" * 80, "é" * 64
    state.guard = Guard(owner="o" * 36, until=at(0))
    assert {name for name in RunState.__struct_fields__ if not getattr(state, name)} <= {
        "last_finish",
        "iteration",
        "revision",
        "deleted_at",
    }
    assert size_of(state) <= ITEM_BYTES
