"""Runs that wait for a person are found by an index of their own, the one that has waited longest first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from behest_core.dynamodb.event_table import EventLog
from behest_core.model.agent_events import Paused, RecordingGap, Resumed
from behest_core.plugins.loading import Plugins
from behest_core.recording import pauses
from behest_core.search import Where, search
from tests.builders import at, model_started, run_record, run_started
from tests.cli import done

GAP = RecordingGap(dropped={"X": 1}, first_at=at(50), last_at=at(50), timestamp=at(50))


def paused(second, *pending):
    return Paused(reason="approval", pending=list(pending), timestamp=at(second))


@pytest.fixture
def waiting(stack):
    """Return a store of five runs that wait, the later ones for longer, and of one that doesn't."""
    for n in range(5):
        run_id = f"run-{n}"
        stack.store.event_log.create(run_record(run_id, session_id="s", created_at=at(n)))
        stack.store.append(run_id, [run_started(), paused(40 - n, f"call-{n}")])
    stack.store.append("goes-on", [run_started(), paused(1), model_started()], create=True)
    stack.deliver()
    return stack.store


def ids(states):
    return [state.run_id for state in states]


EVERY = ["run-4", "run-3", "run-2", "run-1", "run-0"]


def test_they_are_found_the_one_that_has_waited_longest_first(waiting):
    assert ids(waiting.waiting_states()) == EVERY
    assert ids(waiting.waiting_states(limit=2)) == EVERY[:2]
    assert [state.waiting.pending for state in waiting.waiting_states(limit=1)] == [["call-4"]]


def test_one_that_was_answered_or_deleted_is_found_no_more(waiting, stack):
    waiting.append("run-4", [Resumed(answers={"call-4": "granted"}, timestamp=at(59))])
    waiting.delete_run("run-3")
    stack.deliver()
    assert ids(waiting.waiting_states()) == EVERY[2:]


def test_all_are_found_with_two_queries(waiting, requests):
    before = len(requests.named("Query"))
    assert len(list(waiting.waiting_states())) == 5
    assert len(requests.named("Query")) - before == 2


def find(store, **how):
    return search(store.state_table, Plugins().summary, now=datetime(2026, 1, 31, 13, tzinfo=UTC), **how)


def test_a_search_for_them_goes_page_by_page_and_by_what_else_is_asked(waiting):
    found, token = [], None
    while token is not None or not found:
        page = find(waiting, where=Where(is_waiting=True), limit=2, page_token=token)
        found += [each.run_id for each in page.runs]
        token = page.page_token
    assert found == EVERY
    late = find(waiting, where=Where(is_waiting=True, since=at(2), until=at(3)))
    assert [each.run_id for each in late.runs] == ["run-3", "run-2"]
    assert [each.waiting_since for each in late.runs] == [
        f"2026-01-31T12:00:{second}.000000000Z" for second in (37, 38)
    ]


@pytest.mark.usefixtures("waiting")
def test_the_command_lists_them_in_the_same_order():
    def listed(*arguments):
        return [json.loads(state)["run_id"] for state in done("runs", "--waiting", "--json", *arguments).splitlines()]

    assert listed() == EVERY
    assert listed("--since", at(3)) == ["run-4", "run-3"]
    assert listed("--session", "another") == []


def test_a_gap_in_the_recording_behind_a_pause_hides_it_from_nobody(waiting, stack):
    log = EventLog(stack.dynamodb, stack.event_table, now=lambda: datetime(2026, 1, 31, 13, tzinfo=UTC))
    log.append("run-4", [GAP])
    stack.deliver()
    assert ids(waiting.waiting_states(limit=1)) == ["run-4"]
    assert ids(waiting.stuck_states(datetime.now(UTC) + timedelta(days=1))) == ["goes-on"]
    answering = run_record("run-9", session_id="s")
    assert pauses.find(waiting, answering, ["call-4"]) == ("run-4", paused(36, "call-4"))
