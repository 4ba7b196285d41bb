"""How the blocks of panels are written: on a terminal and into a pipe, in the width that there is.

A table that is wider than the terminal is written row by row, each value with its column's name. In a pipe nothing is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from behest_core.plugins.panels import Bars, Command, Facts, Line, Note, Rows, RunLink, Tree, is_number, value_text
from behest_core.terminal import clean, results, write_result
from behest_core.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from behest_core.model.json import JSON
    from behest_core.plugins.panels import Block, Drawn, Value

_INDENT: Final = 2
_LONGEST_BAR: Final = 24
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_TONES: Final = {"info": "", "warning": "yellow", "error": "red"}
_DASH: Final = Text("-", style="dim")


def write_drawn(panels: Iterable[Drawn], console: Console | None = None) -> None:
    """Write panels, each below its title."""
    console = console or results()
    for panel in panels:
        error = () if panel.error is None else (Note(f"plugin {panel.plugin} can't draw this: {panel.error}", "error"),)
        write_section(panel.title, [*panel.blocks, *error], console)


def write_section(title: str, blocks: Sequence[Block], console: Console) -> None:
    """Write blocks below a title, with an empty line above it."""
    console.print()
    console.print(Text(clean(title), style="bold"), soft_wrap=True)
    write_blocks(blocks, console, indent=_INDENT)


def write_blocks(blocks: Iterable[Block], console: Console | None = None, *, indent: int = 0) -> None:
    """Write blocks as a result, one below the other; indented by so many blanks."""
    console = console or results()
    for block in blocks:
        write_result(console, Padding(_renderable(block, console), (0, 0, 0, indent)))


def _renderable(block: Block, console: Console) -> RenderableType:
    match block:
        case Facts():
            return _facts(block.facts)
        case Rows():
            return _Fitting(block)
        case Bars():
            return _bars(block, console)
        case Line():
            return _line(block, console)
        case Tree():
            return _grid(_tree(block.value, 0))
        case Note():
            return Text(clean(block.text), style=_TONES[block.tone])


def _grid(rows: Iterable[tuple[str | Text, str | Text]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", overflow="fold")
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(label, value)
    return grid


def _facts(facts: Iterable[tuple[str, Value]]) -> Table:
    return _grid((clean(label), _text(value)) for label, value in facts)


def _text(value: Value) -> Text:
    if value is None:
        return _DASH
    style = "cyan" if isinstance(value, Command | RunLink) else ""
    return Text(clean(value_text(value)), style=style)


class _Fitting:
    """A table where it fits, else its rows one below the other."""

    def __init__(self, block: Rows) -> None:
        self._block = block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = self._table()
        if Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width:
            yield table
            return
        for number, row in enumerate(self._block.rows):
            if number:
                yield Text()
            yield _facts(zip(self._block.columns, row, strict=True))

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for place, name in enumerate(self._block.columns):
            cells = [row[place] for row in self._block.rows if row[place] is not None]
            table.add_column(
                clean(name), justify="right" if cells and all(map(is_number, cells)) else "left", overflow="fold"
            )
        for row in self._block.rows:
            table.add_row(*map(_text, row))
        return table


def _bars(block: Bars, console: Console) -> Table:
    most = max((number for _, number, _ in block.bars), default=0) or 1
    mark = _or_plain("█", "#", console)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", overflow="fold")
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, number, text in block.bars:
        grid.add_row(clean(label), mark * round(number / most * _LONGEST_BAR), clean(text))
    return grid


def _line(block: Line, console: Console) -> Text:
    if not block.points:
        return _DASH
    numbers = [number for _, number in block.points]
    lowest, highest = min(numbers), max(numbers)
    span = (highest - lowest) or 1
    heights = "".join(_HEIGHTS[round((each - lowest) / span * (len(_HEIGHTS) - 1))] for each in numbers)
    (first, _), (last, _) = block.points[0], block.points[-1]
    told = f"{value_text(lowest)} to {value_text(highest)} {block.unit}".rstrip()
    return Text.assemble(
        (_or_plain(f"{heights}  ", "", console), "cyan"), clean(told), (clean(f", from {first} to {last}"), "dim")
    )


def _or_plain(drawn: str, plain: str, console: Console) -> str:
    """Return what is drawn, or what stands for it where the output's encoding hasn't such characters."""
    try:
        drawn.encode(console.encoding)
    except UnicodeEncodeError:
        return plain
    return drawn


def _tree(value: JSON, depth: int) -> Iterator[tuple[str | Text, str | Text]]:
    """Return JSON as rows of names and values, what lies deeper further in."""
    if not isinstance(value, dict | list) or not value:
        yield " " * _INDENT * depth, _leaf(value)
        return
    branches = value.items() if isinstance(value, dict) else ((str(n), each) for n, each in enumerate(value, start=1))
    for name, each in branches:
        label = " " * _INDENT * depth + clean(name)
        if isinstance(each, list) and each and not any(isinstance(one, dict | list) for one in each):
            yield label, Text.assemble(*_joined(each))
        elif isinstance(each, dict | list) and each:
            yield label, ""
            yield from _tree(each, depth + 1)
        else:
            yield label, _leaf(each)


def _joined(values: Sequence[JSON]) -> Iterator[Text]:
    for place, each in enumerate(values):
        if place:
            yield Text(", ")
        yield _leaf(each)


def _leaf(value: JSON) -> Text:
    if value is None or isinstance(value, dict | list):
        return _DASH if value is None else Text("none", style="dim")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(count_text(value))
    return Text(clean(value if isinstance(value, str) else value_text(value)))
