"""`behest rebuild`, on the local stack."""

from __future__ import annotations

import re
import shlex
import signal
import threading
from typing import Any

import pytest

from behest_core.cli import aws, runs
from behest_core.cli.commands import rebuild_runs
from behest_core.cli.outcomes import Folding
from behest_core.fold.reducer import REDUCER_VERSION
from tests.aws.test_projector import raiser, throttled
from tests.builders import RUN, commit, deploy_reducer, record_commit, run_started, text_delta, usage_recorded
from tests.cli import behest, done, refused
from tests.operating import folded_run, mend, parked_run, put, put_broken_state, truncated_run, wrong_run

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command

GO_ON = re.compile(r"^behest: cut short with (\d+) of (\d+) runs done; to go on: behest (.+)$", re.MULTILINE)


@pytest.fixture
def requests_of_rebuild(stack, requests, monkeypatch):
    """Return the requests that the command makes, one run after the other."""
    monkeypatch.setattr(aws, "connect", lambda _: stack.store)
    monkeypatch.setattr(runs, "WORKERS", 1)
    return requests


def wrong_runs(stack: Any, count: int) -> None:
    for number in range(count):
        wrong_run(stack, f"run-{number:02}")


def iterations(stack: Any) -> list[int]:
    """Return the iterations of all runs, in the order of their ids; 1 is right, 99 is wrong."""
    return [state.iteration for state in sorted(stack.store.states(), key=lambda state: state.run_id)]


def go_on(result: Any) -> tuple[int, list[str]]:
    """Return how many runs a rebuild that was cut short has done, and the command that goes on."""
    [(position, _, command)] = GO_ON.findall(result.stderr)
    return int(position), shlex.split(command)


# ---------------------------------------------------------------- folding again


def test_wrong_states_are_replaced_and_right_ones_are_not_written(stack):
    wrong_runs(stack, 2)
    folded_run(stack, "run-02")
    right = stack.store.get_state("run-02")
    assert done("rebuild") == "folded 3 runs again: 2 changed, 1 right already\n"
    assert iterations(stack) == [1, 1, 1]
    assert stack.store.get_state("run-02") == right
    assert done("rebuild") == "folded 3 runs again: 3 right already\n"


def test_where_there_are_no_runs_there_is_nothing_to_do():
    assert done("rebuild") == "folded 0 runs again\n"


def test_only_runs_that_are_named_are_folded(stack):
    wrong_runs(stack, 3)
    assert done("rebuild", "run-02", "run-00", "run-02") == "folded 2 runs again: 2 changed\n"
    assert iterations(stack) == [1, 99, 1]


def test_a_state_that_is_missing_broken_or_behind_is_folded(stack):
    put(stack, record_commit(), commit(1, run_started()))
    folded_run(stack, "run-2")
    put_broken_state(stack, "run-2")
    folded_run(stack, "run-3")
    stack.store.append("run-3", [text_delta()])
    assert done("rebuild") == "folded 3 runs again: 3 changed\n"
    assert done("verify") == "checked 3 runs: 3 right\n"


def test_a_state_of_another_version_of_the_reducer_is_folded_by_this_one(stack, monkeypatch):
    folded_run(stack)
    deploy_reducer(monkeypatch, REDUCER_VERSION + 1)
    assert done("rebuild") == "folded 1 run again: 1 changed\n"
    assert stack.store.get_state(RUN).reducer_version == REDUCER_VERSION + 1


def test_where_the_log_is_gone_in_part_the_state_stays(stack):
    truncated_run(stack)
    wrong_run(stack, "run-2")
    before = stack.store.get_state(RUN)
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "folded 2 runs again: 1 changed, 1 refused\n")
    assert result.stderr == (
        f"behest: run {RUN}: its log no longer reaches from 1 to 6, which its state covers (expired, or deleted); "
        "the state stays as it is\n"
    )
    assert stack.store.get_state(RUN) == before


def test_a_parked_run_is_tried_again(stack):
    parked_run(stack)
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "folded 1 run again: 1 parked\n")
    assert re.fullmatch(rf"behest: run {RUN} is parked again at sequence 2, by .+ \(attempt 2\)\n", result.stderr)
    mend(stack)
    assert done("rebuild") == "folded 1 run again: 1 changed\n"


def test_a_gap_in_the_log_is_told(stack):
    folded_run(stack)
    put(stack, commit(7, text_delta()))
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "folded 1 run again: 1 with a gap in the log\n")
    assert result.stderr == f"behest: run {RUN} is folded up to sequence 5; its log lacks sequence 6\n"


def test_a_run_that_is_named_and_not_there_or_deleted_is_told(stack):
    folded_run(stack, "deleted")
    stack.store.delete_run("deleted")
    result = behest("rebuild", "nobody", "deleted")
    assert (result.exit_code, result.stdout) == (1, "folded 2 runs again: 1 not there, 1 deleted\n")
    assert result.stderr.startswith("behest: there is no run nobody\nbehest: run deleted was deleted at 20")


def test_of_all_runs_those_that_were_deleted_are_passed_over(stack):
    folded_run(stack, "run-1")
    folded_run(stack, "run-2")
    stack.store.delete_run("run-2")
    assert done("rebuild") == "folded 1 run again: 1 right already\n"


def test_runs_may_be_those_since_a_time(stack):
    wrong_run(stack)
    stack.store.create_run(provider="p", model="m", run_id="new")
    stack.deliver()
    assert done("rebuild", "--since", "9000-01-01") == "folded 0 runs again\n"
    assert done("rebuild", "--since", "1h") == "folded 1 run again: 1 right already\n"


@pytest.mark.parametrize(
    "arguments", [["--since", "2h", RUN], ["--after", "a", RUN], ["--since", "yesterday"], ["--after"]]
)
def test_what_makes_no_sense_is_a_mistake_in_usage(arguments):
    result = behest("rebuild", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


# ---------------------------------------------------------------- a dry run


def test_a_dry_run_shows_what_would_change_and_changes_nothing(stack):
    wrong_runs(stack, 2)
    folded_run(stack, "run-02")
    parked_run(stack, "run-03")
    before = stack.dynamodb.scan(TableName=stack.state_table)["Items"]
    assert done("rebuild", "--dry-run").splitlines() == [
        "run-00  iteration: stored 99, folded 1",
        "run-01  iteration: stored 99, folded 1",
        "run-03  parked at sequence 2: MalformedEventError",
        "checked 4 runs: 1 right, 2 wrong, 1 parked; nothing was changed",
    ]
    assert stack.dynamodb.scan(TableName=stack.state_table)["Items"] == before


def test_a_dry_run_names_what_a_rebuild_would_refuse(stack):
    truncated_run(stack)
    result = behest("rebuild", "--dry-run")
    assert (result.exit_code, result.stdout.splitlines()) == (
        1,
        [
            f"{RUN}  its log no longer holds all that its state was folded from",
            "checked 1 run: 1 can't be folded; nothing was changed",
        ],
    )
    assert behest("rebuild", "--dry-run", "nobody").exit_code == 1


def test_a_dry_run_counts_the_states_of_another_version_of_the_reducer(stack, monkeypatch):
    folded_run(stack)
    monkeypatch.setattr(rebuild_runs, "REDUCER_VERSION", REDUCER_VERSION + 1)
    assert done("rebuild", "--dry-run") == (
        "checked 1 run: 1 right, 1 of them by another version of the reducer; nothing was changed\n"
    )


# ---------------------------------------------------------------- asking


def test_somebody_is_asked_before_all_runs_are_folded_again(stack, monkeypatch):
    monkeypatch.setattr(rebuild_runs, "can_ask", lambda: True)
    wrong_runs(stack, 2)
    result = behest("rebuild", stdin=b"n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == ("Fold 2 runs again? [y/N]: behest: the answer was not yes; nothing was changed\n")
    assert iterations(stack) == [99, 99]
    assert behest("rebuild", stdin=b"yes\n").exit_code == 0
    assert iterations(stack) == [1, 1]


def test_nobody_is_asked_about_runs_that_are_named_with_yes_or_in_a_dry_run(stack, monkeypatch):
    monkeypatch.setattr(rebuild_runs, "can_ask", lambda: True)
    folded_run(stack)
    for arguments in ([RUN], ["--yes"], ["-y"], ["--dry-run"], ["--after", RUN]):
        done("rebuild", *arguments)


# ---------------------------------------------------------------- cut short, and going on


def test_a_rebuild_that_is_interrupted_goes_on_where_it_was(stack, requests_of_rebuild):
    wrong_runs(stack, 6)
    requests_of_rebuild.made.clear()
    requests_of_rebuild.before("PutItem", lambda: requests_of_rebuild.before("PutItem", raiser(KeyboardInterrupt())))
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (130, "")
    assert go_on(result) == (1, ["rebuild", "--after=run-00"])
    assert 99 in iterations(stack)
    assert done(*go_on(result)[1]).startswith("folded 5 runs again: ")
    assert iterations(stack) == [1] * 6


def test_ctrl_c_leaves_a_rebuild_that_can_go_on(stack, requests_of_rebuild):
    wrong_runs(stack, 30)
    main = threading.main_thread().ident
    requests_of_rebuild.before("PutItem", lambda: signal.pthread_kill(main, signal.SIGINT))
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (130, "")
    done(*go_on(result)[1])
    assert iterations(stack) == [1] * 30


@pytest.mark.parametrize(
    ("given", "repeated"),
    [
        ([], []),
        (["--yes"], []),
        (["--after", "run"], ["--after=run"]),
        (["--stack", "my stack"], ["--stack=my stack"]),
        (["--since", "2026-01-31"], ["--since=2026-01-31T00:00:00.000000000Z"]),
    ],
)
@pytest.mark.usefixtures("requests_of_rebuild")
def test_a_rebuild_that_is_interrupted_at_once_begins_again_with_the_same_options(monkeypatch, given, repeated):
    monkeypatch.setattr(rebuild_runs, "wanted_runs", lambda *_: ["run-00", "run-01"])
    monkeypatch.setattr(Folding, "fold_again", lambda *_, **__: raiser(KeyboardInterrupt())())
    assert go_on(behest("rebuild", *given)) == (0, ["rebuild", *repeated])


def test_of_runs_that_were_named_those_that_are_not_done_are_named(stack, requests_of_rebuild):
    for run_id in ("-a", "b c", "$d"):
        wrong_run(stack, run_id)
    requests_of_rebuild.before("PutItem", lambda: requests_of_rebuild.before("PutItem", raiser(KeyboardInterrupt())))
    result = behest("rebuild", "--", "b c", "-a", "$d")
    assert go_on(result) == (1, ["rebuild", "--", "-a", "$d"])
    assert done(*go_on(result)[1]).startswith("folded 2 runs again: ")
    assert iterations(stack) == [1] * 3


def test_going_on_behind_the_last_run_does_nothing(stack):
    wrong_runs(stack, 2)
    assert done("rebuild", "--after", "run-01") == "folded 0 runs again\n"
    assert done("rebuild", "--after=-") == "folded 2 runs again: 2 changed\n"


def test_a_run_that_cannot_be_folded_now_is_left_and_named_at_the_end(stack, requests_of_rebuild):
    wrong_runs(stack, 3)
    requests_of_rebuild.before("PutItem", raiser(throttled("PutItem")))
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "folded 3 runs again: 2 changed, 1 not reached\n")
    assert result.stderr.splitlines() == [
        "behest: run run-00 could not be folded now: ThrottlingException",
        "behest: 1 run could not be folded now; to try them again: behest rebuild run-00",
    ]
    assert done("rebuild", "run-00") == "folded 1 run again: 1 changed\n"


def test_where_one_run_after_the_other_cannot_be_folded_it_stops_and_says_how_to_go_on(
    stack, requests_of_rebuild, monkeypatch
):
    wrong_runs(stack, 25)
    commits = stack.store.event_log.commits
    monkeypatch.setattr(
        stack.store.event_log,
        "commits",
        lambda run_id, *rest, **how: (
            commits(run_id, *rest, **how) if run_id in {"run-00", "run-02"} else raiser(throttled("Query"))()
        ),
    )
    requests_of_rebuild.made.clear()
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[21:] == [
        "behest: cut short with 3 of 25 runs done; to go on: behest rebuild --after=run-02",
        "behest: 1 run could not be folded now; to try them again: behest rebuild run-01",
        "behest: 20 runs in a row could not be folded",
    ]
    monkeypatch.setattr(stack.store.event_log, "commits", commits)
    assert done("rebuild", "--after=run-02") == "folded 22 runs again: 22 changed\n"
    assert done("rebuild", "run-01") == "folded 1 run again: 1 changed\n"


def test_trouble_with_the_tables_is_told_once(requests_of_rebuild):
    for operation, arguments in (("Scan", ["rebuild"]), ("BatchGetItem", ["rebuild", "a", "b", "c"])):
        requests_of_rebuild.before(operation, raiser(throttled(operation)))
        assert refused(*arguments) == f"AWS is throttling {operation}: slow down; try again later"


def test_of_many_runs_a_line_says_now_and_then_how_far_it_is(stack, monkeypatch):
    monkeypatch.setattr("behest_core.cli.progress._SAY_EVERY", 2)
    wrong_runs(stack, 5)
    assert behest("rebuild").stderr.splitlines() == [
        "behest: 2 of 5 runs, the last of them run-01",
        "behest: 4 of 5 runs, the last of them run-03",
    ]


# ---------------------------------------------------------------- beside live traffic


def test_an_event_that_is_folded_meanwhile_is_not_lost(stack, requests_of_rebuild):
    wrong_run(stack)

    def another_event() -> None:
        stack.store.append(RUN, [usage_recorded()])
        stack.deliver()

    requests_of_rebuild.before("PutItem", another_event)
    assert done("rebuild") == "folded 1 run again: 1 changed\n"
    state = stack.store.get_state(RUN)
    assert (state.sequence, state.iteration, state.total_usage.input_tokens) == (6, 1, 20)


def test_a_run_that_is_deleted_meanwhile_stays_deleted(stack, requests_of_rebuild):
    wrong_run(stack)
    requests_of_rebuild.before("PutItem", lambda: stack.store.delete_run(RUN))
    assert done("rebuild") == "folded 0 runs again\n"
    assert stack.store.state_table.get(RUN).deleted_at


def test_rebuilds_and_checks_beside_live_traffic_do_no_harm(stack):
    runs, commits = [f"run-{number}" for number in range(4)], 15
    for run_id in runs:
        wrong_run(stack, run_id)

    def write(run_id: str) -> None:
        for _ in range(commits):
            stack.store.append(run_id, [usage_recorded(), text_delta()])

    writers = [threading.Thread(target=write, args=[run_id]) for run_id in runs]
    with stack.running():
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            behest("rebuild")
            assert behest("verify").exit_code == 0
        for writer in writers:
            writer.join()
    assert done("verify") == "checked 4 runs: 4 right\n"
    assert {state.total_usage.input_tokens for state in stack.store.states()} == {10 + 10 * commits}
