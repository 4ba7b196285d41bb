"""What stands before the log: each thing once, whoever writes it and however often."""

from datetime import UTC, datetime

import pytest
from behest_durable.journal import Journal
from botocore.exceptions import ConnectionClosedError

from behest_core.dynamodb.event_table import PendingCommit
from behest_core.model.agent_events import Paused, Resumed, StepFinished, StepStarted
from behest_core.model.decoding import encode
from behest_core.model.events import RunCompleted, RunStarted, TextDelta
from behest_core.projection.stuck import expire
from behest_core.recording.recorder import new_record
from behest_core.testing.recorded import recorded

AT = "2026-01-01T00:00:00Z"
BEGAN = RunStarted(session_id="s", provider="stub", model="stub-1", timestamp=AT)
ENDED = RunCompleted(finish_reason="stop", iterations=0, timestamp=AT)
STEP, STEP_ENDED = (
    StepStarted(step_id="1", name="one", kind="step", timestamp=AT),
    StepFinished(step_id="1", timestamp=AT),
)
TEXT = TextDelta(delta="Hi", timestamp=AT)
PAUSE, ANSWER = Paused(reason="", pending=["c"], timestamp=AT), Resumed(answers={"c": "granted"}, timestamp=AT)


def commit(*events):
    return PendingCommit("r", [encode(event) for event in events])


@pytest.fixture
def journal_of(stack):
    """Make a journal of the same run, as each invocation does."""

    def make(log=None):
        journal = Journal(log or stack.store.event_log)
        journal.create(new_record(provider="stub", model="stub-1", session_id="s", run_id="r", client_request_id="r"))
        return journal

    return make


def types(stack):
    return recorded(stack.store, "r").types


def test_what_the_log_has_is_not_written_again(stack, journal_of):
    journal_of().append_pending(commit(BEGAN, STEP, PAUSE))
    last = journal_of().append_pending(commit(BEGAN, STEP, PAUSE, ANSWER, STEP_ENDED))
    assert types(stack) == ["RunStarted", "agent.StepStarted", "agent.Paused", "agent.Resumed", "agent.StepFinished"]
    assert last == 5
    assert journal_of().append_pending(commit(STEP)) == 5


def test_two_that_have_read_the_same_write_each_thing_once(stack, journal_of):
    one, other = journal_of(), journal_of()
    one.append_pending(commit(BEGAN, STEP))
    other.append_pending(commit(BEGAN, STEP, TEXT))
    one.append_pending(commit(STEP_ENDED, ENDED))
    other.append_pending(commit(STEP_ENDED, ENDED))
    assert types(stack) == ["RunStarted", "agent.StepStarted", "TextDelta", "agent.StepFinished", "RunCompleted"]


def test_behind_the_end_nothing_is_written(stack, journal_of, caplog):
    late = journal_of()
    journal_of().append_pending(commit(BEGAN, ENDED))
    assert late.append_pending(commit(TEXT)) == 2
    assert types(stack) == ["RunStarted", "RunCompleted"]
    assert "after its end" in caplog.text


def test_a_pause_is_written_again_only_where_the_run_went_on_meanwhile(stack, journal_of):
    journal_of().append_pending(commit(BEGAN, PAUSE))
    journal_of().append_pending(commit(PAUSE))
    other = Paused(reason="", pending=["d"], timestamp=AT)
    journal_of().append_pending(commit(ANSWER, other))
    journal_of().append_pending(commit(PAUSE, other))
    assert types(stack) == ["RunStarted", "agent.Paused", "agent.Resumed", "agent.Paused"]


def test_a_run_that_was_ended_for_want_of_life_begins_again(stack, journal_of):
    journal_of().append_pending(commit(BEGAN, STEP))
    last = stack.store.event_log.last_commit("r", 10**6)
    assert expire(stack.store.event_log, last, datetime.now(UTC))
    for _ in range(2):
        journal_of().append_pending(commit(BEGAN, STEP, STEP_ENDED))
    journal_of().append_pending(commit(BEGAN, ENDED))
    assert types(stack) == [
        "RunStarted",
        "agent.StepStarted",
        "RunFailed",
        "RunStarted",
        "agent.StepFinished",
        "RunCompleted",
    ]


class LosesAnAnswer:
    """A log that appends, and whose first answer is lost."""

    def __init__(self, log):
        self._log = log
        self.has_lost = False

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append_pending(self, pending, expected_sequence=None):
        last = self._log.append_pending(pending, expected_sequence)
        if not self.has_lost:
            self.has_lost = True
            raise ConnectionClosedError(endpoint_url="https://dynamodb")
        return last


def test_a_commit_whose_answer_was_lost_is_written_once(stack, journal_of):
    journal = journal_of(LosesAnAnswer(stack.store.event_log))
    pending = commit(BEGAN, TEXT)
    with pytest.raises(ConnectionClosedError):
        journal.append_pending(pending)
    journal.append_pending(pending)
    assert types(stack) == ["RunStarted", "TextDelta"]


def test_one_that_was_given_up_though_it_is_in_the_log_is_read(stack, journal_of):
    journal = journal_of(LosesAnAnswer(stack.store.event_log))
    with pytest.raises(ConnectionClosedError):
        journal.append_pending(commit(BEGAN, STEP))
    journal.append_pending(commit(BEGAN, STEP, STEP_ENDED))
    assert types(stack) == ["RunStarted", "agent.StepStarted", "agent.StepFinished"]
