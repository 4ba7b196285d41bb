"""A subscription: what is in a run's log, then what comes, each event once, until the run ends."""

from itertools import islice

import pytest

from behest_core.errors import InvalidRunIdError, RunDeletedError
from tests.builders import model_started, run_completed, run_failed, run_started, text_delta


@pytest.fixture
def store(stack):
    stack.store.create_run(provider="p", model="m", run_id="r")
    return stack.store


class Script:
    """Does one thing after the other, one in each pause; fails a test that goes on sleeping."""

    def __init__(self, *steps):
        self.steps, self.pauses = list(steps), []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        assert self.steps, "it sleeps although nothing is to come"
        self.steps.pop(0)()


def nothing():
    """Let a pause go by."""


def sequences(store, script, after=0):
    return [each.sequence for each in store.subscribe("r", after=after, sleep=script.sleep)]


def test_what_is_there_comes_first_then_what_is_appended_each_once(store):
    store.append("r", [run_started(), model_started()])
    script = Script(
        lambda: store.append("r", [text_delta(), text_delta()]),
        nothing,
        lambda: store.append("r", [run_completed()]),
        nothing,
    )
    assert sequences(store, script) == [1, 2, 3, 4, 5]
    assert script.steps == []


def test_it_goes_on_behind_any_event_inside_a_commit_too(store):
    store.append("r", [run_started(), model_started(), text_delta(), run_completed()])
    assert sequences(store, Script(nothing), after=2) == [3, 4]


def test_it_goes_on_where_the_run_begins_anew_right_after_its_end(store):
    store.append("r", [run_started(), run_failed()])
    script = Script(lambda: store.append("r", [run_started(), run_completed()]), nothing)
    assert sequences(store, script) == [1, 2, 3, 4]


def test_what_lies_behind_the_end_and_changes_no_status_does_not_keep_it(store):
    store.append("r", [run_started(), run_completed(), text_delta()])
    assert sequences(store, Script(nothing)) == [1, 2, 3]


def test_behind_the_end_of_a_run_it_ends_once_the_state_says_so(stack, store):
    store.append("r", [run_started(), run_completed()])
    script = Script(nothing, stack.deliver)
    assert sequences(store, script, after=2) == []
    assert script.steps == []


def test_a_run_that_is_not_there_yet_is_waited_for(stack):
    script = Script(nothing, lambda: stack.store.append("r", [run_started(), run_completed()], create=True), nothing)
    assert sequences(stack.store, script) == [1, 2]


def test_the_pauses_grow_while_nothing_comes(store):
    script = Script(*[nothing] * 6, lambda: store.append("r", [run_started(), run_completed()]), nothing)
    sequences(store, script)
    assert script.pauses == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 0.1]


@pytest.mark.parametrize("after", [0, 2])
def test_a_look_is_one_query(stack, store, requests, after):
    store.append("r", [run_started(), model_started()])
    stack.deliver()
    counts = []

    def count():
        counts.append(len(requests.named("Query")))

    script = Script(*[count] * 5)
    with pytest.raises(AssertionError):
        sequences(store, script, after)
    assert counts[-1] - counts[-3] == 2
    assert len(requests.named("GetItem")) <= 1


def test_an_event_is_given_as_soon_as_it_is_asked_for(store):
    store.append("r", [run_started()])
    assert [each.event.timestamp for each in islice(store.subscribe("r"), 1)] == [run_started().timestamp]


@pytest.mark.parametrize("after", [0, 1])
def test_a_run_that_is_deleted_meanwhile_is_said_to_be(store, after):
    store.append("r", [run_started()])
    with pytest.raises(RunDeletedError):
        sequences(store, Script(nothing, lambda: store.delete_run("r"), nothing), after)


def test_what_is_no_run_id_is_refused_at_once(store):
    with pytest.raises(InvalidRunIdError):
        store.subscribe("")
