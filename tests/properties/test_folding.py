"""The fold of a log is one state, however the log was cut, and in whatever order and how often its parts arrive."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.fold.rules import Start, fold, fold_batch, replay, start
from behest_core.model.decoding import core_decoder, decode_each
from behest_core.model.record import decode_record
from tests.builders import at
from tests.contract.fake.attributes import stored_item
from tests.properties.strategies import RUN, cut, logs


def folded(commits):
    """Return what the log alone decides of its state. A message may say where in its commit an event stands."""
    state = fold(None, commits).state
    return comparable(state)


def comparable(state) -> dict[str, Any] | None:
    if state is None:
        return None
    values = msgspec.to_builtins(replace(state, extensions={}, commit_id=None))
    if state.parked is not None:
        values["parked"] = (state.parked.sequence, state.parked.error)
    return values


def commits_behind(log, after):
    """Return what `EventLog.commits` reads."""
    return [commit for commit in log if commit.last > after]


def deliver(state, log, batch):
    """Do with a batch what the projector does."""
    return read_where_told(log, fold_batch(state, sorted(batch, key=lambda commit: commit.sequence)))


def read_where_told(log, found):
    while isinstance(found, Start):
        found = found.fold(commits_behind(log, found.after))
    return found.state


@given(logs(), st.data())
def test_any_two_cuts_of_a_log_into_commits_fold_the_same(log, data):
    record, events = log
    one, other = data.draw(cut(events)), data.draw(cut(events))
    assert folded(record + one) == folded(record + other)


@given(logs(), st.data())
def test_any_cut_of_a_log_into_batches_folds_the_same(log, data):
    record, events = log
    whole = record + data.draw(cut(events))
    state, rest = None, list(whole)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        state, rest = deliver(state, whole[: len(whole) - len(rest) + size], rest[:size]), rest[size:]
    assert comparable(state) == folded(whole)


@given(logs(), st.data())
def test_batches_in_any_order_any_number_of_times_with_any_lost_fold_the_same_once_the_log_is_read_on(log, data):
    record, events = log
    whole = record + data.draw(cut(events))
    batches = data.draw(st.lists(st.lists(st.sampled_from(whole), min_size=1, max_size=4), max_size=6))
    state = None
    for batch in batches:
        known = data.draw(st.integers(max(whole.index(commit) for commit in batch), len(whole) - 1))
        state = deliver(state, whole[: known + 1], batch)
    begin = start(state)
    if begin is not None:
        state = read_where_told(whole, begin)
    assert comparable(state) == folded(whole)


@given(logs(), st.data())
def test_the_checkpoint_never_goes_back(log, data):
    record, events = log
    whole = record + data.draw(cut(events))
    batches = data.draw(st.lists(st.lists(st.sampled_from(whole), min_size=1, max_size=4), max_size=6))
    state, reached = None, -1
    for batch in batches:
        state = deliver(state, whole, batch)
        assert state.sequence >= reached
        reached = state.sequence


@given(logs(), st.data())
def test_replay_equals_live(log, data):
    record, events = log
    commits = data.draw(cut(events))
    decoded, error = decode_each(b"[" + b",".join(events) + b"]", core_decoder.decode_one)
    assume(error is None)
    replayed = replay(decode_record(record[0]) if record else None, RUN, [decoded])
    assert comparable(replayed) == folded(record + commits)


@given(logs(), st.data())
def test_a_state_that_was_stored_between_two_batches_goes_on_as_if_it_had_not_been(log, data):
    record, events = log
    whole = record + data.draw(cut(events))
    cut_at = data.draw(st.integers(1, len(whole)))
    state = fold(None, whole[:cut_at]).state
    stored = items.state_from_item(items.state_to_item(state.stamped({}, at(1))))
    assert in_the_table(fold(stored, whole[cut_at:]).state) == in_the_table(fold(state, whole[cut_at:]).state)


def in_the_table(state):
    """Return what DynamoDB keeps of a state's item."""
    return stored_item(items.state_to_item(state.stamped({}, at(1))))
