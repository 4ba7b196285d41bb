"""What plugins show of runs: panels of data, drawn by whoever shows them. The command writes them as text, the page as HTML.

- A panel says where it stands: at one ``run``, at a list of ``runs``, at a ``session``, or on the page of ``health``. Its
  function returns blocks, which are data and no markup; nothing in one is ever taken for HTML, or for a terminal's command.
- A panel of a run is drawn from `PanelInput`, the others from `RunsInput`. One that returns no blocks has nothing to say and is
  left out.
- A panel that raises, or returns something else, shows that in its own place (`Drawn.error`). Others are drawn all the same.
- A block has at most 200 rows, points or bars, a panel 24 blocks, a text 1,000 characters. What is beyond is cut, and counted.
- The slice of a run that no panel draws, as its plugin has none, isn't there, or raised, is drawn as a `Tree`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from msgspec import MsgspecError, Struct, convert, field, to_builtins
from msgspec.structs import replace

from behest_core.errors import PluginError
from behest_core.model.json import JSON
from behest_core.model.packing import RecordedEvent
from behest_core.model.state import RunState
from behest_core.model.summary import Summary
from behest_core.wording import count_text, duration_text, time_text, usd_text

if TYPE_CHECKING:
    from behest_core.plugins.loading import Plugin

_logger = logging.getLogger("behest_core")

BLOCKS: Final = 24
"""How many blocks a panel has at most."""

ROWS: Final = 200
"""How many rows, facts, bars or points a block has at most, and how many branches a part of a tree."""

TEXT: Final = 1_000
"""How many characters a text has at most."""

TITLE: Final = 80
"""How many characters a title has at most."""

Place: TypeAlias = Literal["run", "runs", "session", "health"]

# ---------------------------------------------------------------- values; as JSON each has its `kind`


class Usd(Struct, frozen=True, tag_field="kind", tag="usd"):
    """An amount of money in nanodollars: 1 USD is 1,000,000,000."""

    nano: int


class Duration(Struct, frozen=True, tag_field="kind", tag="duration"):
    """A length of time in milliseconds."""

    ms: int | float


class Time(Struct, frozen=True, tag_field="kind", tag="time"):
    """A moment: RFC 3339, as it was written. A text that isn't is shown as it is."""

    text: str


class Tokens(Struct, frozen=True, tag_field="kind", tag="tokens"):
    """A number of tokens."""

    n: int


class RunLink(Struct, frozen=True, tag_field="kind", tag="run"):
    """Another run, by its id. The page makes a link of it."""

    run_id: str


class Command(Struct, frozen=True, tag_field="kind", tag="command"):
    """What somebody may type, such as ``behest approve RUN CALL``. It is shown to be copied, and never run."""

    text: str


Value: TypeAlias = str | int | float | bool | Usd | Duration | Time | Tokens | RunLink | Command | None
"""What stands in a cell. None is shown as a dash."""


_WORDS: Final[Mapping[type, Callable[[Any], str]]] = {
    type(None): lambda _: "-",
    str: str,
    bool: lambda value: "yes" if value else "no",
    int: count_text,
    float: lambda value: f"{value:,.4f}".rstrip("0").rstrip("."),
    Usd: lambda value: usd_text(value.nano),
    Duration: lambda value: duration_text(round(value.ms)),
    Time: lambda value: time_text(value.text),
    Tokens: lambda value: count_text(value.n),
    RunLink: lambda value: value.run_id,
    Command: lambda value: value.text,
}


def value_text(value: Value) -> str:
    """Return a value in words, as a terminal or a page shows it. What comes from a run is not made safe here."""
    return _WORDS[type(value)](value)


def is_number(value: Value) -> bool:
    """Return whether a value stands at the right of its column, as numbers do."""
    return isinstance(value, int | float | Usd | Duration | Tokens) and not isinstance(value, bool)


# ---------------------------------------------------------------- blocks


class Facts(Struct, frozen=True, tag_field="kind", tag="facts"):
    """Labels with their values, one under the other."""

    facts: Sequence[tuple[str, Value]]


class Rows(Struct, frozen=True, tag_field="kind", tag="rows"):
    """A table: the names of its columns, and as many values in each row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]


class Bars(Struct, frozen=True, tag_field="kind", tag="bars"):
    """Bars side by side: what each is called, how long it is beside the others (0 or more), and the text at its end."""

    bars: Sequence[tuple[str, int | float, str]]


class Line(Struct, frozen=True, tag_field="kind", tag="line"):
    """A line through points that stand at equal distances: what each is called, and its number. `unit` says of what."""

    points: Sequence[tuple[str, int | float]]
    unit: str = ""


class Note(Struct, frozen=True, tag_field="kind", tag="note"):
    """A sentence. ``warning`` and ``error`` stand out."""

    text: str
    tone: Literal["info", "warning", "error"] = "info"


class Tree(Struct, frozen=True, tag_field="kind", tag="tree"):
    """Any JSON, drawn as a tree of names and values."""

    value: JSON


Block: TypeAlias = Facts | Rows | Bars | Line | Note | Tree

# ---------------------------------------------------------------- panels


class PanelInput(Struct, frozen=True, kw_only=True):
    """What a panel of one run is drawn from.

    `slice` is that of the plugin's first extension, as JSON values; empty where the run has none. `events` reads the run's log
    from the beginning, which takes requests: call it only where the slice can't say it, and stop early.
    """

    state: RunState
    summary: Summary
    events: Callable[[], Iterable[RecordedEvent]]
    slice: dict[str, JSON] = field(default_factory=dict)


class RunsInput(Struct, frozen=True, kw_only=True):
    """What the other panels are drawn from: the runs that are shown, those of the page or of the session, none for ``health``."""

    states: Sequence[RunState] = ()
    summaries: Sequence[Summary] = ()


class Panel(Struct, frozen=True):
    """A panel: its title, where it stands, and the function that returns its blocks.

    `draw` takes a `PanelInput` where `where` is ``run``, and a `RunsInput` elsewhere.
    """

    title: str
    where: Place
    draw: Callable[[Any], Sequence[Block]]

    def check(self) -> None:
        """Raise PluginError, naming the argument, where the panel can't be drawn."""
        title: object = self.title
        if not isinstance(title, str) or not 1 <= len(title) <= TITLE:
            raise PluginError(f"behest_panels: title has to be a text of 1 to {TITLE} characters, got {title!r}")
        said = f"behest_panels: panel {self.title!r}:"
        if self.where not in get_args(Place):
            raise PluginError(f"{said} where has to be one of {', '.join(get_args(Place))}, got {self.where!r}")
        if not callable(self.draw):
            raise PluginError(f"{said} draw has to be a function, got {self.draw!r}")
        try:
            inspect.signature(self.draw).bind(None)
        except TypeError as error:
            raise PluginError(f"{said} draw has to take one argument, its input: {error}") from error
        except ValueError:
            pass  # a built-in function, whose signature nobody knows


class Drawn(Struct, frozen=True):
    """A panel as it is to be shown. `plugin` is whose it is; `error` says what went wrong, and then there are no blocks."""

    title: str
    plugin: str
    blocks: Sequence[Block] = ()
    error: str | None = None


def draw_panels(plugins: Sequence[Plugin], where: Place, given: PanelInput | RunsInput) -> list[Drawn]:
    """Return the panels of a place, drawn, in the order of the plugins; at a run then the slices that none of them drew."""
    drawn: list[Drawn] = []
    known: set[str] = set()
    for plugin in plugins:
        panels = [panel for panel in plugin.panels if panel.where == where]
        own = [each.name for each in plugin.extensions]
        if isinstance(given, PanelInput):
            given = replace(given, slice=given.state.slice_of(own[0]) if own else {})
        of_plugin = [_drawn(plugin.name, panel, given) for panel in panels]
        if panels and all(each.error is None for each in of_plugin):
            known.update(own)
        drawn += [each for each in of_plugin if each.blocks or each.error is not None]
    if isinstance(given, PanelInput):
        slices = given.state.extensions.items()
        drawn += [_slice(name, piece.state) for name, piece in slices if name not in known]
    return drawn


def _slice(name: str, state: JSON) -> Drawn:
    return Drawn(name, name, bounded([Tree(state)]))


def _drawn(plugin: str, panel: Panel, given: PanelInput | RunsInput) -> Drawn:
    try:
        return Drawn(panel.title, plugin, bounded(panel.draw(given)))
    except Exception as error:
        _logger.info("panel %s of plugin %s could not be drawn", panel.title, plugin, exc_info=True)
        what = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        return Drawn(panel.title, plugin, error=_cut(what, TEXT))


# ---------------------------------------------------------------- bounds

_LISTS: Final = {Facts: "facts", Rows: "rows", Bars: "bars", Line: "points"}
"""Which field of a block is as long as its author likes."""


def bounded(blocks: object) -> list[Block]:
    """Return what a panel's function returned, within the bounds. Raises PluginError where it is no list of blocks."""
    if not isinstance(blocks, list | tuple):
        raise PluginError(f"draw has to return a list of blocks, got {type(blocks).__name__}")
    shown: list[Block] = []
    for number, block in enumerate(blocks[:BLOCKS]):
        if not isinstance(block, get_args(Block)):
            raise PluginError(f"draw has to return a list of blocks, block {number} is {type(block).__name__}")
        try:
            shown += _within(block)
        except (MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise PluginError(f"block {number}, {type(block).__name__}: {error}") from error
    if len(blocks) > BLOCKS:
        shown.append(Note(f"and {len(blocks) - BLOCKS:,} more blocks", "warning"))
    return shown


def _within(block: Block) -> Iterator[Block]:
    """Return a block with at most so many rows, and how many were left out. All its values are of the right types then."""
    name = _LISTS.get(type(block))
    items = getattr(block, name) if name is not None else ()
    if len(items) > ROWS:
        block = replace(block, **{str(name): items[:ROWS]})
    if isinstance(block, Tree):
        block = Tree(_branches(to_builtins(block.value, str_keys=True)))
    checked: Block = convert(_with_texts_cut(to_builtins(block)), Block)
    if isinstance(checked, Bars | Line):
        _check_numbers(checked)
    if isinstance(checked, Rows) and any(len(row) != len(checked.columns) for row in checked.rows):
        raise ValueError("a row has another number of values than there are columns")
    yield checked
    if len(items) > ROWS:
        yield Note(f"and {len(items) - ROWS:,} more")


def _check_numbers(block: Bars | Line) -> None:
    numbers = [each[1] for each in (block.bars if isinstance(block, Bars) else block.points)]
    if not all(map(isfinite, numbers)):
        raise ValueError("a number is not finite")
    if isinstance(block, Bars) and any(number < 0 for number in numbers):
        raise ValueError("a bar is shorter than nothing")


def _with_texts_cut(value: Any) -> Any:  # noqa: ANN401 (what JSON has)
    if isinstance(value, str):
        return _cut(value, TEXT)
    if isinstance(value, list | tuple):
        return [_with_texts_cut(each) for each in value]
    if isinstance(value, dict):
        return {name: _with_texts_cut(each) for name, each in value.items()}
    return value


def _branches(value: JSON) -> JSON:
    """Return JSON with at most so many branches in each of its parts, and how many were left out."""
    more = len(value) - ROWS if isinstance(value, list | dict) else 0
    if isinstance(value, list):
        return [*map(_branches, value[:ROWS]), *([f"and {more:,} more"] if more > 0 else [])]
    if isinstance(value, dict):
        shown = {name: _branches(each) for name, each in islice(value.items(), ROWS)}
        return {**shown, "…": f"and {more:,} more"} if more > 0 else shown
    return value


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
