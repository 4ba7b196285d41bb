"""One run's trouble is its own: each command that works on many runs tells it, does the others, and ends with exit code 1."""

from __future__ import annotations

import json

import pytest

from behest_core.cli import aws
from behest_core.dynamodb.event_table import EventLog
from tests.builders import text_delta, whole_run
from tests.cli import behest, line
from tests.operating import folded_run, parked_run, put_broken_state, wrong_run

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command

RUNS = ["run-1", "run-2", "run-3"]
BUG = "KeyError: 'S'"


@pytest.fixture
def stumbling(stack, monkeypatch):
    """Return the stack, where whatever touches the log of run-2 stumbles on something that nobody has thought of."""
    monkeypatch.setattr(aws, "connect", lambda _: stack.store)

    def let_stumble(*names):
        for name in names:
            method = getattr(EventLog, name)

            def stumble(log, run_id, *rest, method=method, **how):
                if run_id == "run-2":
                    raise KeyError("S")
                return method(log, run_id, *rest, **how)

            monkeypatch.setattr(EventLog, name, stumble)

    stack.let_stumble = let_stumble
    return stack


def test_of_runs_that_are_checked(stumbling):
    for run_id in RUNS:
        folded_run(stumbling, run_id)
    stumbling.let_stumble("commits")
    for command, rest in ((["verify"], ""), (["rebuild", "--dry-run"], "; nothing was changed")):
        result = behest(*command)
        assert (result.exit_code, result.stdout) == (1, f"checked 3 runs: 2 right, 1 not checked{rest}\n")
        assert result.stderr == f"behest: run run-2 could not be checked now: {BUG}\n"


def test_of_runs_that_are_folded_again(stumbling):
    for run_id in RUNS:
        wrong_run(stumbling, run_id)
    stumbling.let_stumble("commits")
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "folded 3 runs again: 2 changed, 1 not reached\n")
    assert result.stderr.splitlines() == [
        f"behest: run run-2 could not be folded now: {BUG}",
        "behest: 1 run could not be folded now; to try them again: behest rebuild run-2",
    ]


def test_of_runs_that_are_resumed(stumbling):
    for run_id in RUNS:
        parked_run(stumbling, run_id)
    stumbling.let_stumble("commits")
    result = behest("resume", "--all")
    assert (result.exit_code, result.stderr) == (1, f"behest: run run-2 could not be folded now: {BUG}\n")
    assert sorted(text.split()[1] for text in result.stdout.splitlines()[:2]) == ["run-1", "run-3"]


def test_of_runs_that_are_deleted(stumbling):
    for run_id in RUNS:
        folded_run(stumbling, run_id)
    stumbling.let_stumble("delete")
    result = behest("delete", "--yes", *RUNS)
    assert (result.exit_code, result.stderr) == (1, f"behest: run run-2 could not be deleted now: {BUG}\n")
    assert [text.split()[2] for text in result.stdout.splitlines()] == ["run-1:", "run-3:"]
    assert stumbling.store.state_table.get("run-3").deleted_at


def test_of_runs_that_are_to_be_deleted_and_looked_at_before(stumbling):
    for run_id in RUNS:
        folded_run(stumbling, run_id)
    stumbling.let_stumble("tail")
    result = behest("delete", "--yes", *RUNS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        result.stdout.splitlines()[1]
        == "deleted run run-2: Completed, a log that can't be read, created 2026-01-31T12:00:00Z"
    )


def test_of_runs_that_are_exported(stumbling):
    for run_id in RUNS:
        folded_run(stumbling, run_id)
    stumbling.let_stumble("commits")
    for command in (["export"], ["export", *RUNS]):
        result = behest(*command)
        assert (result.exit_code, result.stderr) == (1, f"behest: run run-2 could not be exported now: {BUG}\n")
        assert [json.loads(text)["record"]["id"] for text in result.stdout.splitlines()] == ["run-1", "run-3"]


def test_of_runs_that_are_imported_where_lines_may_be_skipped(stumbling):
    stumbling.let_stumble("head")
    data = b"".join(line(*whole_run(), run_id=run_id) for run_id in RUNS)
    result = behest("import", "-", "--skip-invalid", stdin=data)
    assert (result.exit_code, result.stdout) == (0, "imported 2 runs with 10 events; 1 line skipped\n")
    assert result.stderr == f"behest: skipped: standard input:2: {BUG}\n"
    assert behest("import", "-", stdin=data).stderr == f"behest: standard input:2: {BUG}\n"


@pytest.mark.parametrize("options", [[], ["--json"], ["--status", "completed"], ["--session", "session-1"]])
def test_of_runs_that_are_listed(stack, options):
    for run_id in RUNS:
        folded_run(stack, run_id)
    put_broken_state(stack, "run-2")
    result = behest("runs", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("behest: run run-2, state item: Expected `int`, got `str`")
    assert ("run-1" in result.stdout, "run-2" in result.stdout, "run-3" in result.stdout) == (True, False, True)


def test_of_parked_runs_that_are_listed(stack):
    for run_id in RUNS:
        parked_run(stack, run_id)
    put_broken_state(stack, "run-2")
    result = behest("runs", "--parked")
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 3)
    assert result.stderr.startswith("behest: run run-2, state item: ")


def test_a_state_that_is_broken_does_not_keep_parked_runs_from_being_resumed(stack):
    for run_id in RUNS:
        parked_run(stack, run_id)
    put_broken_state(stack, "run-2")
    result = behest("resume", "--all")
    assert [text.split()[-2:] for text in result.stdout.splitlines()[:3]].count(["(attempt", "2)"]) == 2
    assert stack.store.get_state("run-2").parked is not None


def test_all_runs_are_exported_those_without_a_state_too_and_no_deleted_ones(stack):
    folded_run(stack, "run-1")
    stack.store.event_log.append("run-2", [text_delta()])
    folded_run(stack, "run-3")
    stack.store.delete_run("run-3")
    result = behest("export")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [json.loads(text)["events"][0]["run_id"] for text in result.stdout.splitlines()] == ["run-1", "run-2"]
    assert behest("export", "run-3").stderr.startswith("behest: run run-3 was deleted at ")


def test_a_table_that_is_not_there_is_everybodys_trouble_and_told_once(stack):
    for run_id in RUNS:
        folded_run(stack, run_id)
    for command in (["export", *RUNS], ["verify", *RUNS], ["rebuild", *RUNS], ["resume", *RUNS]):
        result = behest(*command, BEHEST_EVENT_TABLE="e")
        assert result.exit_code == 1
        assert [text for text in result.stderr.splitlines() if "the event table e doesn't exist" in text] == [
            result.stderr.splitlines()[-1]
        ]
