"""`behest verify`, on the local stack."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from behest_core.cli import aws
from behest_core.dynamodb.event_table import EventLog
from tests.aws.test_projector import raiser, throttled
from tests.builders import RUN, run_record, text_delta, whole_run
from tests.cli import behest, done, refused, screen
from tests.operating import fold, folded_run, parked_run, put_broken_state, truncated_run, wrong_run

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


@pytest.fixture
def requests_of_verify(stack, requests, monkeypatch):
    """Return the requests that the command makes."""
    monkeypatch.setattr(aws, "connect", lambda _: stack.store)
    return requests


def test_runs_that_are_right_are_counted(stack):
    for number in range(3):
        folded_run(stack, f"run-{number}")
    assert done("verify") == "checked 3 runs: 3 right\n"
    assert done("verify", "run-1", "run-1") == "checked 1 run: 1 right\n"


def test_where_there_are_no_runs_nothing_is_wrong():
    assert done("verify") == "checked 0 runs\n"


def test_a_run_that_is_wrong_is_shown_field_by_field(stack):
    folded_run(stack, "run-a")
    wrong_run(stack, "run-b")
    result = behest("verify")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == "run-b  iteration: stored 99, folded 1\nchecked 2 runs: 1 right, 1 wrong\n"


def test_each_kind_of_what_is_not_right_is_shown_and_counted(stack):
    folded_run(stack, "run-a")
    parked_run(stack, "run-b")
    truncated_run(stack, "run-c")
    folded_run(stack, "run-d")
    put_broken_state(stack, "run-d")
    stack.store.event_log.append("run-a", [text_delta()])
    stack.store.event_log.append("run-e", whole_run())
    result = behest("verify")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        "run-b  parked at sequence 2: MalformedEventError",
        "run-c  its log no longer holds all that its state was folded from",
        "run-d  Expected `int`, got `str` - at `$.iteration`",
        "checked 5 runs: 2 behind, 1 wrong, 1 parked, 1 can't be folded",
    ]


def test_states_that_are_behind_are_not_wrong(stack):
    folded_run(stack)
    stack.store.event_log.append(RUN, [text_delta()])
    stack.store.event_log.append("new", whole_run())
    assert done("verify") == "checked 2 runs: 2 behind\n"


def test_a_run_that_only_one_of_the_tables_has_is_found(stack):
    folded_run(stack, "run-a")
    for sequence in "01":
        key = {"run_id": {"S": "run-a"}, "sequence": {"N": sequence}}
        stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)
    stack.store.event_log.create(run_record("run-b"))
    result = behest("verify")
    assert result.stdout.endswith("checked 2 runs: 1 behind, 1 can't be folded\n")


def test_a_deleted_run_of_which_something_is_left_is_found(stack):
    folded_run(stack)
    stack.store.delete_run(RUN)
    assert done("verify") == "checked 1 run: 1 right\n"
    stack.dynamodb.put_item(
        TableName=stack.event_table, Item={"run_id": {"S": RUN}, "sequence": {"N": "9"}, "events": {"S": "[]"}}
    )
    assert behest("verify").stdout.startswith(f"{RUN}  deleted, but its log has sequence 9; delete it again\n")


def test_a_run_that_is_not_there_is_told(stack):
    folded_run(stack)
    result = behest("verify", "nobody", RUN)
    assert (result.exit_code, result.stdout) == (
        1,
        "nobody  there is no such run\nchecked 2 runs: 1 right, 1 not there\n",
    )


def test_as_json_each_run_that_is_not_right_is_a_line(stack):
    wrong_run(stack)
    folded_run(stack, "good")
    result = behest("verify", "--json")
    assert (result.exit_code, result.stderr) == (1, "behest: checked 2 runs: 1 right, 1 wrong\n")
    assert [json.loads(verdict) for verdict in result.stdout.splitlines()] == [
        {
            "run_id": RUN,
            "kind": "wrong",
            "sequence": 5,
            "reducer_version": 2,
            "behind": 0,
            "differences": [{"name": "iteration", "stored": 99, "folded": 1}],
            "problem": None,
        }
    ]


def test_a_sample_is_drawn_from_all_runs_or_from_those_named(stack):
    for number in range(6):
        folded_run(stack, f"run-{number}")
    assert done("verify", "--sample", "4") == "checked 4 runs: 4 right\n"
    assert done("verify", "--sample", "1", "run-1", "run-2") == "checked 1 run: 1 right\n"
    assert done("verify", "--sample", "99") == "checked 6 runs: 6 right\n"


@pytest.fixture
def of_two_days(stack):
    """Return the stack with a run of now, one of long ago, and one of long ago whose first commit is of now."""
    now = datetime.now(UTC)
    for run_id, created_at, moment in (
        ("new", now, now),
        ("old", now - timedelta(days=900), now - timedelta(days=900)),
        ("imported", now - timedelta(days=900), now),
    ):
        log = EventLog(stack.dynamodb, stack.event_table, now=lambda moment=moment: moment)
        log.create(run_record(run_id, created_at=created_at.isoformat()))
        log.append(run_id, whole_run())
        fold(stack, run_id)
    return stack


@pytest.mark.usefixtures("of_two_days")
def test_runs_since_a_time_are_those_created_or_first_written_since():
    for since in ("1h", "30h", "31d", "800d"):
        assert done("verify", "--since", since) == "checked 2 runs: 2 right\n"
    assert done("verify", "--since", "0001-01-01") == "checked 3 runs: 3 right\n"
    assert done("verify") == "checked 3 runs: 3 right\n"


@pytest.mark.usefixtures("of_two_days")
def test_a_time_to_come_has_no_runs():
    assert done("verify", "--since", "9000-01-01") == "checked 0 runs\n"


@pytest.mark.parametrize(
    "arguments", [["--since", "2h", RUN], ["--since", "yesterday"], ["--sample", "0"], ["--sample", "few"]]
)
def test_what_makes_no_sense_is_a_mistake_in_usage(arguments):
    result = behest("verify", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_run_that_cannot_be_checked_now_is_told_and_the_others_are_checked(stack, requests_of_verify):
    for number in range(3):
        folded_run(stack, f"run-{number}")
    with_trouble(stack, "run-1")
    result = behest("verify")
    assert (result.exit_code, result.stdout) == (1, "checked 3 runs: 2 right, 1 not checked\n")
    assert result.stderr == (
        "behest: run run-1 could not be checked now: AWS is throttling Query: slow down; try again later\n"
    )
    assert requests_of_verify.named("PutItem")[-1]["TableName"] == stack.state_table  # of making the runs


def with_trouble(stack: Any, *run_ids: str) -> None:
    """Let reading the logs of some runs fail."""
    commits = stack.store.event_log.commits
    stack.store.event_log.commits = lambda run_id, *rest, **how: (
        raiser(throttled("Query"))() if run_id in run_ids else commits(run_id, *rest, **how)
    )


@pytest.mark.usefixtures("requests_of_verify")
def test_where_one_run_after_the_other_cannot_be_checked_it_stops(stack):
    for number in range(25):
        folded_run(stack, f"run-{number:02}")
    with_trouble(stack, *(f"run-{number:02}" for number in range(1, 25)))
    result = behest("verify")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[20:] == [
        "behest: checked 21 runs: 1 right, 20 not checked; of 25, before this",
        "behest: AWS is throttling Query: slow down; try again later",
    ]


def test_ctrl_c_says_how_far_it_came(stack, requests_of_verify):
    folded_run(stack)
    requests_of_verify.before("Query", raiser(KeyboardInterrupt()))
    result = behest("verify", RUN)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "behest: checked 0 runs; of 1, before this\n"


def test_trouble_with_the_tables_is_told_once(requests_of_verify):
    for operation, arguments in (("Scan", ["verify"]), ("BatchGetItem", ["verify", "a", "b", "c"])):
        requests_of_verify.before(operation, raiser(throttled(operation)))
        assert refused(*arguments) == f"AWS is throttling {operation}: slow down; try again later"


def test_what_a_run_holds_does_not_steer_the_terminal(stack):
    folded_run(stack)
    state = stack.store.get_state(RUN)
    state.last_error = "\x1b[2J\n\x07"
    stack.store.state_table.save(state)
    assert behest("verify").stdout.splitlines()[0] == (f'{RUN}  last_error: stored "\\u001b[2J\\n\\u0007", folded null')


def test_on_a_terminal_no_line_is_cut(stack):
    folded_run(stack)
    assert screen("verify", columns=10) == ["checked 1 run: 1 right"]
