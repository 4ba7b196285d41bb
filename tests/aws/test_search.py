"""Runs are found by what is asked for, page by page, by the indexes and never by a scan."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from behest_core.errors import InvalidValueError
from behest_core.model.events import RunCancelled, RunFailed
from behest_core.model.state import RunState, RunStatus
from behest_core.plugins.loading import Plugins
from behest_core.search import Where, search
from behest_core.testing import LocalStack
from tests.builders import at, run_record, run_started, usage_recorded

NOW = datetime(2026, 1, 31, 13, tzinfo=UTC)


@pytest.fixture(scope="module")
def runs():
    with LocalStack() as stack:
        write(stack)
        yield stack


@pytest.fixture
def states(runs):
    return runs.store.state_table


def write(stack):
    """Write 30 runs, a second apart: each third failed, each third was cancelled, each tenth is of one session."""
    for n in range(30):
        about = {"agent_name": f"agent-{n % 2}", "tags": [f"tag-{n % 3}"], "user_id": f"user-{n % 5}"}
        record = run_record(f"run-{n:02}", session_id=f"s-{n % 10}", created_at=at(n), metadata=about)
        stack.store.event_log.create(record)
        ending = (
            [RunFailed(error=f"Tool {n} Broke", timestamp=at(40))]
            if n % 3 == 0
            else [RunCancelled(timestamp=at(40))]
            if n % 3 == 1
            else []
        )
        stack.store.append(
            record.run_id, [run_started(model=f"m-{n % 4}"), usage_recorded(input_tokens=n, output_tokens=0), *ending]
        )
    stack.deliver()


def ids(found):
    return [each.run_id for each in found.runs]


def every(numbers):
    return [f"run-{n:02}" for n in sorted(numbers, reverse=True)]


def find(states, where, **how):
    return search(states, Plugins().summary, where, now=NOW, **how)


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (Where(), range(30)),
        (Where(status=RunStatus.FAILED), range(0, 30, 3)),
        (Where(session_id="s-4"), (4, 14, 24)),
        (Where(session_id="s-4", status=RunStatus.CANCELLED), (4,)),
        (Where(agent="agent-1", tag="tag-2", user="user-0"), (5,)),
        (Where(model="m-3", since=at(20)), (23, 27)),
        (Where(until=at(2)), (0, 1, 2)),
        (Where(error="tOOL 1"), (12, 15, 18)),
        (Where(min_tokens=28), (28, 29)),
        (Where(stuck_after=60.0), range(2, 30, 3)),
        (Where(stuck_after=86_400.0), ()),
        (Where(is_parked=True), ()),
        (Where(is_waiting=True), ()),
        (Where(min_nano_usd=1), ()),
    ],
    ids=str,
)
def test_runs_are_found_by_what_is_asked_for(states, where, numbers):
    found = find(states, where)
    assert ids(found) == every(numbers)
    assert found.page_token is None


@pytest.mark.parametrize(
    "where", [Where(), Where(status=RunStatus.FAILED), Where(tag="tag-1"), Where(session_id="s-4")], ids=str
)
@pytest.mark.parametrize("limit", [1, 4, 7])
def test_pages_hold_each_run_once(states, where, limit):
    pages, token = [], None
    while True:
        found = find(states, where, limit=limit, page_token=token)
        pages += ids(found)
        token = found.page_token
        if token is None:
            break
        assert len(found.runs) == limit
    assert pages == ids(find(states, where))


def test_a_rare_match_costs_no_more_than_what_is_looked_at(states):
    looked, token = [], None
    while token is not None or not looked:
        found = find(states, Where(min_tokens=100), page_token=token, look_at=8)
        assert found.runs == []
        looked.append(found.looked_at)
        token = found.page_token
    assert looked == [8, 8, 8, 6]


class OfOneInstant:
    """A state table of runs that were created at one time, in one order."""

    def find(self, **_):
        return (RunState(run_id=f"run-{n:02}", created_at="2026-01-31T12:00:00.000000000Z") for n in range(250))


def test_runs_of_one_instant_are_all_found():
    seen, token = [], None
    while token is not None or not seen:
        assert len(seen) < 250
        found = find(OfOneInstant(), Where(), limit=50, page_token=token)
        seen += ids(found)
        token = found.page_token
    assert seen == [f"run-{n:02}" for n in range(250)]


def test_no_table_is_scanned(runs, states):
    runs.dynamodb.meta.events.register("before-call.dynamodb.Scan", lambda **_: pytest.fail("a scan"))
    assert len(find(states, Where(error="broke")).runs) == 10


@pytest.mark.parametrize("token", ["x", "e30", "WzEsMl0", "\U0001f680", "WyJub29uIixbXV0"])
def test_a_page_token_that_is_none_is_refused(states, token):
    with pytest.raises(InvalidValueError, match="page_token: expected a token that a page of runs gave"):
        find(states, Where(), page_token=token)


def test_a_time_and_a_limit_that_are_none_are_refused(states):
    with pytest.raises(InvalidValueError, match="time"):
        find(states, Where(since="noon"))
    with pytest.raises(InvalidValueError, match="limit"):
        find(states, Where(), limit=0)
