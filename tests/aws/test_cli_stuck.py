"""`behest runs --stuck`: which runs are dead."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from behest_core.dynamodb.event_table import EventLog
from behest_core.model.timestamps import from_datetime
from behest_core.projection.catch_up import CatchUp
from tests.builders import run_record, run_started, whole_run
from tests.cli import behest, done

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


def write(stack, run_id, age, *events, session="s"):
    """Write a run, with its last events appended so long ago, and fold it."""
    moment = datetime.now(UTC) - age
    log = EventLog(stack.dynamodb, stack.event_table, now=lambda: moment)
    log.create(run_record(run_id, session_id=session))
    log.append(run_id, events or [{**encodable(run_started()), "timestamp": from_datetime(moment)}])
    CatchUp(log, stack.store.state_table).fold(run_id)


def encodable(event):
    return {"type": "RunStarted", "session_id": event.session_id, "provider": event.provider, "model": event.model}


@pytest.fixture
def runs(stack):
    """Return a stack with runs that are dead, and others that are not."""
    pause = {"type": "agent.Paused", "reason": "approval", "pending": [], "timestamp": "2026-01-31T12:00:00Z"}
    write(stack, "dead-for-a-day", timedelta(days=1, hours=2))
    write(stack, "dead-for-minutes", timedelta(minutes=20), session="another")
    write(stack, "finished", timedelta(days=1), *whole_run())
    write(stack, "paused", timedelta(days=1), run_started(), pause)
    write(stack, "alive", timedelta(0))
    return stack


def listed(*arguments):
    return [json.loads(state)["run_id"] for state in done("runs", "--stuck", "--json", *arguments).splitlines()]


@pytest.mark.usefixtures("runs")
def test_runs_are_stuck_that_are_active_and_silent_and_wait_for_nobody():
    assert listed() == ["dead-for-a-day"]
    assert sorted(listed("--silent-since", "10m")) == ["dead-for-a-day", "dead-for-minutes"]
    assert listed("--silent-since", "10m", "--session", "another") == ["dead-for-minutes"]
    assert listed("--silent-since", "7d") == []


@pytest.mark.usefixtures("runs")
def test_it_is_said_for_how_long_they_have_been_silent():
    titles, row = (re.split(r"\s{2,}", line) for line in done("runs", "--stuck").splitlines())
    assert (titles[:3], row[:3]) == (["RUN", "STATUS", "SILENT"], ["dead-for-a-day", "SessionLoaded", "1d"])


def test_the_store_finds_them_too_at_most_so_many(runs):
    silent_since = datetime.now(UTC) - timedelta(minutes=10)
    assert len(list(runs.store.stuck_states(silent_since))) == 2
    assert len(list(runs.store.stuck_states(silent_since, limit=1))) == 1


def test_a_run_that_is_deleted_while_it_is_looked_at_is_not_stuck(runs, requests):
    requests.before("BatchGetItem", lambda: runs.store.event_log.delete("dead-for-a-day", "2026-01-31T12:00:00Z"))
    assert list(runs.store.stuck_states(datetime.now(UTC) - timedelta(hours=1))) == []


def test_parked_and_stuck_are_different_things():
    result = behest("runs", "--stuck", "--parked")
    assert (result.exit_code, "is not stuck" in result.stderr) == (2, True)
