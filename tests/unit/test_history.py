"""What one event changed: the state before it and after it, in one go through the log."""

from __future__ import annotations

import pytest

from behest_core.errors import RunNotFoundError, StateNotFoundError
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.extension import Extension, ExtensionState
from behest_core.fold.history import state_at_sequence, states_around
from behest_core.model.events import TextDelta
from tests.builders import (
    RUN,
    commit,
    model_started,
    poison,
    record_commit,
    run_completed,
    run_started,
    text_delta,
    usage_recorded,
)

EVENTS = [run_started(1), model_started(2), text_delta(3), usage_recorded(4), text_delta(4), run_completed(5)]


class Words(ExtensionState):
    count: int = 0


words = Extension("words", Words)


@words.on(TextDelta)
def count(state, event, run):
    state.count += 1


def log_cut_into(*lengths, has_record=True):
    sequence = 1
    if has_record:
        yield record_commit()
    for length in lengths:
        yield commit(sequence, *EVENTS[sequence - 1 : sequence - 1 + length])
        sequence += length


@pytest.mark.parametrize("has_record", [True, False])
@pytest.mark.parametrize("lengths", [(6,), (1, 1, 1, 1, 1, 1), (2, 4), (3, 1, 2), (5, 1)])
@pytest.mark.parametrize("sequence", [1, 2, 3, 4, 5, 6])
def test_both_are_the_states_at_their_sequences_however_the_log_is_cut(lengths, sequence, has_record):
    dispatch = Dispatch([words])
    before, after = states_around(RUN, log_cut_into(*lengths, has_record=has_record), sequence, dispatch)
    log = list(log_cut_into(*lengths, has_record=has_record))
    assert after == state_at_sequence(RUN, log, sequence, dispatch)
    if has_record or sequence > 1:
        assert before == state_at_sequence(RUN, log, sequence - 1, dispatch)
    else:
        assert before is None


def test_the_record_came_out_of_nothing():
    before, after = states_around(RUN, log_cut_into(6), 0)
    assert (before, after.sequence) == (None, 0)


def test_an_event_that_cannot_be_folded_parks_the_state_after_it():
    log = [record_commit(), commit(1, run_started(1)), poison(2)]
    before, after = states_around(RUN, log, 3)
    assert (before.parked, after.parked.sequence, after.sequence) == (None, 3, 2)
    assert states_around(RUN, log, 4).before.parked.sequence == 3


def test_behind_the_end_there_is_no_event():
    with pytest.raises(StateNotFoundError, match="its log ends at 6"):
        states_around(RUN, log_cut_into(6), 7)
    with pytest.raises(StateNotFoundError, match="its log ends at 6"):
        states_around(RUN, log_cut_into(6), 9)
    with pytest.raises(RunNotFoundError):
        states_around(RUN, [], 1)
