"""A person's answer to a run that waits: who may give it, who comes second, and how the agent hears of it."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from behest_core.errors import DecidedError, InvalidValueError, NotWaitingError, RunDeletedError, RunNotFoundError
from behest_core.model.agent_events import Heartbeat, Paused, Resumed
from behest_core.model.state import RunStatus
from behest_core.recording.adapter import begin, resume
from behest_core.testing import LocalStack
from behest_core.testing.recorded import recorded, when_answered
from tests.builders import at, model_started, run_completed, run_started


@pytest.fixture
def store(stack):
    """Hold a run `r` that waits for c1 and c2."""
    stack.store.create_run(provider="p", model="m", run_id="r", session_id="s", metadata={"framework": "some"})
    stack.store.append("r", [run_started(), paused("c1", "c2")])
    return stack.store


def paused(*pending):
    return Paused(reason="approval", pending=[*pending], timestamp=at(2))


def answers(store):
    return [event.event for event in store.events("r") if isinstance(event.event, Resumed)]


def test_an_answer_is_in_the_log_with_who_gave_it_and_why(store):
    assert store.decide("r", "c1", granted=True, by="anna", reason="a good customer") == 3
    assert store.decide("r", "c2", granted=False, by="ben") == 4
    first, second = answers(store)
    assert (first.answers, first.by, first.reason) == ({"c1": "granted"}, "anna", "a good customer")
    assert (second.answers, second.by) == ({"c2": "denied"}, "ben")


def test_whoever_comes_second_is_told_what_the_first_said(store):
    store.decide("r", "c1", granted=True, by="anna")
    with pytest.raises(DecidedError, match="c1 is answered already: granted, by anna") as caught:
        store.decide("r", "c1", granted=False, by="ben")
    assert (caught.value.answer, caught.value.by) == ("granted", "anna")
    assert len(answers(store)) == 1


def test_of_two_who_race_one_gets_a_conflict(store, requests):
    requests.before("PutItem", lambda: store.decide("r", "c1", granted=False, by="ben"))
    with pytest.raises(DecidedError, match="denied, by ben"):
        store.decide("r", "c1", granted=True, by="anna")
    assert [each.by for each in answers(store)] == ["ben"]


def test_what_else_comes_in_between_does_not_matter(store, requests):
    def meanwhile():
        store.append("r", [Heartbeat(timestamp=at(3))])
        store.decide("r", "c2", granted=False, by="ben")

    requests.before("PutItem", meanwhile)
    store.decide("r", "c1", granted=True, by="anna")
    assert {each.by for each in answers(store)} == {"anna", "ben"}


def test_a_lost_answer_of_dynamodb_records_it_once(store, requests):
    requests.lose_answer_of("PutItem")
    store.decide("r", "c1", granted=True, by="anna")
    assert len(answers(store)) == 1


@pytest.mark.parametrize("goes_on", [model_started(), run_completed(), run_started()])
def test_a_run_that_went_on_waits_no_more(store, goes_on):
    store.append("r", [goes_on])
    with pytest.raises(NotWaitingError, match="doesn't wait for c1; it waits for nobody"):
        store.decide("r", "c1", granted=True, by="anna")


def test_an_answer_to_something_else_is_refused_with_what_it_waits_for(store):
    store.decide("r", "c2", granted=True, by="anna")
    with pytest.raises(NotWaitingError, match="doesn't wait for c3; it waits for c1") as caught:
        store.decide("r", "c3", granted=True, by="anna")
    assert caught.value.pending == ["c1"]


def test_a_pause_that_names_nothing_takes_any_one_answer(store):
    store.append("r", [paused()])
    store.decide("r", "whatever", granted=True, by="anna")
    with pytest.raises(DecidedError, match="anna"):
        store.decide("r", "other", granted=True, by="ben")


def test_what_is_not_there_or_was_deleted_has_nothing_to_decide(store):
    with pytest.raises(RunNotFoundError):
        store.decide("nowhere", "c1", granted=True, by="anna")
    store.delete_run("r")
    with pytest.raises(RunDeletedError):
        store.decide("r", "c1", granted=True, by="anna")


@pytest.mark.parametrize("how", [{"by": ""}, {"by": "x" * 256}, {"by": "anna", "reason": "x" * 2001}])
def test_who_and_why_have_a_limit(store, how):
    with pytest.raises(InvalidValueError, match="characters"):
        store.decide("r", "c1", granted=True, **how)


def test_it_costs_a_query_and_a_write(store, requests):
    store.decide("r", "c1", granted=True, by="anna")
    assert [name for name, _ in requests.made] == ["Query", "PutItem"]


# ---------------------------------------------------------------- the run afterwards


def test_a_run_of_whose_pause_a_part_is_decided_still_waits_and_is_not_stuck(stack, store):
    later = datetime.now(UTC) + timedelta(days=1)
    store.decide("r", "c1", granted=True, by="anna")
    stack.deliver()
    assert list(store.stuck_states(later)) == []
    store.decide("r", "c2", granted=True, by="anna")
    stack.deliver()
    assert [state.run_id for state in store.stuck_states(later)] == ["r"]


def test_a_run_that_goes_on_with_what_was_decided_ends_the_one_that_waited_and_tells_no_answer_twice(stack, store):
    store.decide("r", "c1", granted=True, by="anna")
    store.decide("r", "c2", granted=False, by="ben")
    stack.deliver()
    run = begin(stack.store, "some", "answer", provider="p", model="m", session_id="s")
    resume(stack.store, run, {"c1": "granted", "c2": "denied"})
    run.completed()
    run.close()
    when_answered()
    stack.deliver()
    told = [each["answers"] for each in recorded(stack.store, "r").of("agent.Resumed")]
    assert told == [{"c1": "granted"}, {"c2": "denied"}, {}]
    assert stack.store.get_state("r").status is RunStatus.COMPLETED


# ---------------------------------------------------------------- the agent hears of it

DECIDERS = """
from behest_core.plugins import hookimpl
seen = []

@hookimpl
def behest_decided(decision):
    seen.append(decision)
"""
BROKEN = """
from behest_core.plugins import hookimpl

@hookimpl
def behest_decided(decision):
    raise RuntimeError("patient 7")
"""


@pytest.fixture
def waiting(install):
    """Run a stack in which a run waits, with a plugin that hears of decisions and one that raises."""
    install(broken=BROKEN, deciders=DECIDERS)
    with LocalStack(plugins=["broken", "deciders"]) as stack:
        stack.store.create_run(provider="p", model="m", run_id="r", session_id="s", metadata={"framework": "some"})
        stack.store.append("r", [run_started(), paused("c1", "c2")])
        stack.deliver()
        yield stack


def heard():
    return [(each.id, each.call_id, each.granted, each.by) for each in sys.modules["behest_deciders"].seen]


def test_a_plugin_hears_of_each_decision_also_where_they_are_folded_at_once_and_the_agent_went_on(waiting):
    waiting.store.decide("r", "c1", granted=True, by="anna")
    waiting.store.decide("r", "c2", granted=False, by="ben")
    waiting.store.append("r", [model_started(), paused("c3")])
    waiting.store.decide("r", "c3", granted=True, by="anna")
    waiting.deliver()
    assert heard() == [
        ("r#3#c1", "c1", True, "anna"),
        ("r#4#c2", "c2", False, "ben"),
        ("r#7#c3", "c3", True, "anna"),
    ]
    [first, *_] = sys.modules["behest_deciders"].seen
    assert (first.run_id, first.session_id, first.metadata, first.sequence) == ("r", "s", {"framework": "some"}, 3)


def test_what_an_agent_tells_by_itself_is_no_decision(waiting):
    waiting.store.append("r", [Resumed(answers={"c1": "granted"}, timestamp=at(3))])
    waiting.deliver()
    assert heard() == []


def test_one_that_raises_goes_to_its_queue_and_stops_nobody(waiting):
    waiting.store.decide("r", "c1", granted=True, by="anna")
    waiting.deliver()
    [failed] = waiting.failed_reactions
    assert (failed["plugin"], failed["error"], failed["change"]) == ("broken", "RuntimeError", None)
    assert failed["decision"]["call_id"] == "c1"
    assert len(heard()) == 1
    assert "patient" not in "".join(waiting.output.lines)


def test_a_state_that_is_folded_again_tells_none_again(waiting):
    waiting.store.decide("r", "c1", granted=True, by="anna")
    waiting.deliver()
    state = waiting.store.get_state("r")
    assert state.decisions == 1
    waiting.store.state_table.save(state)
    waiting.deliver()
    assert len(heard()) == 1
