"""What simulations have found, each told in a few lines."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.errors import InvalidValueError
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold, fold_batch
from behest_core.model.decoding import encode_event
from behest_core.model.events import RunStarted, UsageRecorded
from behest_core.model.json import check_storable
from behest_core.model.state import ExtensionSlice
from behest_core.plugins import Extension, ExtensionState
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.verify import verify
from behest_core.testing import Template
from tests.builders import (
    RUN,
    commit,
    model_started,
    raw_commit,
    record_commit,
    run_completed,
    run_failed,
    run_record,
    run_started,
    step,
    usage_recorded,
)
from tests.contract.fake import FakeDynamoDB, throttled

TABLES = Template().tables()
EVENTS, STATES = TABLES["EventTable"], TABLES["StateTable"]


class Flaky:
    """A client of the fake whose calls can be made to fail."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self._database = FakeDynamoDB([EVENTS.create, STATES.create])

    def __getattr__(self, name: str) -> Any:
        if name in self.failing:
            raise throttled(name)
        return getattr(self._database, name)


@pytest.fixture
def client():
    client = Flaky()
    for each in (record_commit(), commit(1, run_started()), commit(2, run_completed())):
        client.put_item(TableName=EVENTS.name, Item=items.commit_to_item(each))
    return client


@pytest.fixture
def states(client):
    return StateTable(client, STATES.name, sleep=lambda _seconds: None)


@pytest.fixture
def catch_up(client, states):
    return CatchUp(EventLog(client, EVENTS.name), states)


def test_a_run_whose_log_cannot_be_read_for_long_is_not_taken_for_one_that_kills(client, states, catch_up):
    client.failing = {"query"}
    for _ in range(5):
        assert not catch_up.fold(RUN, guarded=True).is_finished
    client.failing = set()
    assert catch_up.fold(RUN, guarded=True).is_finished
    state = states.get(RUN)
    assert (state.parked, state.sequence, state.guard) == (None, 2, None)


def test_what_comes_before_a_malformed_event_in_its_commit_is_folded():
    malformed = b'{"type":"UsageRecorded","timestamp":"2026-01-31T12:00:08Z","usage":"bad"}'
    broken = raw_commit(2, 2, b"[" + encode_event(usage_recorded(input_tokens=10)) + b"," + malformed + b"]")
    state = fold(None, [record_commit(), commit(1, run_started()), broken]).state
    assert (state.sequence, state.total_usage.input_tokens, state.parked.sequence) == (2, 10, 3)


def test_with_an_upcaster_installed_the_core_folds_as_without():
    dispatch = Dispatch(upcasters={"approvals.Requested": lambda event: event})
    log = [record_commit(), commit(1, run_started(), usage_recorded(input_tokens=10), run_completed())]
    assert fold(None, log, dispatch).state == fold(None, log).state


def test_a_commit_that_holds_more_than_its_count_parks_at_its_beginning_whatever_the_rest_is():
    overfull = raw_commit(2, 1, b"[" + encode_event(usage_recorded()) + b",null]")
    state = fold(None, [record_commit(), commit(1, run_started()), overfull, commit(3, run_completed())]).state
    assert (state.sequence, state.parked.sequence) == (1, 2)


def test_a_number_too_long_to_be_written_is_refused_by_name():
    with pytest.raises(InvalidValueError, match=r"metadata\.a"):
        check_storable({"a": 10**5000 + 1}, "metadata")


def test_a_state_too_large_for_an_item_parks_its_run_and_does_not_block_its_batch(client):
    def greedy(name):
        extension = Extension(name, _List)

        @extension.on(RunStarted)
        def fill(state, _event, _run):
            state.numbers = [1] * 22_000

        return extension

    log = [
        record_commit(run_record("large", metadata={"a": "x" * 122_000})),
        commit(1, run_failed(error="e" * 122_000), run_id="large"),
        commit(2, run_started(), run_id="large"),
    ]
    for each in log:
        client.put_item(TableName=EVENTS.name, Item=items.commit_to_item(each))
    dispatch = Dispatch([greedy("one"), greedy("other")])
    catch_up = CatchUp(EventLog(client, EVENTS.name), StateTable(client, STATES.name), dispatch)
    assert catch_up.fold("large").is_finished


class _List(ExtensionState):
    numbers: list[int] = []


# ---------------------------------------------------------------- a run that is another one when it is folded again

LATE_RECORD = record_commit(run_record(metadata={"a": 1}))
LATE_LOG = [LATE_RECORD, commit(1, run_started(), model_started(), usage_recorded()), commit(4, usage_recorded())]


class _Seen(ExtensionState):
    calls: int = 0
    recorded: int = 0
    iterations: int = 0


def seen(*, breaks_at=None):
    """Make a table with an extension that counts in how many calls it saw the run's record, and adds up iterations."""
    extension = Extension("seen", _Seen)

    @extension.on(UsageRecorded)
    def look(state, _event, run):
        state.calls += 1
        state.recorded += run.metadata is not None
        state.iterations += run.iteration
        if state.calls == breaks_at:
            raise ValueError(breaks_at)

    return Dispatch([extension])


def test_an_extension_that_was_uninstalled_when_the_record_came_sees_it_from_the_first_event_on_when_it_is_back():
    uninstalled = fold(fold(None, LATE_LOG[1:2], seen()).state, LATE_LOG).state
    assert (uninstalled.extensions["seen"].state["calls"], uninstalled.extensions["seen"].sequence) == (1, 3)
    assert fold(uninstalled, LATE_LOG, seen()).state == fold(None, LATE_LOG, seen()).state


def test_an_extension_that_keeps_step_was_folded_with_the_record_too():
    uninstalled = fold(fold(None, LATE_LOG[1:], seen()).state, LATE_LOG).state
    assert uninstalled.extensions["seen"].sequence == uninstalled.sequence
    assert step(uninstalled, [commit(5, run_completed())], seen())[0] == "read"
    assert fold(uninstalled, LATE_LOG, seen()).state == fold(None, LATE_LOG, seen()).state


def test_an_extension_that_was_parked_when_the_record_came_sees_it_from_the_first_event_on_when_it_is_resumed():
    parked = fold(None, LATE_LOG[1:], seen(breaks_at=2)).state
    assert (parked.extensions["seen"].sequence, parked.extensions["seen"].parked.sequence) == (3, 4)
    resumed = fold(parked, LATE_LOG, seen(breaks_at=2)).state
    resumed.extensions["seen"].parked = None
    assert fold(resumed, LATE_LOG, seen()).state == fold(None, LATE_LOG, seen()).state


def folded_by_another_reducer():
    """Return the state of a log whose iterations another reducer had counted otherwise, which the extension saw."""
    state = fold(None, LATE_LOG, seen()).state
    state.reducer_version += 1
    piece = state.extensions["seen"]
    state.extensions["seen"] = ExtensionSlice.of(
        {**piece.state, "iterations": 100}, sequence=piece.sequence, version=piece.version
    )
    return state


def test_a_reducer_of_another_version_lets_the_extensions_see_what_it_makes_of_the_run():
    state = fold(folded_by_another_reducer(), LATE_LOG, seen()).state
    assert state == fold(None, LATE_LOG, seen()).state


def test_an_extension_that_was_uninstalled_while_the_reducer_changed_is_folded_again_when_it_is_back():
    uninstalled = fold(folded_by_another_reducer(), LATE_LOG).state
    assert uninstalled.extensions["seen"].state["iterations"] == 100
    assert fold(uninstalled, LATE_LOG, seen()).state == fold(None, LATE_LOG, seen()).state


def test_an_extension_that_was_uninstalled_while_another_reducer_rebuilt_the_run_is_folded_again_when_it_is_back(
    client, states
):
    log = EventLog(client, EVENTS.name)
    for each in LATE_LOG:
        client.put_item(TableName=EVENTS.name, Item=items.commit_to_item(each))
    states.save(folded_by_another_reducer())
    CatchUp(log, states).fold(RUN, Fold.AGAIN)
    assert states.get(RUN).extensions["seen"].state["iterations"] == 100
    assert verify(log, states, RUN, seen()).is_right
    CatchUp(log, states, seen()).fold(RUN)
    assert states.get(RUN).extensions["seen"].state["iterations"] == 2


def test_an_extension_that_was_uninstalled_while_its_run_was_rebuilt_by_the_same_reducer_stays_as_it_was(
    client, states
):
    for each in LATE_LOG:
        client.put_item(TableName=EVENTS.name, Item=items.commit_to_item(each))
    before = states.save(replace(fold(None, LATE_LOG, seen()).state, iteration=100))
    CatchUp(EventLog(client, EVENTS.name), states).fold(RUN, Fold.AGAIN)
    assert states.get(RUN).iteration == 1
    assert states.get(RUN).extensions == before.extensions


def test_an_extension_that_is_rebuilt_before_the_first_event_keeps_its_slice(client, states):
    client.put_item(TableName=EVENTS.name, Item=items.commit_to_item(record_commit(run_record("new"))))
    catch_up = CatchUp(EventLog(client, EVENTS.name), states, seen())
    catch_up.fold("new")
    before = states.get("new").extensions
    assert before.keys() == {"seen"}
    catch_up.fold("new", Fold.AGAIN, extension="seen")
    assert states.get("new").extensions == before


# ---------------------------------------------------------------- tables that were restored, and logs that lost their beginning


def log_of(client, *commits):
    for each in commits:
        client.put_item(TableName=EVENTS.name, Item=items.commit_to_item(each))
    return EventLog(client, EVENTS.name)


def test_a_commit_of_another_history_that_begins_before_the_state_ends_and_reaches_beyond_it_is_not_folded_onto_it():
    state = fold(None, [commit(1, run_started()), commit(2, usage_recorded())]).state
    longer = replace(commit(2, usage_recorded(), usage_recorded(), run_completed()), commit_id="of another history")
    assert step(state, [longer])[0] == "read"


OTHER = replace(commit(2, usage_recorded()), commit_id="of another history")


@pytest.mark.parametrize("behind", [[], [commit(3, run_completed())]])
def test_where_a_batch_holds_commits_of_two_histories_the_log_says_which_is_folded(behind):
    state = fold(None, [commit(1, run_started())]).state
    assert step(state, [commit(2, usage_recorded()), OTHER, *behind])[0] == "read"
    assert step(None, [commit(1, run_started()), commit(2, usage_recorded()), OTHER, *behind])[0] == "read"


def test_a_commit_of_another_history_is_not_overlooked_because_the_one_that_the_state_has_comes_again_with_it():
    own = commit(2, usage_recorded())
    state = fold(None, [commit(1, run_started()), own]).state
    assert fold_batch(state, [own, OTHER]).is_doubtful
    assert not fold_batch(state, [own, own]).is_doubtful


def test_slices_that_stay_while_a_run_is_folded_again_for_another_reason_are_outdated_where_its_record_is_met():
    uninstalled = fold(None, LATE_LOG[1:], seen()).state
    other = Extension("other", _Seen)
    folded = fold(uninstalled, [*LATE_LOG, commit(5, run_completed())], Dispatch([other])).state
    assert folded.has_record
    assert folded.extensions["seen"].outdated


@pytest.mark.parametrize("diverged", [True, False])
def test_slices_that_stay_while_a_run_is_rebuilt_are_outdated_where_it_becomes_another_one(client, states, diverged):
    """Either its record came late, or its log has another history now."""
    log = log_of(client, *LATE_LOG)
    states.save(fold(None, LATE_LOG if diverged else LATE_LOG[1:], seen()).state)
    if diverged:
        table = client.tables[EVENTS.name]
        table.restore({"run_id": {"S": RUN}, "sequence": {"N": "4"}}, None)
    CatchUp(log, states).fold(RUN, Fold.AGAIN, diverged=diverged)
    assert states.get(RUN).extensions["seen"].outdated
