"""`behest delete`, on the local stack."""

from __future__ import annotations

import re

import pytest

from behest_core.cli import aws
from behest_core.cli.commands import delete_runs
from behest_core.errors import RunDeletedError
from tests.aws.test_projector import raiser, throttled
from tests.builders import RUN, commit, run_started, text_delta, whole_run
from tests.cli import behest, done, refused
from tests.operating import folded_run, put, put_broken_state

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


@pytest.fixture
def somebody(monkeypatch):
    """Let there be somebody to ask."""
    monkeypatch.setattr(delete_runs, "can_ask", lambda: True)


def is_deleted(stack, run_id=RUN):
    with pytest.raises(RunDeletedError):
        stack.store.get_state(run_id)
    return list(stack.store.event_log.commits(run_id)) == []


def test_a_run_is_deleted_and_what_it_was_is_said(stack):
    folded_run(stack)
    assert done("delete", "--yes", RUN) == (f"deleted run {RUN}: Completed, 5 events, created 2026-01-31T12:00:00Z\n")
    assert is_deleted(stack)


def test_several_runs_are_deleted_a_running_one_among_them(stack):
    folded_run(stack, "run-a")
    folded_run(stack, "run-b", run_started())
    assert done("delete", "-y", "run-b", "run-a", "run-b") == (
        "deleted run run-b: SessionLoaded, 1 event, created 2026-01-31T12:00:00Z\n"
        "deleted run run-a: Completed, 5 events, created 2026-01-31T12:00:00Z\n"
    )
    assert is_deleted(stack, "run-a")
    assert is_deleted(stack, "run-b")


def test_a_run_without_state_and_one_whose_state_is_broken_are_deleted_too(stack):
    stack.store.event_log.append("run-a", whole_run())
    folded_run(stack, "run-b")
    put_broken_state(stack, "run-b")
    assert done("delete", "--yes", "run-a", "run-b") == (
        "deleted run run-a: no state, 5 events\ndeleted run run-b: no state, 5 events\n"
    )


def test_of_runs_of_which_one_is_not_there_the_others_are_deleted(stack):
    folded_run(stack)
    result = behest("delete", "--yes", "nobody", RUN)
    assert (result.exit_code, result.stderr) == (1, "behest: there is no run nobody\n")
    assert result.stdout.startswith(f"deleted run {RUN}: ")


def test_a_run_that_is_not_there_is_named():
    assert refused("delete", "--yes", "nobody") == "there is no run nobody"


def test_deleting_again_finishes_what_was_cut_short(stack, requests, monkeypatch):
    monkeypatch.setattr(aws, "connect", lambda _: stack.store)
    folded_run(stack)
    requests.before("DeleteItem", raiser(throttled("DeleteItem")))
    assert refused("delete", "--yes", RUN) == (
        f"run {RUN} could not be deleted now: AWS is throttling DeleteItem: slow down; try again later"
    )
    assert re.fullmatch(
        rf"deleted run {RUN}: already deleted at \S+Z, with events in its log\n", done("delete", "--yes", RUN)
    )
    assert is_deleted(stack)
    assert re.fullmatch(rf"deleted run {RUN}: already deleted at \S+Z\n", done("delete", "--yes", RUN))


def test_ctrl_c_leaves_what_can_be_repeated(stack, requests, monkeypatch):
    monkeypatch.setattr(aws, "connect", lambda _: stack.store)
    folded_run(stack)
    requests.before("DeleteItem", raiser(KeyboardInterrupt()))
    result = behest("delete", "--yes", RUN)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == f"behest: cut short with 0 of 1 runs done; to go on: behest delete --yes {RUN}\n"
    behest("delete", "--yes", RUN)
    assert is_deleted(stack)


def test_late_events_of_a_deleted_run_are_deleted_with_it(stack):
    folded_run(stack)
    behest("delete", "--yes", RUN)
    put(stack, commit(6, text_delta()))
    stack.deliver()
    assert "with events in its log" in done("delete", "--yes", RUN)
    assert is_deleted(stack)


# ---------------------------------------------------------------- asking


def test_where_there_is_nobody_to_ask_nothing_is_deleted(stack):
    folded_run(stack)
    assert refused("delete", RUN) == "deleting can't be undone; pass --yes where there is nobody to ask"
    assert stack.store.get_state(RUN).event_count == 5


@pytest.mark.usefixtures("somebody")
def test_somebody_is_asked_and_shown_what_there_is(stack):
    folded_run(stack)
    result = behest("delete", RUN, stdin=b"y\n")
    assert (result.exit_code, result.stdout) == (
        0,
        f"deleted run {RUN}: Completed, 5 events, created 2026-01-31T12:00:00Z\n",
    )
    assert result.stderr == (
        f"behest: run {RUN}: Completed, 5 events, created 2026-01-31T12:00:00Z\nDelete it for good? [y/N]: "
    )
    assert is_deleted(stack)


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize("answer", [b"n\n", b"\n", b""])
def test_anything_but_yes_deletes_nothing(stack, answer):
    folded_run(stack, "run-a")
    folded_run(stack, "run-b")
    result = behest("delete", "run-a", "run-b", stdin=answer)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "\nDelete these 2 runs for good? [y/N]: " in result.stderr
    assert result.stderr.endswith("behest: the answer was not yes; nothing was changed\n")
    assert len(list(stack.store.states())) == 2


@pytest.mark.usefixtures("somebody")
def test_about_runs_that_are_not_there_nobody_is_asked():
    assert refused("delete", "nobody") == "there is no run nobody"


def test_runs_have_to_be_named():
    assert behest("delete").exit_code == 2
