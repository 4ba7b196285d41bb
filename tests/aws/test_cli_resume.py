"""`behest resume`, `behest runs --parked`, and what `behest show` says of a parked run."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from behest_core.cli import aws
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.model.timestamps import from_datetime
from behest_core.projection.catch_up import CatchUp
from behest_core.terminal import age_text
from tests.aws.test_projector import raiser, throttled
from tests.builders import RUN, commit, poison, record_commit, run_record, text_delta
from tests.cli import behest, done, refused, screen
from tests.operating import folded_run, mend, parked_run, put

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command

WHY = "MalformedEventError: Expected `object`, got `str` - at `$.usage`"
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.fixture
def requests_of_resume(stack, requests, monkeypatch):
    """Return the requests that the command makes."""
    monkeypatch.setattr(aws, "connect", lambda _: stack.store)
    return requests


# ---------------------------------------------------------------- resume


def test_a_parked_run_goes_on_once_its_log_is_mended(stack):
    parked_run(stack)
    mend(stack)
    assert done("resume", RUN) == f"run {RUN} goes on, folded up to sequence 3\n"
    assert stack.store.get_state(RUN).parked is None


def test_a_run_that_is_parked_again_says_where_and_why_and_for_which_time(stack):
    parked_run(stack)
    for attempt in (2, 3):
        result = behest("resume", RUN)
        assert (result.exit_code, result.stderr) == (1, "")
        assert result.stdout == f"run {RUN} is parked again at sequence 2, by {WHY} (attempt {attempt})\n"


def test_all_parked_runs_are_resumed_and_no_others(stack):
    for run_id in ("run-a", "run-b", "run-c"):
        parked_run(stack, run_id)
    folded_run(stack, "run-d")
    mend(stack, "run-a")
    mend(stack, "run-c")
    result = behest("resume", "--all")
    assert result.exit_code == 1
    assert sorted(result.stdout.splitlines()) == [
        "2 of 3 runs go on",
        "run run-a goes on, folded up to sequence 3",
        f"run run-b is parked again at sequence 2, by {WHY} (attempt 2)",
        "run run-c goes on, folded up to sequence 3",
    ]
    mend(stack, "run-b")
    assert done("resume", "--all") == "run run-b goes on, folded up to sequence 3\n"


def test_where_no_run_is_parked_there_is_nothing_to_resume():
    result = behest("resume", "--all")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "behest: no run is parked\n")


def test_a_run_that_is_not_parked_stays_as_it_is(stack):
    folded_run(stack)
    before = stack.store.get_state(RUN)
    assert done("resume", RUN) == f"run {RUN} is folded up to sequence 5; there was nothing to do\n"
    assert stack.store.get_state(RUN) == before


def test_a_run_named_twice_is_resumed_once(stack):
    parked_run(stack)
    behest("resume", RUN, RUN)
    assert stack.store.get_state(RUN).parked.attempts == 2


def test_a_resumed_run_that_meets_a_gap_says_what_its_log_lacks(stack):
    parked_run(stack)
    put(stack, commit(1, text_delta()), commit(4, text_delta()))
    result = behest("resume", RUN)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == f"run {RUN} is folded up to sequence 1; its log lacks sequence 2\n"


def test_resuming_a_run_that_is_not_there_or_was_deleted_says_so(stack):
    assert refused("resume", "nobody") == "there is no run nobody"
    folded_run(stack)
    stack.store.delete_run(RUN)
    assert refused("resume", RUN).startswith(f"run {RUN} was deleted at 20")


@pytest.mark.parametrize("operation", ["Query", "PutItem"])
def test_a_run_that_cannot_be_folded_now_is_told_and_stays_parked(stack, requests_of_resume, operation):
    parked_run(stack)
    mend(stack)
    requests_of_resume.before(operation, raiser(throttled(operation)))
    assert refused("resume", RUN) == f"run {RUN} could not be folded now: ThrottlingException"
    assert stack.store.get_state(RUN).parked is not None
    assert behest("resume", RUN).exit_code == 0


def test_trouble_with_the_tables_is_told_once(stack, requests_of_resume):
    parked_run(stack)
    requests_of_resume.before("BatchGetItem", raiser(throttled("BatchGetItem")))
    assert refused("resume", RUN, "other") == "AWS is throttling BatchGetItem: slow down; try again later"


def test_a_missing_table_is_named():
    for command in (["resume", RUN], ["resume", "--all"], ["verify"], ["rebuild", RUN], ["delete", "--yes", RUN]):
        assert refused(*command, BEHEST_STATE_TABLE="s").startswith("the state table s doesn't exist in us-east-1")


def test_where_one_run_after_the_other_cannot_be_folded_it_stops(stack, requests_of_resume, monkeypatch):
    for number in range(25):
        parked_run(stack, f"run-{number:02}")
    requests_of_resume.made.clear()
    monkeypatch.setattr(stack.store.event_log, "commits", lambda *_, **__: raiser(throttled("Query"))())
    result = behest("resume", "--all")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 22)
    cut_short, reason = result.stderr.splitlines()[-2:]
    assert cut_short.startswith("behest: cut short with 0 of 25 runs done; to go on: behest resume run-")
    assert reason == "behest: 20 runs in a row could not be folded"
    assert requests_of_resume.named("PutItem") == []


@pytest.mark.parametrize("arguments", [[], ["--all", RUN]])
def test_runs_are_named_or_all(arguments):
    result = behest("resume", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name runs, or pass --all" in result.stderr


def test_a_run_id_that_none_can_have_is_refused():
    for command in ("resume", "verify", "rebuild", "delete"):
        for run_id in ("", "x" * 256):
            assert refused(command, run_id).startswith("run_id: expected a string of 1 to 255 characters")


# ---------------------------------------------------------------- runs --parked


@pytest.fixture
def parked(stack):
    """Return the stack with two parked runs, one of session-2, and one that isn't parked."""
    for number, session in enumerate(["session-1", "session-2"]):
        run_id = f"run-{number}"
        put(stack, record_commit(run_record(run_id, session_id=session)), poison(1, run_id=run_id))
        moment = NOW + timedelta(hours=number)
        CatchUp(stack.store.event_log, stack.store.state_table, now=lambda moment=moment: moment).fold(run_id)
    folded_run(stack, "good")
    return stack


@pytest.mark.usefixtures("parked")
def test_parked_runs_are_listed_with_reason_age_and_attempts_the_latest_first():
    behest("resume", "run-0")
    rows = [re.split(r"\s{2,}", row) for row in done("runs", "--parked").splitlines()]
    ages = [row.pop(2) for row in rows]
    message = "Expected `object`, got `str` - at `$.usage`"
    assert rows == [
        ["RUN", "REASON", "ATTEMPTS", "PARKED (UTC)", "MESSAGE"],
        ["run-1", "MalformedEventError at 2", "1", "2026-02-01 13:00:00", message],
        ["run-0", "MalformedEventError at 2", "2", "2026-02-01 12:00:00", message],
    ]
    assert ages[0] == "AGE"
    assert all(re.fullmatch(r"\d+[smhd]", age) for age in ages[1:])


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (7200, "2h"), (86_399, "23h"), (200_000, "2d")],
)
def test_an_age_is_told_in_its_largest_unit(seconds, age):
    assert age_text(from_datetime(NOW - timedelta(seconds=seconds)), NOW) == age


def test_an_age_since_a_time_that_is_none_is_a_dash():
    assert age_text("", NOW) == age_text("yesterday", NOW) == "-"


@pytest.mark.usefixtures("parked")
def test_parked_runs_are_narrowed_down_like_all_runs():
    def listed(*arguments: str) -> list[str]:
        return [json.loads(state)["run_id"] for state in done("runs", "--parked", "--json", *arguments).splitlines()]

    assert listed() == ["run-1", "run-0"]
    assert listed("--session", "session-1") == ["run-0"]
    assert listed("--status", "pending") == ["run-1", "run-0"]
    assert listed("--status", "completed") == listed("--since", "2027-01-01") == []
    assert listed("--since", "2026-01-01") == ["run-1", "run-0"]


@pytest.mark.usefixtures("parked")
def test_a_limit_says_that_there_are_more_parked_runs():
    result = behest("runs", "--parked", "--limit", "1")
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.startswith("behest: there are more")


@pytest.mark.usefixtures("parked")
def test_parked_runs_as_json_are_whole_states():
    state = json.loads(done("runs", "--parked", "--json", "--limit", "0").splitlines()[0])
    assert (state["parked"]["sequence"], state["parked"]["error"], state["parked"]["attempts"]) == (
        2,
        "MalformedEventError",
        1,
    )


def test_no_parked_runs_are_no_error(stack):
    folded_run(stack)
    result = behest("runs", "--parked")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "behest: no such runs\n")


@pytest.mark.usefixtures("parked")
def test_on_a_narrow_terminal_reason_age_and_attempts_stay():
    for columns, shown in ((60, 4), (80, 4), (110, 5), (200, 6)):
        rows = screen("runs", "--parked", columns=columns)
        assert len(re.split(r"\s{2,}", rows[0].strip())) == shown
        assert all(len(row) <= columns for row in rows)


# ---------------------------------------------------------------- show


def attempts(shown: str) -> list[str]:
    return re.findall(
        rf"^attempt (\d+) +\S+ \S+ +at sequence 2, by MalformedEventError: .+ \(version {REDUCER_VERSION}\)$",
        shown,
        re.MULTILINE,
    )


def test_show_lists_all_attempts_that_are_kept_the_latest_five(stack):
    parked_run(stack)
    assert attempts(done("show", RUN)) == []
    behest("resume", RUN)
    assert attempts(done("show", RUN)) == ["1", "2"]
    for _ in range(5):
        behest("resume", RUN)
    assert attempts(done("show", RUN)) == ["3", "4", "5", "6", "7"]
