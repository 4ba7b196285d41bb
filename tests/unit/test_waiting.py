"""Two facts that a fold keeps beside the seed's: what a run waits for, and when it ended."""

from __future__ import annotations

import msgspec
import pytest

from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.fold.rules import fold
from behest_core.model.agent_events import Heartbeat, Paused, RecordingGap, Resumed
from behest_core.model.events import AssistantMessageCommitted, RunCancelled, ToolExecutionStarted
from behest_core.model.state import RunStatus, Waiting
from tests.builders import (
    RUN,
    at,
    commit,
    model_started,
    raw_commit,
    record_commit,
    run_completed,
    run_failed,
    run_started,
    text_delta,
    usage_recorded,
)

PAUSED = Paused(reason="approval", pending=["call-1"], timestamp=at(5))
GAP = RecordingGap(dropped={"X": 1}, first_at=at(6), last_at=at(6), timestamp=at(6))
WAITS = Waiting(since="2026-01-31T12:00:05.000000000Z", reason="approval", pending=["call-1"])


def folded(*events):
    return fold(None, [record_commit(), commit(1, run_started(), *events)]).state


def test_a_paused_run_waits_since_then():
    assert folded(PAUSED).waiting == WAITS
    assert folded().waiting is None


@pytest.mark.parametrize(
    "event",
    [
        Resumed(answers={"call-1": "granted"}, timestamp=at(7)),
        Resumed(answers={"call-1": "denied"}, answering_run_id="run-2", timestamp=at(7)),
        ToolExecutionStarted(call_id="call-1", tool_name="t", timestamp=at(7)),
        run_started(),
        model_started(),
        run_completed(),
        run_failed(),
        RunCancelled(timestamp=at(7)),
    ],
    ids=lambda event: type(event).__name__,
)
def test_it_waits_no_more_once_it_is_answered_goes_on_or_is_over(event):
    assert folded(PAUSED, event).waiting is None


@pytest.mark.parametrize(
    "event",
    [
        GAP,
        Heartbeat(timestamp=at(6)),
        text_delta(),
        usage_recorded(),
        AssistantMessageCommitted(message_id="m", timestamp=at(6)),
        {"type": "approvals.Requested", "timestamp": at(6)},
    ],
    ids=lambda event: getattr(type(event), "__name__", "custom"),
)
def test_what_says_nothing_of_the_pause_does_not_hide_it(event):
    assert folded(PAUSED, event).waiting == WAITS
    assert fold(folded(PAUSED), [commit(3, event)]).state.waiting == WAITS


def decided(*call_ids):
    return Resumed(answers=dict.fromkeys(call_ids, "granted"), by="ada", timestamp=at(7))


def test_a_person_who_decides_a_part_leaves_the_run_waiting_for_the_rest():
    pause = Paused(reason="approval", pending=["a", "b"], timestamp=at(5))
    assert folded(pause, decided("a")).waiting == Waiting(since=WAITS.since, reason="approval", pending=["b"])
    assert folded(pause, decided("a"), decided("b")).waiting is None
    assert folded(Paused(reason="input", pending=[], timestamp=at(5)), decided("")).waiting is None
    assert folded(decided("a")).waiting is None


def test_the_last_of_two_pauses_counts():
    again = Paused(reason="input", pending=[], timestamp=at(8))
    assert folded(PAUSED, again).waiting == Waiting(since="2026-01-31T12:00:08.000000000Z", reason="input")


def test_a_run_that_is_over_does_not_wait():
    assert folded(run_completed(), PAUSED).waiting is None


def test_a_run_ends_when_its_terminal_event_says():
    for ended in (run_completed(), run_failed(), RunCancelled(timestamp=at(9))):
        state = folded(ended)
        assert state.ended_at == ended.timestamp.replace("Z", ".000000000Z")


def test_what_comes_late_does_not_move_the_end():
    state = folded(run_failed(), usage_recorded(), text_delta())
    assert state.ended_at == run_failed().timestamp.replace("Z", ".000000000Z")


@pytest.mark.parametrize("event", [run_started(), model_started()])
def test_a_run_that_goes_on_has_no_end(event):
    assert folded(run_failed(), event).ended_at is None
    assert folded().ended_at is None


def test_a_time_that_is_none_is_taken_as_the_runs_beginning():
    def of(event):
        return fold(None, [record_commit(), raw_commit(1, 1, msgspec.json.encode([event]))]).state

    state = of(Paused(reason="r", pending=[], timestamp="noon"))
    assert state.waiting.since == state.created_at
    state = of(RunCancelled(timestamp="noon"))
    assert (state.status, state.ended_at) == (RunStatus.CANCELLED, state.created_at)


def test_a_state_that_was_folded_before_there_were_these_facts_gets_them_when_the_run_moves():
    state = folded(PAUSED)
    state.waiting, state.reducer_version = None, REDUCER_VERSION - 1
    log = [record_commit(), commit(1, run_started(), PAUSED), commit(3, GAP)]
    assert fold(state, log).state.waiting == WAITS
    assert state.run_id == RUN
