"""What runs wait for, shown and answered: in panels, and by the commands."""

import json

import behest_approvals
import pytest
import typer
from behest_approvals import PENDING, Denied, Expired, Granted, Requested
from typer.testing import CliRunner

from behest_core.model.agent_events import Paused
from behest_core.plugins.loading import compiled, plugin_from
from behest_core.plugins.panels import Command, Facts, Note, Rows, RunLink, RunsInput, Time
from behest_core.projection.catch_up import CatchUp
from behest_core.testing import LocalStack, given
from behest_core.testing.builders import at, run_completed, run_record, run_started

COLUMNS = ["waits since", "call", "tool", "why"]
RUN = "run-under-test"


def requested(call_id="c1", second=2, **optional):
    return Requested(call_id=call_id, timestamp=at(second), **optional)


def paused(*pending, second=3):
    return Paused(reason="tool_approval", pending=list(pending), timestamp=at(second))


def test_a_runs_panel_has_what_it_waits_for_and_what_to_type():
    run = given(behest_approvals, run_started(), requested(tool_name="send_money", reason="over 100 EUR"))
    assert run.panel("Approvals") == [
        Rows(COLUMNS, [[Time(at(2)), "c1", "send_money", "over 100 EUR"]]),
        Facts([("to allow", Command(f"behest approve {RUN} c1")), ("to refuse", Command(f"behest deny {RUN} c1"))]),
    ]


def test_a_pause_is_waited_for_with_the_requests_the_oldest_first():
    run = given(behest_approvals, paused("p1", "c1", second=3), requested("c1", second=4))
    assert [row[1] for row in run.panel("Approvals")[0].rows] == ["p1", "c1"]


def test_of_a_pause_that_names_nothing_there_is_nothing_to_type():
    assert given(behest_approvals, paused()).panel("Approvals") == [
        Rows(COLUMNS, [[Time(at(3)), None, None, "tool_approval"]])
    ]


def test_what_was_answered_is_counted_with_who_did_it_last():
    events = [requested(call) for call in ("c1", "c2", "c3")]
    answers = [
        Granted(call_id="c1", by="ada", timestamp=at(3)),
        Denied(call_id="c2", by="bob", timestamp=at(4)),
        Expired(call_id="c3", timestamp=at(5)),
    ]
    said = [("granted", 1), ("denied", 1), ("expired", 1), ("last answer by", "bob")]
    assert given(behest_approvals, *events, *answers).panel("Approvals") == [Facts(said)]


def test_a_run_that_is_over_has_nothing_to_answer():
    _, note = given(behest_approvals, requested(), run_completed()).panel("Approvals")
    assert note == Note("the run is over: nobody has answered this")


def test_requests_beyond_the_bound_are_counted():
    run = given(behest_approvals, *[requested(f"c{number}") for number in range(PENDING + 2)])
    assert run.panel("Approvals")[1] == Note("and 2 requests more, not kept by name")


@pytest.mark.parametrize(
    ("call_id", "command"),
    [
        ("a b", f"behest approve {RUN} 'a b'"),
        ("-c", f"behest approve -- {RUN} -c"),
        ("$(x)", f"behest approve {RUN} '$(x)'"),
    ],
)
def test_what_to_type_is_safe_to_be_typed(call_id, command):
    facts = given(behest_approvals, requested(call_id)).panel("Approvals")[1]
    assert facts.facts[0] == ("to allow", Command(command))


def test_a_run_that_never_asked_has_no_panel():
    assert given(behest_approvals, run_started(), run_completed()).panel("Approvals") == []


def test_of_several_runs_those_that_wait_are_listed_the_oldest_first():
    def state(run_id, *events):
        return given(behest_approvals, *events, record=run_record(run_id)).state

    states = [
        state("late", requested(second=9)),
        state("early", requested(second=1)),
        state("over", requested(), run_completed()),
        state("never", run_started()),
    ]
    [panel] = compiled([plugin_from(behest_approvals, "approvals")]).panels("runs", RunsInput(states=states))
    assert [row[0] for row in panel.blocks[0].rows] == [RunLink("early"), RunLink("late")]


# ---------------------------------------------------------------- the commands


@pytest.fixture
def stack():
    """Return the local stack, with runs that the plugin has folded: one asks, one is paused, one is over."""
    with LocalStack() as local:
        for run_id, events in (
            ("asks", [run_started(), requested(tool_name="pay")]),
            ("paused", [run_started(), paused("p1")]),
            ("over", [run_started(), requested(), run_completed()]),
        ):
            local.store.event_log.create(run_record(run_id, session_id="s"))
            local.store.append(run_id, events)
            fold(local, run_id)
        yield local


def fold(local, run_id):
    plugins = compiled([plugin_from(behest_approvals, "approvals")])
    CatchUp(local.store.event_log, local.store.state_table, plugins.dispatch).fold(run_id)


@pytest.fixture
def behest(stack):
    """Run the plugin's commands, as it adds them to the command."""
    app = typer.Typer()
    app.callback()(lambda: None)
    plugin_from(behest_approvals, "approvals").commands[0](app)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def slice_after(stack, run_id):
    fold(stack, run_id)
    return stack.store.get_state(run_id).slice_of("approvals")


def test_all_that_waits_is_listed(behest):
    lines = behest("approvals", "--waiting").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["run", "since", "call", "tool", "why"],
        ["asks", at(2), "c1", "pay", "-"],
        ["paused", at(3), "p1", "-", "tool_approval"],
    ]
    found = [json.loads(line) for line in behest("approvals", "--session", "s", "--json").stdout.splitlines()]
    assert [(each["run_id"], each["call_id"]) for each in found] == [("asks", "c1"), ("paused", "p1")]


def test_where_nothing_waits_that_is_said(behest):
    result = behest("approvals", "over")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "behest: nothing waits for a person\n")
    assert behest("approvals").exit_code == behest("approvals", "asks", "--waiting").exit_code == 2


@pytest.mark.parametrize(("command", "outcome"), [("approve", "granted"), ("deny", "denied")])
def test_a_request_is_answered_by_the_plugins_own_event(stack, behest, command, outcome):
    result = behest(command, "asks", "c1", "--by", "ada")
    assert (result.exit_code, result.stderr) == (0, f"behest: ada has {outcome} c1 of run asks\n")
    after = slice_after(stack, "asks")
    assert (after["waiting"], after[outcome], after["last_answer_by"]) == (0, 1, "ada")
    assert behest("approvals", "asks").stdout.split() == [outcome, "1", "last", "answer", "by", "ada"]


@pytest.mark.parametrize(("command", "outcome"), [("approve", "granted"), ("deny", "denied")])
def test_what_a_paused_run_waits_for_is_answered_by_the_store(stack, behest, command, outcome):
    assert behest(command, "paused", "p1", "--by", "ada", "--reason", "fine").exit_code == 0
    after = slice_after(stack, "paused")
    assert (after["paused"], after[outcome]) == (None, 1)


def test_what_nobody_asked_for_cannot_be_answered(behest):
    assert "asks" in str(behest("approve", "asks", "other").exception)
    assert str(behest("approve", "nobody", "c1").exception) == "there is no run nobody"
