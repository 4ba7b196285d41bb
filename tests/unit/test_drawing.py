"""What panels are made of, written in a pipe, on a wide terminal and on a narrow one."""

import io
import re
import sys

import pytest

from behest_core.cli.drawing import write_blocks, write_drawn
from behest_core.plugins.panels import (
    Bars,
    Command,
    Drawn,
    Duration,
    Facts,
    Line,
    Note,
    Rows,
    RunLink,
    Time,
    Tokens,
    Tree,
    Usd,
)

TABLE = Rows(["model", "calls", "cost"], [["openai/gpt-4o", 3, Usd(24_210_000)], ["a", 1_200, None]])


@pytest.fixture
def written(monkeypatch):
    """Write blocks, and return the lines: on a terminal of that width, or in a pipe."""

    def write(*blocks, columns=None, encoding="utf-8"):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", file)
        monkeypatch.setenv("TTY_COMPATIBLE", "0" if columns is None else "1")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns or 80))
        write_blocks(blocks)
        file.flush()
        shown = file.buffer.getvalue().decode(encoding)
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()]

    return write


def test_values_are_written_as_what_they_are(written):
    facts = {
        "nothing": None,
        "text": "as it is",
        "count": 1_200,
        "part": 0.25,
        "done": True,
        "cost": Usd(24_210_000),
        "took": Duration(1_500),
        "since": Time("2026-01-31T12:00:00.500000000Z"),
        "tokens": Tokens(12_000),
        "run": RunLink("run-1"),
        "type": Command("behest show run-1"),
    }
    assert written(Facts(list(facts.items()))) == [
        "nothing  -",
        "text     as it is",
        "count    1,200",
        "part     0.25",
        "done     yes",
        "cost     $0.02421",
        "took     1.5 s",
        "since    2026-01-31T12:00:00.5Z",
        "tokens   12,000",
        "run      run-1",
        "type     behest show run-1",
    ]


@pytest.mark.parametrize("columns", [None, 80])
def test_a_table_has_its_numbers_at_the_right(written, columns):
    assert written(TABLE, columns=columns) == [
        "model          calls      cost",
        "openai/gpt-4o      3  $0.02421",
        "a              1,200         -",
    ]


def test_a_table_that_is_wider_than_the_terminal_is_written_row_by_row(written):
    assert written(TABLE, columns=25) == [
        "model  openai/gpt-4o",
        "calls  3",
        "cost   $0.02421",
        "",
        "model  a",
        "calls  1,200",
        "cost   -",
    ]


def test_a_pipe_gets_the_whole_of_a_wide_table(written):
    [_, row] = written(Rows(["text"], [["word " * 190 + "end"]]))
    assert row.endswith("end")


def test_bars_are_as_long_as_their_numbers_beside_the_longest(written):
    assert written(Bars([("a", 4, "4 calls"), ("b", 1, "1 call"), ("c", 0, "none")])) == [
        "a  " + "█" * 24 + "  4 calls",
        "b  " + ("█" * 6).ljust(24) + "  1 call",
        "c  " + " " * 24 + "  none",
    ]
    assert written(Bars([("a", 1, "x")]), encoding="ascii") == ["a  " + "#" * 24 + "  x"]
    assert written(Bars([])) == []


def test_a_line_is_drawn_and_told(written):
    line = Line([("12:00", 1), ("12:01", 2.5), ("12:02", 8)], "USD")
    assert written(line) == ["▁▃█  1 to 8 USD, from 12:00 to 12:02"]
    assert written(line, encoding="ascii") == ["1 to 8 USD, from 12:00 to 12:02"]
    assert written(Line([])) == ["-"]


def test_json_is_written_as_a_tree(written):
    tree = {"a": {"b": 1_000, "none": {}}, "list": ["x", None, True], "deep": [{"c": 1.5}, []]}
    assert written(Tree(tree)) == [
        "a",
        "  b     1,000",
        "  none  none",
        "list    x, -, yes",
        "deep",
        "  1",
        "    c   1.5",
        "  2     none",
    ]


def test_what_a_plugin_writes_does_not_steer_the_terminal(written):
    hostile = "a\x1b[2J\nb"
    blocks = [Note(hostile), Facts([(hostile, hostile)]), Rows([hostile], [[hostile]]), Bars([(hostile, 1, hostile)])]
    lines = written(*blocks, Tree({hostile: [hostile]}), Line([(hostile, 1)], hostile), columns=200)
    assert len(lines) == 7
    assert all("a\\x1b[2J\\nb" in line and line.isprintable() for line in lines)


def test_a_panel_that_could_not_be_drawn_says_so_in_its_place(capsys):
    write_drawn([Drawn("Cost", "cost", [Note("fine")]), Drawn("Mine", "mine", error="KeyError: 'gone'")])
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Cost",
        "  fine",
        "",
        "Mine",
        "  plugin mine can't draw this: KeyError: 'gone'",
    ]
