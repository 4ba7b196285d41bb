"""What plugins show of runs: drawn as data, within bounds, and what is wrong with one panel is shown in that one."""

import pytest
from msgspec.json import decode, encode

from behest_core.model.state import ExtensionSlice, RunState
from behest_core.model.summary import summarize
from behest_core.plugins import hookimpl
from behest_core.plugins.loading import compiled, plugin_from
from behest_core.plugins.panels import (
    BLOCKS,
    ROWS,
    TEXT,
    Bars,
    Command,
    Drawn,
    Duration,
    Facts,
    Line,
    Note,
    Panel,
    PanelInput,
    Rows,
    RunLink,
    RunsInput,
    Time,
    Tokens,
    Tree,
    Usd,
)
from tests.builders import RUN
from tests.unit.test_extension import approvals, words


def plugin_with(*panels, name="mine", extension=None):
    """Return a plugin that shows these panels."""

    class Mine:
        @hookimpl
        def behest_panels(self):
            return list(panels)

        @hookimpl
        def behest_extensions(self):
            return [] if extension is None else [extension]

    return plugin_from(Mine(), name)


def plugins(*given):
    return compiled(given)


def run_with(**slices):
    """Return what a run's panels are drawn from; `slices` are its states by extension."""
    extensions = {name: ExtensionSlice.of(state, sequence=1, version=1) for name, state in slices.items()}
    state = RunState(run_id=RUN, extensions=extensions)
    return PanelInput(state=state, summary=summarize(state), events=lambda: iter(()))


def shown(*blocks):
    """Return the blocks of the one panel that returns these."""
    [drawn] = plugins(plugin_with(Panel("Mine", "run", lambda _: list(blocks)))).panels("run", run_with())
    assert drawn.error is None
    return drawn.blocks


def error_of(draw):
    [drawn] = plugins(plugin_with(Panel("Mine", "run", draw))).panels("run", run_with())
    assert drawn.blocks == ()
    return drawn.error


EVERYTHING = [
    Facts(
        [("cost", Usd(24_210_000)), ("took", Duration(1500)), ("since", Time("2026-01-31T12:00:00Z")), ("none", None)]
    ),
    Rows(["run", "tokens", "of", "done"], [[RunLink(RUN), Tokens(1200), 0.5, True], ["text", 1, None, False]]),
    Bars([("a", 3, "3 calls"), ("b", 0.5, "half")]),
    Line([("12:00", 1), ("12:01", 2.5)], "USD"),
    Note("Look at this.", "warning"),
    Facts([("to approve", Command("behest approve run-1 call-1"))]),
    Tree({"a": [1, {"b": None}]}),
]


def test_a_panel_is_drawn_of_the_plugins_slice():
    def draw(given):
        return [Facts([("count", given.slice["count"]), ("of", RunLink(given.state.run_id))])]

    panel = plugin_with(Panel("Words", "run", draw), extension=words())
    [drawn] = plugins(panel).panels("run", run_with(words={"count": 3}))
    assert drawn == Drawn("Words", "mine", [Facts([("count", 3), ("of", RunLink(RUN))])])


def test_a_panel_stands_where_it_says():
    there = plugin_with(
        *(Panel(where, where, lambda _: [Note("here")]) for where in ("run", "runs", "session", "health"))
    )
    assert [each.title for each in plugins(there).panels("session", RunsInput())] == ["session"]
    assert [each.title for each in plugins(there).panels("run", run_with())] == ["run"]


def test_what_is_drawn_is_the_same_as_json_and_read_again():
    [drawn] = plugins(plugin_with(Panel("All", "run", lambda _: EVERYTHING))).panels("run", run_with())
    assert drawn.error is None
    assert encode(decode(encode(drawn), type=Drawn)) == encode(drawn)


def test_a_panel_without_blocks_has_nothing_to_say_and_is_left_out():
    assert plugins(plugin_with(Panel("Mine", "run", lambda _: []))).panels("run", run_with()) == []


def test_a_panel_that_raises_shows_its_error_in_its_own_place_only():
    broken = plugin_with(Panel("Broken", "run", lambda given: given.slice["gone"]), name="first")
    good = plugin_with(Panel("Good", "run", lambda _: [Note("good")]), name="second")
    first, second = plugins(broken, good).panels("run", run_with())
    assert first == Drawn("Broken", "first", error="KeyError: 'gone'")
    assert second.blocks == [Note("good")]


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        (None, "draw has to return a list of blocks, got NoneType"),
        ("text", "draw has to return a list of blocks, got str"),
        (["<b>"], "draw has to return a list of blocks, block 0 is str"),
        ([Note("a"), Facts([("a", {})])], "block 1, Facts: "),
        ([Facts([("a", object())])], "block 0, Facts: "),
        ([Rows(["a"], [[1, 2]])], "block 0, Rows: a row has another number of values than there are columns"),
        ([Bars([("a", float("nan"), "")])], "block 0, Bars: a number is not finite"),
        ([Bars([("a", -1, "")])], "block 0, Bars: a bar is shorter than nothing"),
        ([Bars([("a", 10**400, "")])], "block 0, Bars: "),
        ([Note("a", "loud")], "block 0, Note: "),
    ],
)
def test_what_is_no_list_of_blocks_is_an_error_that_says_where(blocks, error):
    assert error_of(lambda _: blocks).startswith(error)


def test_a_tree_without_end_is_an_error():
    endless = {}
    endless["again"] = endless
    assert error_of(lambda _: [Tree(endless)]).startswith("RecursionError")


# ---------------------------------------------------------------- bounds


def test_rows_beyond_the_bound_are_cut_and_counted():
    table, note = shown(Rows(["n"], [[n] for n in range(ROWS + 1_500)]))
    assert len(table.rows) == ROWS
    assert note == Note("and 1,500 more")


def test_blocks_beyond_the_bound_are_cut_and_counted():
    assert shown(*[Note("a")] * (BLOCKS + 2))[-1] == Note("and 2 more blocks", "warning")


def test_a_long_text_is_cut_wherever_it_stands():
    note, facts, tree = shown(Note("x" * 5_000), Facts([("a", Time("y" * 5_000))]), Tree(["z" * 5_000]))
    assert (len(note.text), len(facts.facts[0][1].text), len(tree.value[0])) == (TEXT, TEXT, TEXT)
    assert note.text.endswith("x…")


def test_branches_of_a_tree_beyond_the_bound_are_cut_and_counted():
    [tree] = shown(Tree({"list": list(range(ROWS + 1)), "map": {str(n): n for n in range(ROWS + 2)}}))
    assert tree.value["list"][-1] == "and 1 more"
    assert tree.value["map"]["…"] == "and 2 more"


# ---------------------------------------------------------------- slices without a panel


def test_a_slice_without_a_panel_is_drawn_as_a_tree():
    [drawn] = plugins().panels("run", run_with(gone={"a": {"b": 1}}))
    assert drawn == Drawn("gone", "gone", [Tree({"a": {"b": 1}})])


def test_a_slice_that_a_panel_draws_is_not_drawn_again():
    mine = plugin_with(Panel("Words", "run", lambda _: []), extension=words())
    other = plugin_with(name="other", extension=approvals())
    drawn = plugins(mine, other).panels("run", run_with(words={"count": 3}, approvals={"pending": 1}))
    assert [each.title for each in drawn] == ["approvals"]


def test_a_slice_whose_panel_raises_is_drawn_as_a_tree_too():
    mine = plugin_with(Panel("Words", "run", lambda _: 1 / 0), extension=words())
    drawn = plugins(mine).panels("run", run_with(words={"count": 3}))
    assert [(each.title, each.error) for each in drawn] == [
        ("Words", "ZeroDivisionError: division by zero"),
        ("words", None),
    ]


# ---------------------------------------------------------------- refused at load


def draws_nobody():
    return []


def draws_two(one, other):
    return [one, other]


@pytest.mark.parametrize(
    ("panel", "reason"),
    [
        ("panel", "behest_panels has to return a list of panels"),
        (Panel("", "run", print), "behest_panels: title has to be a text of 1 to 80 characters, got ''"),
        (Panel("x" * 81, "run", print), "behest_panels: title has to be"),
        (Panel("A", "page", print), "behest_panels: panel 'A': where has to be one of run, runs, session, health"),
        (Panel("A", "run", "draw"), "behest_panels: panel 'A': draw has to be a function, got 'draw'"),
        (Panel("A", "run", draws_nobody), "behest_panels: panel 'A': draw has to take one argument, its input"),
        (Panel("A", "run", draws_two), "behest_panels: panel 'A': draw has to take one argument, its input"),
    ],
    ids=["no panel", "no title", "long title", "nowhere", "no function", "no argument", "two arguments"],
)
def test_a_wrong_panel_is_refused_with_hook_and_argument(panel, reason):
    assert reason in (plugin_with(panel).refused or "")
