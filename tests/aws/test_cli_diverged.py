"""`behest rebuild --diverged`, and what the other commands say of a run whose log holds another history than its state."""

from __future__ import annotations

import re

import pytest

from behest_core.cli import runs
from behest_core.cli.commands import rebuild_runs
from tests.aws.test_projector import raiser
from tests.builders import RUN, text_delta, usage_recorded
from tests.cli import behest, done
from tests.operating import diverged_run, fold, folded_run, parked_run, truncated_run, wrong_run

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command

LONGER = [usage_recorded(9), *(text_delta(second) for second in range(10, 17))]
DIVERGED = (
    f"run {RUN}: its log has another history than its state, which covers 5; one of the tables was restored? "
    "`behest rebuild --diverged` takes what the log has"
)


def noticed_run(stack, run_id=RUN, *events):
    """Add a run that is parked as its log has another history."""
    diverged_run(stack, run_id, *events)
    fold(stack, run_id)
    assert stack.store.get_state(run_id).parked.error == "LogDivergedError"


def test_without_run_ids_it_takes_what_the_logs_of_the_parked_ones_have_and_leaves_all_others(stack):
    noticed_run(stack, "shorter")
    noticed_run(stack, "longer", *LONGER)
    parked_run(stack, "parked")
    wrong_run(stack, "wrong")
    diverged_run(stack, "unnoticed")
    before = {run_id: stack.store.get_state(run_id) for run_id in ("parked", "wrong", "unnoticed")}
    assert done("rebuild", "--diverged").splitlines() == [
        "run longer goes on, folded up to sequence 10 of what its log has; its state covered 5",
        "run shorter goes on, folded up to sequence 3 of what its log has; its state covered 5",
        "folded 2 runs again: 2 changed",
    ]
    assert {run_id: stack.store.get_state(run_id) for run_id in before} == before
    assert done("verify", "shorter", "longer") == "checked 2 runs: 2 right\n"
    assert done("rebuild", "--diverged") == "folded 0 runs again\n"


def test_with_run_ids_it_takes_those_parked_or_not(stack):
    noticed_run(stack, "noticed")
    diverged_run(stack, "unnoticed")
    wrong_run(stack, "wrong")
    assert done("rebuild", "--diverged", "unnoticed", "wrong").splitlines() == [
        "run unnoticed goes on, folded up to sequence 3 of what its log has; its state covered 5",
        "folded 2 runs again: 2 changed",
    ]
    assert stack.store.get_state("wrong").iteration == 1
    assert stack.store.get_state("noticed").parked


def test_a_run_whose_log_has_lost_its_beginning_keeps_its_state(stack):
    truncated_run(stack)
    result = behest("rebuild", "--diverged", RUN)
    assert (result.exit_code, result.stdout) == (1, "folded 1 run again: 1 refused\n")


@pytest.mark.parametrize("events", [[], LONGER], ids=["shorter", "longer"])
def test_a_rebuild_without_it_says_what_is_wrong_and_what_to_type(stack, events):
    noticed_run(stack, RUN, *events)
    before = stack.store.get_state(RUN)
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "folded 1 run again: 1 diverged\n")
    assert result.stderr.splitlines() == [
        f"behest: {DIVERGED}",
        f"behest: 1 run diverged; to take what the log has: behest rebuild --diverged {RUN}",
    ]
    assert stack.store.get_state(RUN) == before


def test_many_runs_that_diverged_do_not_end_a_rebuild(stack, monkeypatch):
    monkeypatch.setattr(runs, "FAILURES_IN_A_ROW", 2)
    for number in range(3):
        diverged_run(stack, f"run-{number}")
    wrong_run(stack, "wrong")
    assert behest("rebuild").stdout == "folded 4 runs again: 1 changed, 3 diverged\n"


def test_resuming_a_run_that_diverged_parks_it_again(stack):
    noticed_run(stack)
    result = behest("resume", RUN)
    assert (result.exit_code, result.stdout) == (
        1,
        f"run {RUN} is parked again at sequence 6, by LogDivergedError: {DIVERGED} (attempt 2)\n",
    )


@pytest.mark.parametrize("is_noticed", [True, False])
@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([], "its log ends at sequence 3, and its state at 5"),
        (LONGER, "its log holds another commit at sequence 5 than its state was folded from"),
    ],
    ids=["shorter", "longer"],
)
def test_verify_says_that_a_run_diverged(stack, events, problem, is_noticed):
    (noticed_run if is_noticed else diverged_run)(stack, RUN, *events)
    result = behest("verify")
    assert (result.exit_code, result.stdout.splitlines()) == (
        1,
        [
            f"{RUN}  {problem}: one of the tables was restored? `behest rebuild --diverged` takes what the log has",
            "checked 1 run: 1 diverged",
        ],
    )


def test_a_dry_run_shows_what_would_be_taken_and_changes_nothing(stack):
    noticed_run(stack)
    wrong_run(stack, "wrong")
    before = stack.store.get_state(RUN)
    shown = done("rebuild", "--diverged", "--dry-run").splitlines()
    assert shown[0].startswith(f"{RUN}  its log ends at sequence 3, and its state at 5: ")
    assert shown[1:] == ["checked 1 run: 1 diverged; nothing was changed"]
    assert stack.store.get_state(RUN) == before
    assert behest("rebuild", "--dry-run").exit_code == 1


@pytest.mark.parametrize("option", [["--extension", "cost"], ["--since", "2h"], ["--after", "a"]])
def test_with_an_option_that_selects_otherwise_it_is_a_mistake_in_usage(option):
    result = behest("rebuild", "--diverged", *option)
    assert (result.exit_code, result.stdout) == (2, "")


def test_somebody_is_asked_before_other_histories_are_taken(stack, monkeypatch):
    monkeypatch.setattr(rebuild_runs, "can_ask", lambda: True)
    noticed_run(stack)
    result = behest("rebuild", "--diverged", stdin=b"n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Fold 1 run again, and take what the log has? [y/N]: behest: the answer was not yes; nothing was changed\n"
    )
    assert stack.store.get_state(RUN).parked
    assert behest("rebuild", "--diverged", "--yes").exit_code == 0
    assert not stack.store.get_state(RUN).parked


def test_cut_short_it_says_to_type_the_same_again(stack, monkeypatch):
    noticed_run(stack)
    monkeypatch.setattr(rebuild_runs.Folding, "fold_again", lambda *_, **__: raiser(KeyboardInterrupt())())
    result = behest("rebuild", "--diverged")
    assert re.findall("to go on: (.+)", result.stderr) == ["behest rebuild --diverged"]
    assert result.exit_code == 130


def test_a_deleted_run_that_came_back_is_deleted_by_a_rebuild(stack):
    folded_run(stack)
    state = stack.store.get_state(RUN)
    stack.store.delete_run(RUN)
    stack.dynamodb.delete_item(TableName=stack.state_table, Key={"run_id": {"S": RUN}})
    state.revision = 0
    stack.store.state_table.save(state)
    result = behest("verify")
    assert (result.exit_code, "its log was deleted at" in result.stdout) == (1, True)
    assert done("rebuild") == "folded 0 runs again\n"
    assert done("verify") == "checked 1 run: 1 right\n"
