import random
from itertools import pairwise

import pytest
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.fold.rules import fold
from behest_core.model.state import ExtensionSlice, Parked, RunStatus
from tests.builders import (
    at,
    commit,
    custom,
    model_started,
    poison,
    raw_commit,
    record_commit,
    run_completed,
    run_record,
    run_started,
    step,
    text_delta,
    usage_recorded,
)
from tests.golden import differences, golden_files, golden_runs
from tests.wire import encoded_events_of, record_of, wire_state

LOG = [
    record_commit(),
    commit(1, run_started(), model_started()),
    commit(3, text_delta(), usage_recorded(), run_completed()),
]


def state_of(*commits):
    return fold(None, commits).state


def plain(state):
    """Return what the events decide, without how often the state was saved, and how the events were committed."""
    return {name: getattr(state, name) for name in state.__struct_fields__ if name not in {"revision", "commit_id"}}


# ---------------------------------------------------------------- what there is to do


def test_a_new_run_whose_record_is_at_hand_is_folded_without_reading():
    assert step(None, LOG) == "fold"


def test_a_new_run_whose_record_is_not_at_hand_is_read_from_the_beginning():
    assert step(None, LOG[1:]) == ("read", -1)


def test_the_next_commits_are_folded_without_reading():
    assert step(state_of(*LOG[:2]), LOG[2:]) == "fold"


def test_duplicates_are_nothing_to_do():
    assert step(state_of(*LOG), LOG[1:]) == "nothing"


def test_duplicates_before_the_next_commit_do_not_make_it_read():
    assert step(state_of(*LOG[:2]), LOG) == "fold"


def test_a_gap_is_read_from_the_checkpoint_on():
    assert step(state_of(*LOG[:2]), [commit(9, text_delta())]) == ("read", 2)


def test_a_gap_between_the_commits_is_read_from_the_checkpoint_on():
    assert step(state_of(*LOG[:2]), [LOG[2], commit(9, text_delta())]) == ("read", 2)


def test_a_state_of_another_reducer_is_read_from_the_beginning():
    state = state_of(*LOG)
    state.reducer_version = REDUCER_VERSION - 1
    assert step(state, [commit(6, text_delta())]) == ("read", -1)


def test_a_parked_run_is_left_alone():
    assert step(state_of(LOG[0], poison(1)), [commit(4, text_delta())]) == "nothing"


def test_a_run_parked_by_another_reducer_is_read_from_the_beginning():
    state = state_of(LOG[0], poison(1))
    state.parked = Parked(sequence=2, error="E", message="", version=REDUCER_VERSION + 1)
    assert step(state, [commit(4, text_delta())]) == ("read", -1)


def test_a_record_that_comes_after_its_events_is_folded_from_the_beginning():
    assert step(state_of(*LOG[1:]), LOG[:1]) == ("read", -1)


def test_a_record_that_comes_twice_is_nothing_to_do():
    assert step(state_of(*LOG), LOG[:1]) == "nothing"


def test_a_malformed_record_that_comes_late_is_nothing_to_do():
    assert step(state_of(*LOG[1:]), [raw_commit(0, 1, b"{}")]) == "nothing"


# ---------------------------------------------------------------- doing it


def test_folding_says_what_it_did():
    folded = fold(state_of(*LOG[:2]), LOG)
    assert (folded.events, folded.duplicates, folded.gap, folded.changed) == (3, 3, None, True)
    assert folded.state.sequence == folded.state.event_count == 5


def test_folding_duplicates_changes_nothing():
    folded = fold(state_of(*LOG), LOG)
    assert (folded.events, folded.duplicates, folded.changed) == (0, 6, False)


def test_a_commit_that_is_half_known_is_folded_from_its_middle():
    state = state_of(LOG[0], commit(1, run_started(), usage_recorded()))
    folded = fold(state, [commit(2, usage_recorded(), usage_recorded(), usage_recorded())])
    assert folded.events == 2
    assert folded.state.total_usage.input_tokens == 30


def test_folding_stops_at_a_gap_in_the_log():
    folded = fold(state_of(*LOG[:2]), [LOG[2], commit(7, text_delta())])
    assert (folded.state.sequence, folded.gap) == (5, 6)


def test_a_log_that_has_lost_its_beginning_gives_no_state():
    folded = fold(None, [commit(3, text_delta())])
    assert (folded.state, folded.gap, folded.changed) == (None, 1, False)


def test_a_log_without_record_is_folded():
    assert state_of(*LOG[1:]).status is RunStatus.COMPLETED


def test_a_state_of_another_reducer_is_folded_anew_and_keeps_its_revision_and_extensions():
    state = state_of(*LOG)
    slice_ = ExtensionSlice.of({"usd": 1}, sequence=5, version=1)
    state.reducer_version, state.iteration, state.revision, state.extensions = 0, 99, 7, {"cost": slice_}
    again = fold(state, LOG).state
    assert (again.iteration, again.revision, again.reducer_version) == (1, 7, REDUCER_VERSION)
    assert again.extensions == {"cost": replace(slice_, outdated=True)}


def test_a_record_that_comes_late_gives_the_state_it_would_have_given_in_time():
    late = fold(state_of(*LOG[1:]), LOG).state
    assert plain(late) == plain(state_of(*LOG))
    assert late.created_at == "2026-01-31T12:00:00.000000000Z"


def test_a_second_fold_over_less_history_does_not_replace_the_first():
    state = state_of(*LOG)
    state.reducer_version = 0
    folded = fold(state, LOG[:2])
    assert (folded.state.sequence, folded.state.status, folded.changed) == (5, RunStatus.COMPLETED, False)


def test_a_second_fold_goes_on_from_the_first_where_the_log_has_lost_its_beginning():
    state = state_of(*LOG)
    state.reducer_version = 0
    folded = fold(state, [LOG[2], commit(6, model_started(iteration=4))])
    assert (folded.state.sequence, folded.state.iteration, folded.state.reducer_version) == (6, 4, 0)


def test_a_second_fold_goes_on_from_the_first_where_the_log_has_lost_its_record():
    record = record_commit(run_record(metadata={"team": "x"}))
    for first in (record, LOG[0]):
        state = state_of(first, *LOG[1:])
        state.reducer_version = 0
        folded = fold(state, [*LOG[1:], commit(6, model_started(iteration=4))])
        assert (folded.state.metadata, folded.state.created_at) == (state.metadata, "2026-01-31T12:00:00.000000000Z")
        assert (folded.state.sequence, folded.state.iteration, folded.state.reducer_version) == (6, 4, 0)


def test_a_second_fold_of_a_log_that_never_had_a_record_is_whole():
    state = state_of(*LOG[1:])
    state.reducer_version = 0
    assert fold(state, LOG[1:]).state.reducer_version == REDUCER_VERSION


@pytest.mark.parametrize("metadata", [{"a": [0.0, 1.2345678901234567e30, 1e22]}, None, {"a": 2**60}])
def test_a_record_that_comes_twice_is_nothing_to_do_however_its_numbers_come_back(metadata):
    record = record_commit(run_record(metadata=metadata))
    stored = items.state_from_item(items.state_to_item(state_of(record, *LOG[1:])))
    assert step(stored, [record]) == "nothing"


def test_a_second_fold_that_parks_earlier_keeps_the_first_result_and_says_so():
    state = state_of(*LOG)
    state.reducer_version = 0
    folded = fold(state, [LOG[0], poison(1), LOG[2]])
    assert (folded.state.sequence, folded.state.parked.sequence, folded.changed) == (5, 2, True)


# ---------------------------------------------------------------- parking


def test_a_malformed_event_parks_the_run_after_the_last_good_one():
    folded = fold(state_of(*LOG), [poison(6), commit(9, text_delta())])
    state = folded.state
    assert (state.sequence, state.event_count, state.updated_at) == (6, 6, at(7))
    assert (state.parked.sequence, state.parked.error, state.parked.version) == (
        7,
        "MalformedEventError",
        REDUCER_VERSION,
    )
    assert (folded.events, folded.changed) == (1, True)


def test_why_a_run_is_parked_never_shows_payload():
    assert "secret" not in state_of(LOG[0], poison(1)).parked.message
    assert "usage" in state_of(LOG[0], poison(1)).parked.message


@pytest.mark.parametrize(
    "malformed",
    [
        raw_commit(6, 1, b""),
        raw_commit(6, 1, b"{"),
        raw_commit(6, 1, b"{}"),
        raw_commit(6, 1, b"[3]"),
        raw_commit(6, 1, b"[]"),
        raw_commit(6, 2, b'[{"type":"TextDelta","timestamp":"2026-01-31T12:00:07Z"}]'),
        raw_commit(6, 1, b'[{"type":"RunCancelled","timestamp":"2026-01-31T12:00:07Z"},{"type":"x","timestamp":""}]'),
        raw_commit(6, 1, b'[{"type":"TextDelta"}]'),
        raw_commit(6, 1, b'[{"type":"TextDelta","timestamp":5}]'),
        raw_commit(6, 1, b'[{"timestamp":"2026-01-31T12:00:07Z"}]'),
        raw_commit(6, 1, b'[{"type":"","timestamp":"2026-01-31T12:00:07Z"}]'),
        raw_commit(6, 1, b'[{"type":"ModelStarted","timestamp":"2026-01-31T12:00:07Z","iteration":-1}]'),
        raw_commit(6, 1, b'[{"type":"RunFailed","timestamp":"2026-01-31T12:00:07Z","error":"\xff"}]'),
        raw_commit(6, 1, b"[" * 100_000),
    ],
    ids=lambda each: each.payload[:60].decode(errors="replace"),
)
def test_whatever_is_malformed_parks_and_changes_nothing_else(malformed):
    state = fold(state_of(*LOG), [malformed]).state
    assert (state.parked.sequence, state.sequence, state.status) == (6, 5, RunStatus.COMPLETED)


def test_a_commit_that_says_more_events_than_it_has_parks_before_it():
    assert state_of(LOG[0], raw_commit(1, 5, LOG[1].payload)).parked.sequence == 1


def test_a_malformed_record_parks_the_run_at_its_beginning():
    state = state_of(raw_commit(0, 1, b'{"session_id":5}'))
    assert (state.parked.sequence, state.parked.error, state.sequence) == (0, "MalformedRecordError", 0)
    assert state.session_id is None


def test_a_record_whose_metadata_cannot_be_stored_is_malformed():
    record = raw_commit(
        0, 1, b'{"session_id":"s","provider":"p","model":"m","created_at":"2026-01-31T12:00:00Z","metadata":{"":1}}'
    )
    assert state_of(record).parked.error == "MalformedRecordError"


def test_passive_events_are_not_read_further_than_their_time():
    assert (
        state_of(raw_commit(1, 1, b'[{"type":"TextDelta","timestamp":"2026-01-31T12:00:07Z","delta":5}]')).parked
        is None
    )


# ---------------------------------------------------------------- any cut


def cut(record, events, draw):
    """Cut events into commits of random sizes."""
    marks = sorted({0, len(events), *(draw.randrange(len(events) + 1) for _ in range(5))})
    commits = [record_commit(record)]
    for start, end in pairwise(marks):
        payload = b"[" + b",".join(events[start:end]) + b"]"
        commits.append(raw_commit(start + 1, end - start, payload, run_id=record.run_id))
    return commits


@pytest.mark.parametrize("file", golden_files())
def test_every_golden_log_folds_to_its_state_however_it_is_cut_into_commits_and_batches(file):
    draw = random.Random(5)
    for line in golden_runs(file):
        commits = cut(record_of(line), encoded_events_of(line), draw)
        state = None
        while commits:
            size = draw.randint(1, 3)
            batch, commits = commits[:size], commits[size:]
            assert step(state, batch) == "fold"
            state = fold(state, batch).state
        assert differences(line["state"], wire_state(state)) == []


def test_a_commit_with_an_unknown_type_folds_as_its_events_do():
    together = state_of(LOG[0], commit(1, run_started(), custom(), model_started()))
    apart = state_of(LOG[0], commit(1, run_started()), commit(2, custom()), commit(3, model_started()))
    assert plain(together) == plain(apart)
    assert together.event_count == 3
