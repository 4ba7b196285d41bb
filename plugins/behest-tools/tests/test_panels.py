"""How a run's tools performed, shown: in its panel, of several runs, and by the command."""

import json

import behest_tools
import pytest
import typer
from typer.testing import CliRunner

from behest_core.model.events import ModelStarted, TextDelta, ToolExecutionFinished, ToolExecutionResult
from behest_core.plugins.loading import compiled, plugin_from
from behest_core.plugins.panels import Bars, Duration, Facts, Note, Rows, RunsInput
from behest_core.projection.catch_up import CatchUp
from behest_core.testing import LocalStack, given
from behest_core.testing.builders import at, run_record, run_started

COLUMNS = ["tool", "calls", "failed", "mean", "longest", "in all"]


def used(name="search", duration_ms=10, error=None):
    result = ToolExecutionResult.ok("found") if error is None else ToolExecutionResult.failed(error)
    return ToolExecutionFinished(call_id="c", tool_name=name, result=result, duration_ms=duration_ms, timestamp=at(4))


def answered():
    return [
        ModelStarted(provider="p", model="m", iteration=1, timestamp=at(2)),
        TextDelta(delta="Hi", timestamp=at(3)),
    ]


def test_a_runs_panel_has_calls_failures_and_durations_the_longest_first():
    run = given(behest_tools, run_started(), used(duration_ms=10), used("send", 100, error="no"), used(duration_ms=30))
    assert run.panel("Tools and models") == [
        Rows(
            COLUMNS,
            [
                ["send", 1, 1, Duration(100.0), Duration(100), Duration(100)],
                ["search", 2, 0, Duration(20.0), Duration(30), Duration(40)],
            ],
        ),
        Note("1 of 3 calls failed", "error"),
    ]


def test_the_wait_for_the_first_token_is_among_it():
    run = given(behest_tools, run_started(), *answered())
    facts = [("model calls", 1), ("first token after", Duration(1000)), ("at most after", Duration(1000))]
    assert run.panel("Tools and models") == [Facts(facts)]


def test_a_run_that_called_nothing_has_no_panel():
    assert given(behest_tools, run_started()).panel("Tools and models") == []


def test_tools_beyond_the_bound_stand_together():
    run = given(behest_tools, *[used(f"tool-{number}") for number in range(50)])
    [rows] = run.panel("Tools and models")
    assert list(rows.rows[0][:2]) == ["all other tools", 2]


def test_of_several_runs_the_tools_are_added_up():
    states = [given(behest_tools, used(), used("send", 100)).state, given(behest_tools, used(duration_ms=40)).state]
    [panel] = compiled([plugin_from(behest_tools, "tools")]).panels("runs", RunsInput(states=states))
    rows, bars = panel.blocks
    assert rows.rows[1] == ["search", 2, 0, Duration(25.0), Duration(40), Duration(50)]
    assert bars == Bars([("send", 100, "100 ms"), ("search", 50, "50 ms")])


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def tools():
    """Run `behest tools`, as the plugin adds it to the command, over two runs of one session and one that used none."""
    plugin = plugin_from(behest_tools, "tools")
    app = typer.Typer()
    app.callback()(lambda: None)
    plugin.commands[0](app)
    with LocalStack() as stack:
        fold = CatchUp(stack.store.event_log, stack.store.state_table, compiled([plugin]).dispatch).fold
        for run_id, session, events in (
            ("a", "s", [used(), used("send\x1b[2J", 1500, error="no")]),
            ("b", "s", [used(duration_ms=30)]),
            ("c", "alone", [run_started()]),
        ):
            stack.store.event_log.create(run_record(run_id, session_id=session))
            stack.store.append(run_id, events)
            fold(run_id)
        yield lambda *arguments: CliRunner().invoke(app, ["tools", *arguments])


def test_the_command_shows_the_tools_of_a_run(tools):
    assert tools("a").stdout.splitlines() == [
        "tool         calls  failed   mean  longest  in all",
        "send\\x1b[2J      1       1  1.5 s    1.5 s   1.5 s",
        "search           1       0  10 ms    10 ms   10 ms",
        "1 of 2 calls failed",
    ]


def test_the_command_adds_a_sessions_runs_up(tools):
    found = json.loads(tools("--session", "s", "--json").stdout)
    assert found["runs"] == 2
    assert found["tools"]["search"] == {"calls": 2, "errors": 0, "total_ms": 40, "longest_ms": 30}


def test_where_no_tool_was_called_the_command_says_so(tools):
    assert str(tools("c").exception) == "no tool was called in these runs"
