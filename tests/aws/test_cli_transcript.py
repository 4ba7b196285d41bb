"""`behest transcript`, on the local stack."""

from __future__ import annotations

import json

import pytest

from behest_core.errors import RunNotFoundError
from behest_core.model.events import ToolExecutionResult
from behest_core.plugins import hookimpl
from behest_core.plugins.loading import compiled, plugin_from
from tests.cli import behest, done, refused, screen

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


def converse(stack, run_id, question="How warm is it in Oslo?", answer="3 degrees.\nIt is cold."):
    with stack.store.recorder(provider="p", model="m", session_id="alice", run_id=run_id) as run:
        messages = [{"role": "user", "content": question}]
        call = run.model_call(messages=messages, system_instructions="Be brief.")
        call.tool_called("t", "weather", {"city": "Oslo"})
        call.usage(1200, 40)
        call.finished("tool_calls")
        run.tool_started("t", "weather")
        run.tool_finished("t", "weather", ToolExecutionResult.ok({"temp": 3}), duration_ms=42)
        messages += [{"role": "tool", "tool_call_id": "t", "content": "3"}]
        call = run.model_call(messages=messages, system_instructions="Be brief.")
        call.text(answer)
        call.usage(1260, 12)
        call.finished("stop")


def said(output):
    """Return the lines in which somebody says something, or a tool gives something."""
    names = ("system", "user", "assistant", "tool", "gave", "completed")
    rows = [line for line in output.splitlines() if line.split() and line.split()[0] in names]
    return [" ".join(line.split()) for line in rows]


CONVERSATION = [
    "system Be brief.",
    "user How warm is it in Oslo?",
    'tool weather {"city":"Oslo"}',
    'gave {"temp":3}',
    "assistant 3 degrees.",
    "completed stop",
]


def test_a_run_is_shown_as_a_conversation(stack):
    converse(stack, "r")
    shown = done("transcript", "r")
    assert said(shown) == CONVERSATION
    assert "assistant  3 degrees.\n           It is cold.\n" in shown
    assert "p/m, 1,200 tokens in, 40 out, " in shown
    assert shown.splitlines()[-1].endswith("2,460 tokens in, 52 out")


def test_whatever_stands_in_a_step_keeps_its_distance_from_who_says_it(stack):
    with stack.store.recorder(provider="p", model="m", run_id="r") as run:
        step = run.step_started("model", "node")
        run.model_call(messages=[], step_id=step).finished(text="3 degrees.")
        run.step_finished(step)
    assert "\n  assistant  3 degrees.\n" in done("transcript", "r")


def test_on_a_narrow_terminal_nothing_of_it_is_cut(stack):
    converse(stack, "r", answer="warm " * 40)
    text = "".join(screen("transcript", "r", columns=40))
    assert text.count("warm") == 41


def test_a_session_is_shown_run_by_run_in_the_order_in_which_they_began(stack):
    converse(stack, "r1", question="Oslo?")
    converse(stack, "r2", question="Rome?")
    stack.deliver()
    shown = done("transcript", "--session", "alice")
    assert [line for line in said(shown) if line.startswith("user")] == ["user Oslo?", "user Rome?"]
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("run ")] == ["r1", "r2"]


def test_as_json_it_is_one_line_a_run(stack):
    converse(stack, "r1")
    converse(stack, "r2")
    stack.deliver()
    lines = [json.loads(line) for line in done("transcript", "--session", "alice", "--json").splitlines()]
    assert [line["run_id"] for line in lines] == ["r1", "r2"]
    call = lines[0]["entries"][-2]
    assert (call["kind"], call["text"], call["input_tokens"]) == ("model_call", "3 degrees.\nIt is cold.", 1260)


def test_followed_a_run_that_is_over_is_shown_as_it_is(stack, monkeypatch):
    monkeypatch.setattr("behest_core.cli.commands.list_events._PAUSE_SECONDS", 0.0)
    converse(stack, "r")
    assert done("transcript", "r", "--follow") == done("transcript", "r")


def test_followed_a_run_is_shown_as_it_goes_on(stack, monkeypatch):
    run = stack.store.recorder(provider="p", model="m", run_id="r", interval=3600).start()
    run.model_call(messages=[{"role": "user", "content": "Hi"}]).finished(text="Hello")
    run.flush()

    def go_on(_):
        if not run.is_closed:
            run.model_call(messages=[{"role": "user", "content": "Bye"}]).finished(text="See you")
            run.completed()
            run.close()

    monkeypatch.setattr("time.sleep", go_on)
    follows = follow_with(go_on, monkeypatch)
    shown = said(follows)
    assert shown == ["user Hi", "assistant Hello", "user Bye", "assistant See you", "completed stop"]


def follow_with(sleep, monkeypatch):
    from behest_core.cli.commands import list_events, show_transcript  # noqa: PLC0415

    monkeypatch.setattr(
        show_transcript,
        "follow_events",
        lambda log, run_id, after: list_events.follow_events(log, run_id, after, sleep),
    )
    return done("transcript", "r", "--follow")


def test_what_a_run_holds_does_not_steer_the_terminal(stack):
    converse(stack, "r", answer="\x1b[31mred\u202e\x9b")
    shown = "".join(screen("transcript", "r", columns=200))
    assert "\x1b[31mred" not in shown
    assert "\\u202e" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nobody",), "there is no run nobody"),
        (("--session", "nobody"), "session nobody has no run, or none that is folded yet; behest runs lists all"),
    ],
)
def test_what_there_is_not_is_told_in_one_line(arguments, line):
    assert line in refused("transcript", *arguments)


@pytest.mark.parametrize(
    "arguments", [(), ("r", "--session", "s"), ("--session", "s", "--follow"), ("r", "-f", "--json")]
)
def test_arguments_that_exclude_each_other_are_refused(arguments):
    result = behest("transcript", *arguments)
    assert result.exit_code == 2


def test_a_run_that_is_not_there_has_no_transcript(stack):
    with pytest.raises(RunNotFoundError):
        stack.store.transcript("nobody")


# ---------------------------------------------------------------- prices


class Pricing:
    def __init__(self, price):
        self.price = price

    @hookimpl
    def behest_price(self, provider, model, usage):
        return self.price(provider, model, usage)


class TakesLess:
    @hookimpl
    def behest_price(self, model):
        return {"m": 5}.get(model)


def used(*implementations):
    return compiled(plugin_from(each, f"p{number}") for number, each in enumerate(implementations))


def test_the_first_plugin_that_knows_a_price_counts(stack):
    plugins = used(Pricing(lambda *_: None), Pricing(lambda *asked: 1_000 * asked[2].usage.output_tokens), TakesLess())
    assert plugins.refused == ()
    converse(stack, "r")
    assert stack.store.transcript("r", price=plugins.price).nano_usd == 52_000


def test_a_plugin_may_leave_out_what_it_does_not_look_at(stack):
    converse(stack, "r")
    assert stack.store.transcript("r", price=used(TakesLess()).price).nano_usd == 10


def test_a_plugin_that_raises_is_left_out_and_told(stack, caplog):
    converse(stack, "r")
    plugins = used(Pricing(lambda *_: 1 / 0), TakesLess())
    assert stack.store.transcript("r", price=plugins.price).nano_usd == 10
    assert "plugin p0 could not price a call" in caplog.text
