"""What stands above a run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from behest_core.errors import LogDivergedError
from behest_core.model.state import ExtensionSlice, Parked, RunState, RunStatus, TokenUsage, Waiting
from behest_core.model.summary import summarize
from behest_core.web.head import head
from tests.builders import at

NOW = datetime(2026, 1, 31, 12, 1, tzinfo=UTC)


def head_of(*, fields=None, **what):
    what = {"run_id": "r", "created_at": at(0), "updated_at": at(30), "model": "gpt-4o", "provider": "openai", **what}
    state = RunState(**what)
    return head(state, summarize(state, fields or {}), NOW)


def facts_of(**what):
    return {fact.label: (fact.text, fact.more) for fact in head_of(**what).facts}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (RunStatus.COMPLETED, ("good", "✓", True)),
        (RunStatus.FAILED, ("bad", "✕", True)),
        (RunStatus.CANCELLED, ("still", "⊘", True)),
        (RunStatus.CALLING_MODEL, ("busy", "●", False)),
        (RunStatus.PENDING, ("still", "○", False)),
    ],
)
def test_a_status_has_a_sign_as_well_as_a_colour(status, told):
    found = head_of(status=status)
    assert (found.tone, found.sign, found.is_over) == told


def test_a_run_has_its_agents_name_and_its_id_besides():
    found = head_of(metadata={"agent_name": "planner", "tags": ["eu"]})
    assert (found.title, found.tags) == ("planner", ("eu",))
    assert found.facts[0].text == "r"
    assert head_of().title == "r"


def test_why_it_failed_is_said_in_full():
    (notice,) = head_of(status=RunStatus.FAILED, last_error="x" * 5_000).notices
    assert (notice.title, notice.text) == ("Failed", "x" * 5_000)


def test_a_parked_run_says_why_and_what_to_type():
    parked = Parked(sequence=7, error="MalformedEventError", message="no", version=1, parked_at=at(3), attempts=2)
    (notice,) = head_of(run_id="a b", parked=parked).notices
    assert notice.title == "The fold is parked at event 7, since 2026-01-31T12:00:03Z, tried 2 times"
    assert notice.text == "MalformedEventError: no. What follows in the log is kept, and not folded."
    assert notice.command == "behest resume 'a b'"


def test_a_run_with_another_history_is_to_be_rebuilt():
    parked = Parked(sequence=7, error=LogDivergedError.__name__, message="no", version=1)
    assert head_of(parked=parked).notices[0].command == "behest rebuild r"


def test_a_parked_extension_is_told_by_its_name():
    parked = Parked(sequence=7, error="KeyError", message="no", version=1)
    (notice,) = head_of(extensions={"cost": ExtensionSlice.of({}, sequence=6, version=1, parked=parked)}).notices
    assert notice.title == "Extension cost is parked at event 7"


def test_a_run_that_waits_for_a_person_says_since_when():
    (notice,) = head_of(waiting=Waiting(since=at(10))).notices
    assert notice.text == "Since 2026-01-31T12:00:10Z, 50 s ago."
    assert head_of(status=RunStatus.COMPLETED, waiting=Waiting(since=at(10))).notices == []


def test_what_it_used_is_told_with_what_it_consists_of():
    usage = TokenUsage(1_000, 50, 1_050, cache_read_input_tokens=800)
    facts = facts_of(
        total_usage=usage,
        fields={"nano_usd": 12_300_000, "unpriced_calls": 1},
        status=RunStatus.COMPLETED,
        ended_at=at(30),
    )
    assert facts["Tokens"] == ("1,050", "1,000 in (800 cached), 50 out")
    assert facts["Cost"] == ("$0.0123", "1 call without a price")
    assert facts["Duration"] == ("30.0 s", "")
    assert facts["Ended"] == ("30 s ago", "2026-01-31 12:00:30 UTC")


def test_a_run_under_way_says_for_how_long():
    facts = facts_of(status=RunStatus.CALLING_MODEL)
    assert facts["Under way for"] == ("1 min 0 s", "")
    assert "Cost" not in facts


def test_its_session_and_its_parent_are_led_to():
    links = {(fact.run_id, fact.session_id) for fact in head_of(session_id="s", metadata={"parent_run_id": "p"}).facts}
    assert links == {(None, None), (None, "s"), ("p", None)}


def test_times_that_are_none_are_shown_as_they_are():
    assert facts_of(updated_at="yesterday")["Last event"] == ("-", "yesterday")
