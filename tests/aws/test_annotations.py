"""What is noted of a run after it was created."""

import pytest

from behest_core.errors import InvalidValueError, RunNotFoundError
from behest_core.model.agent_events import Annotated
from behest_core.model.state import Annotations
from behest_core.model.summary import summarize
from tests.builders import at, model_started, run_completed, run_started


@pytest.fixture
def store(stack):
    """Hold a run `r` that is over."""
    stack.store.create_run(
        provider="p", model="m", run_id="r", session_id="s", metadata={"tags": ["first"]}, created_at=at(0)
    )
    stack.store.append("r", [run_started(), run_completed(5)])
    stack.deliver()
    return stack.store


@pytest.fixture
def noted(stack, store):
    """Note things, and return what the state then has."""

    def note(*notes):
        for each in notes:
            store.annotate("r", **each)
        stack.deliver()
        return store.get_state("r").annotations

    return note


def test_tags_are_added_and_metadata_is_set_by_key(noted):
    found = noted(
        {"tags": ["a"], "metadata": {"ticket": "T-7", "who": "anna"}},
        {"tags": ["b", "a"], "metadata": {"ticket": "T-8", "who": None}},
    )
    assert found == Annotations(tags=["a", "b"], metadata={"ticket": "T-8"})


def test_a_run_of_which_nothing_is_noted_has_no_annotations(stack, store, noted):
    assert noted() is None
    assert noted({"metadata": {"a": 1}}, {"metadata": {"a": None}}) is None
    assert "annotations" not in stack.dynamodb.get_item(TableName=stack.state_table, Key={"run_id": {"S": "r"}})["Item"]


def test_a_note_behind_the_end_changes_neither_the_status_nor_when_it_ended(store, noted):
    before = summarize(store.get_state("r"))
    noted({"tags": ["later"]})
    after = summarize(store.get_state("r"))
    assert (after.status, after.ended_at, after.duration_ms) == (before.status, before.ended_at, before.duration_ms)
    assert after.tags == ("first", "later")
    assert after.updated_at != before.updated_at


def test_a_run_that_goes_on_has_no_end(stack, store):
    store.append("r", [model_started(6)])
    stack.deliver()
    assert store.get_state("r").ended_at is None


def test_what_would_be_more_than_there_is_room_for_is_left_out_of_the_state(store, noted):
    assert noted({"metadata": {"a": "x" * 3000}}, {"metadata": {"b": "x" * 3000}, "tags": ["t"]}).metadata.keys() == {
        "a"
    }
    assert noted({"metadata": {"a": "y", "b": "z"}}).metadata == {"a": "y", "b": "z"}
    assert store.get_state("r").parked is None


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ({"metadata": {"a": "x" * 5000}}, "annotation: is 5,"),
        ({"metadata": {"a": {"": 1}}}, "metadata"),
        ({"tags": "refund"}, "tags: expected a list of texts"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_it_is_written(store, note, reason):
    with pytest.raises(InvalidValueError, match=reason):
        store.annotate("r", **note)
    assert len(list(store.events("r"))) == 2


def test_a_run_that_is_not_there_has_no_notes(store):
    with pytest.raises(RunNotFoundError):
        store.annotate("nowhere", tags=["a"])


def test_what_somebody_else_wrote_and_no_item_can_hold_parks_the_run_without_telling_what_it_is(stack, store):
    store.event_log.append("r", [Annotated(metadata={"patient 7": {"": 1}}, timestamp=at(6))])
    stack.deliver()
    parked = store.get_state("r").parked
    assert (parked.sequence, parked.error) == (3, "ValueError")
    assert "patient" not in parked.message
