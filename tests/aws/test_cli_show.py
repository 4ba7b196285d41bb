"""`behest show` for people: what a run cost and how long it took, its tree, its last words, and what plugins show of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from behest_core.plugins import hookimpl
from behest_core.plugins.loading import Plugins, compiled, plugin_from
from behest_core.plugins.panels import Facts, Panel, Rows
from tests.builders import RUN, model_started, run_failed, run_record, run_started, text_delta, whole_run
from tests.cli import done, screen
from tests.unit.test_extension import words

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command

METADATA = {"parent_run_id": "parent", "agent_name": "helper"}


def count_of(given):
    return [Facts([("words", given.slice["count"])])]


def wide(given):
    return [Rows(["sequence", "event"], [[each.sequence, type(each.event).__name__] for each in given.events()])]


def breaks(given):
    return [given.slice["gone"]]


@pytest.fixture
def used(monkeypatch):
    """Let the command use a plugin with these panels."""

    def use(*panels: Panel, **hooks) -> None:
        found = {
            "behest_extensions": lambda: [words()],
            "behest_panels": lambda: list(panels),
            "behest_summary": lambda **_: {"nano_usd": 24_210_000, "unpriced_calls": 2},
        }
        module = SimpleNamespace(**{name: hookimpl(function) for name, function in {**found, **hooks}.items()})
        plugins = compiled([plugin_from(module, "words")])
        monkeypatch.setattr("behest_core.cli.used_plugins.load", lambda _: plugins)

    return use


@pytest.fixture
def folded(stack):
    """Return a function that records a run and has it folded, with the extension `words`."""

    def fold(run_id=RUN, *events, **record):
        stack.store.event_log.create(run_record(run_id, **record))
        stack.store.append(run_id, list(events) or whole_run())
        stack.deliver()

    return fold


def section(shown: str, title: str) -> list[str]:
    """Return the lines below a title."""
    lines = shown.splitlines()
    start = lines.index(title) + 1
    return lines[start : next((at for at in range(start, len(lines)) if not lines[at]), len(lines))]


def test_cost_and_duration_are_shown_where_they_are_known(used, folded):
    folded()
    assert "cost" not in done("show", RUN)
    used()
    shown = done("show", RUN).splitlines()
    assert "cost        $0.02421, and 2 calls without a price" in shown
    assert "duration    5.0 s" in shown


def test_a_run_that_goes_on_has_its_duration_so_far(folded):
    folded(RUN, run_started(1), model_started(3))
    assert "duration    3.0 s so far" in done("show", RUN)


def test_the_tree_of_a_run_is_shown_from_its_root(used, folded):
    used()
    folded("parent", metadata={"agent_name": "boss"})
    folded(RUN, metadata=METADATA)
    folded("other", metadata={"parent_run_id": "gone"})
    shown = done("show", RUN)
    assert "parent      parent" in shown
    assert section(shown, "Runs of its tree") == [
        "  run      agent   status     tokens      cost",
        "  parent   boss    Completed      15  $0.02421",
        f"    {RUN}  helper  Completed      15  $0.02421",
        "  2 runs, 30 tokens in all",
    ]


def test_a_run_that_is_alone_has_no_tree(folded):
    folded()
    assert "Runs of its tree" not in done("show", RUN)


def test_a_tree_of_many_runs_is_cut_and_counted(folded):
    folded(RUN)
    for number in range(25):
        folded(f"child-{number:02}", run_started(), metadata={"parent_run_id": RUN})
    shown = section(done("show", RUN), "Runs of its tree")
    assert len(shown) == 1 + 20 + 1
    assert shown[-1].startswith("  and 6 more; 26 runs, ")


def test_the_last_words_are_those_before_the_run_as_it_is_shown(folded):
    folded(RUN, run_started(1), model_started(2), text_delta(3, delta="First\nof all"), text_delta(4, delta=", more"))
    assert section(done("show", RUN), "Last words") == ["  assistant  First of all, more"]
    assert section(done("show", RUN, "--at-sequence", "3"), "Last words") == ["  assistant  First of all"]
    assert "Last words" not in done("show", RUN, "--at-sequence", "2")


def test_where_the_log_cannot_be_read_the_state_is_shown_all_the_same(stack, folded, monkeypatch):
    folded(RUN, run_started(), run_failed(error="no way"))
    monkeypatch.setenv("BEHEST_EVENT_TABLE", "elsewhere")
    shown = done("show", RUN)
    assert "error       no way" in shown
    [line] = section(shown, "Last words")
    assert line.startswith("  can't be read: ")


# ---------------------------------------------------------------- panels


def test_panels_of_plugins_are_shown_below_the_run(used, folded, stack):
    used(Panel("Words", "run", count_of), Panel("Log", "run", wide), Panel("Elsewhere", "runs", breaks))
    folded()
    assert done("rebuild", "--extension", "words")
    shown = done("show", RUN)
    assert section(shown, "Words") == ["  words  1"]
    assert section(shown, "Log")[:2] == ["  sequence  event", "         1  RunStarted"]
    assert "Elsewhere" not in shown


def test_a_panel_that_raises_says_so_in_its_place_and_the_slice_is_shown(used, folded):
    used(Panel("Broken", "run", breaks), Panel("Words", "run", lambda _: [Facts([("still", "here")])]))
    folded()
    assert done("rebuild", "--extension", "words")
    shown = done("show", RUN)
    assert section(shown, "Broken") == ["  plugin words can't draw this: KeyError: 'gone'"]
    assert section(shown, "Words") == ["  still  here"]
    assert section(shown, "words") == ["  count  1", "  worst  0"]


def test_a_slice_whose_plugin_is_not_here_is_shown_as_a_tree(used, folded, monkeypatch):
    used()
    folded()
    assert done("rebuild", "--extension", "words")
    monkeypatch.setattr("behest_core.cli.used_plugins.load", lambda _: Plugins())
    assert section(done("show", RUN), "words") == ["  count  1", "  worst  0"]


def test_on_a_narrow_terminal_nothing_of_a_panel_is_lost(used, folded):
    table = Rows(["a name", "another name", "a third name"], [["one", "x" * 30, 1_234]])
    used(Panel("Table", "run", lambda _: [table]))
    folded()
    narrow = [line.strip() for line in screen("show", RUN, columns=50)]
    assert narrow[narrow.index("Table") + 1 :] == [
        "a name        one",
        f"another name  {'x' * 30}",
        "a third name  1,234",
    ]
    across = [line.strip() for line in screen("show", RUN, columns=100)]
    assert "a name  another name                    a third name" in across
