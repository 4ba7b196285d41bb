"""Whatever a log holds: the state item has room for it, or the run is parked, and the reason shows nothing of it."""

import json

import pytest

from behest_core.dynamodb import items
from behest_core.fold.rules import fold, parked_by
from behest_core.model.limits import ITEM_BYTES
from behest_core.model.state import RunState
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
