"""What a run cost, shown: in its panel, of several runs, and by the command."""

import json

import behest_cost
import pytest
import typer
from typer.testing import CliRunner

from behest_core.model.events import ModelStarted, UsageRecorded
from behest_core.model.state import TokenUsage
from behest_core.plugins.loading import compiled, plugin_from
from behest_core.plugins.panels import Bars, Facts, Note, RunsInput, Tokens, Usd
from behest_core.projection.catch_up import CatchUp
from behest_core.testing import LocalStack, given
from behest_core.testing.builders import at, run_record, run_started

COLUMNS = ["model", "calls", "input", "cache read", "cache written", "output", "cost"]


def called(model="gpt-4o", given=1_000_000, written=100_000, **cached):
    usage = TokenUsage(given, written, given + written, **cached)
    return [
        ModelStarted(provider="openai", model=model, iteration=1, timestamp=at(2)),
        UsageRecorded(usage=usage, timestamp=at(3)),
    ]


def test_a_runs_panel_has_its_cost_by_model_with_cached_tokens_apart():
    run = given(behest_cost, run_started(), *called("gpt-4o-mini"), *called(cache_read_input_tokens=400_000))
    facts, rows = run.panel("Cost")
    assert facts == Facts([("cost", Usd(3_210_000_000)), ("model calls", 2), ("prices of", "2026-06-30")])
    assert rows.columns == COLUMNS
    assert [list(row) for row in rows.rows] == [
        ["openai/gpt-4o", 1, Tokens(600_000), Tokens(400_000), Tokens(0), Tokens(100_000), Usd(3_000_000_000)],
        ["openai/gpt-4o-mini", 1, Tokens(1_000_000), Tokens(0), Tokens(0), Tokens(100_000), Usd(210_000_000)],
    ]


def test_calls_without_a_price_are_told_and_have_no_cost():
    run = given(behest_cost, run_started(), *called("of-my-own"))
    facts, rows, note = run.panel("Cost")
    assert facts.facts[0] == ("cost", None)
    assert rows.rows[0][-1] is None
    assert note == Note("1 call with 1,100,000 tokens have no price: the cost is not whole", "warning")


def test_a_run_without_a_model_call_has_no_panel():
    assert given(behest_cost, run_started()).panel("Cost") == []


def test_models_beyond_the_bound_stand_together():
    run = given(behest_cost, run_started(), *[each for n in range(26) for each in called(f"m-{n}")])
    assert [row[:2] for row in run.panel("Cost")[1].rows][:1] == [["all other models", 2]]


def test_of_several_runs_the_models_are_added_up():
    plugins = compiled([plugin_from(behest_cost, "cost")])
    states = [given(behest_cost, *called(), *called("gpt-4o-mini")).state, given(behest_cost, *called()).state]
    [panel] = plugins.panels("session", RunsInput(states=states))
    facts, rows, bars = panel.blocks
    assert facts.facts[:2] == [("cost", Usd(7_210_000_000)), ("model calls", 3)]
    assert [row[:2] for row in rows.rows] == [["openai/gpt-4o", 2], ["openai/gpt-4o-mini", 1]]
    assert bars == Bars([("openai/gpt-4o", 7_000_000_000, "$7.00"), ("openai/gpt-4o-mini", 210_000_000, "$0.21")])


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def cost():
    """Run `behest cost`, as the plugin adds it to the command, over two runs of one session and some alone."""
    plugin = plugin_from(behest_cost, "cost")
    app = typer.Typer()
    app.callback()(lambda: None)
    plugin.commands[0](app)
    with LocalStack() as stack:
        for run_id, session, model in (("a", "s", "gpt-4o"), ("b", "s", "of-my-own"), ("c", "alone", "gpt-4o")):
            stack.store.event_log.create(run_record(run_id, session_id=session))
            stack.store.append(run_id, called(model) if run_id != "c" else [run_started()])
        fold = CatchUp(stack.store.event_log, stack.store.state_table, compiled([plugin]).dispatch).fold
        for run_id in ("a", "b", "c"):
            fold(run_id)
        stack.store.event_log.create(run_record("d"))
        stack.deliver()
        yield lambda *arguments: CliRunner().invoke(app, ["cost", *arguments])


def test_the_command_shows_what_a_run_cost(cost):
    assert cost("a").stdout.splitlines() == [
        "cost         $3.50",
        "model calls  1",
        "prices of    2026-06-30",
        "model          calls      input  cache read  cache written   output   cost",
        "openai/gpt-4o      1  1,000,000           0              0  100,000  $3.50",
    ]


def test_the_command_adds_a_sessions_runs_up(cost):
    lines = cost("--session", "s").stdout.splitlines()
    assert lines[0].split() == ["runs", "2"]
    assert lines[-1] == "1 call with 1,100,000 tokens have no price: the cost is not whole"
    found = json.loads(cost("--since", "2026-01-01", "--json").stdout)
    assert (found["runs"], found["nano_usd"], found["calls"], found["unpriced_calls"]) == (4, 3_500_000_000, 2, 1)
    assert sorted(found["models"]) == ["openai/gpt-4o", "openai/of-my-own"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["c"], "no model call is recorded in these runs"),
        (["d"], "extension cost has folded none of these yet; behest rebuild --extension cost does"),
        (["--session", "none"], "there are no such runs, or none that is folded yet; behest runs lists all"),
        (["nobody"], "there is no run nobody"),
    ],
)
def test_where_there_is_nothing_to_show_the_command_says_why(cost, arguments, line):
    assert str(cost(*arguments).exception).startswith(line)


def test_the_command_wants_to_know_which_runs(cost):
    assert cost().exit_code == 2
    assert cost("a", "--session", "s").exit_code == 2
