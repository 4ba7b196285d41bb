"""A transcript as a drawing: which step, model call, tool and pause took how long, and what ran beside what. Pure.

- A part is a bar from its first event to its last, or as long as it says it took. One that isn't over reaches to the end.
- What is in a step is drawn below it, the tools of a model call below the call. Parts of one level share a lane while they follow
  each other, and have lanes of their own where they overlap. A label needs room as its bar does.
- A clock that went back, or a time that is none, makes a bar short, never an error.

The SVG is laid out in per cent of its width, so that it fits any page and is zoomed by making it wider. It needs no script.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from behest_core.model.timestamps import to_datetime
from behest_core.transcript.entries import Answer, Call, End, Pause, Step, Tool
from behest_core.web.text import visible
from behest_core.wording import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from behest_core.transcript.entries import Part, Transcript

_HATCH: Final = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="hatch" width="2" height="6"/></pattern></defs>'
)

Kind: TypeAlias = Literal["step", "call", "tool", "pause"]

MOST_BARS: Final = 400
"""How many bars are drawn: more than fit a look, and few enough for a page."""

_WIDTH, _LETTER, _GAP = 960, 6.6, 14  # pixels: of the page that labels are measured for, of a letter, around a label
_LABEL: Final = 40  # characters
_LANE, _BAR, _AXIS = 26, 20, 24  # pixels: of a lane, of the bar in it, of the axis above all
_WORDS: Final = {"step": "step", "call": "model call", "tool": "tool", "pause": "pause"}
_LEAST: Final = 0.25  # per cent: a bar of no time can be seen, and hit


class Bar(Struct, frozen=True):
    """A part of a run in the drawing. `begins`, `ends` and `first_token` are in milliseconds from the drawing's beginning.

    `problem` says how it failed, where it did. `sequence` is its first event's: where it stands in the transcript.
    """

    kind: Kind
    name: str
    sequence: int
    begins: float
    ends: float
    lane: int = 0
    first_token: float | None = None
    problem: str | None = None
    is_over: bool = True

    @property
    def label(self) -> str:
        """What is written on it: a sign where it failed, its name, how long it took."""
        name = visible(self.name)
        name = name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"
        sign = "✕ " if self.problem is not None else "‖ " if self.kind == "pause" else ""
        return f"{sign}{name} {duration_text(round(self.ends - self.begins))}{'' if self.is_over else ' …'}"


class Timeline(Struct, frozen=True):
    """A drawing: its bars, in the order of their beginning, how many lanes they need, and how long all takes, in milliseconds.

    `left_out` counts the bars for which there was no room.
    """

    bars: tuple[Bar, ...] = ()
    lanes: int = 0
    length: float = 0.0
    left_out: int = 0


class _Block(Struct):
    """Bars that stay together, in lanes from 0 on; `begins` and `ends` are what they take, their labels included."""

    bars: list[Bar]
    lanes: int
    begins: float
    ends: float


def timeline(
    transcript: Transcript, until: str | None = None, *, length: float = 0.0, most: int = MOST_BARS
) -> Timeline:
    """Lay a transcript out. What isn't over reaches to `until`, an RFC 3339 time; `length` is the least that all takes."""
    clock = _Clock(transcript, until)
    drawn = list(_bars(transcript.entries, clock))
    kept = drawn[:most]
    if not kept:
        return Timeline(length=max(length, 1.0))
    length = max(length, *(bar.ends for bar, _ in kept), 1.0)
    packed = _packed(_nested(kept), length)
    bars = sorted(packed.bars, key=lambda bar: (bar.begins, bar.lane))
    return Timeline(tuple(bars), packed.lanes, length, len(drawn) - len(kept))


class _Clock:
    """Tells times in milliseconds from the first of them."""

    def __init__(self, transcript: Transcript, until: str | None) -> None:
        started = (entry.started_at for entry in transcript.entries)
        self._first = next((moment for each in started if (moment := _milliseconds(each)) is not None), 0.0)
        told = until or transcript.ended_at
        self.last = 0.0 if told is None else self.at(told, 0.0)

    def at(self, time: str, otherwise: float) -> float:
        moment = _milliseconds(time)
        return otherwise if moment is None else max(0.0, round(moment - self._first, 3))


def _milliseconds(time: str) -> float | None:
    try:
        return to_datetime(time).timestamp() * 1000
    except ValueError:
        return None  # a writer put no time there


def _bars(entries: Sequence[Part], clock: _Clock, depth: int = 0) -> Iterator[tuple[Bar, int]]:
    """Return the bars of entries, each with its depth, those within a part behind it."""
    for place, entry in enumerate(entries):
        match entry:
            case Step():
                yield _bar("step", entry, clock, entry.name or entry.type, entry.error), depth
                yield from _bars(entry.entries, clock, depth + 1)
            case Call():
                yield _call(entry, clock), depth
                ran = (tool for tool in entry.tools if tool.has_started or tool.refused is not None)
                yield from ((_tool(tool, clock), depth + 1) for tool in ran)
            case Tool():
                yield _tool(entry, clock), depth
            case Pause():
                yield _pause(entry, entries[place + 1 :], clock), depth
            case _:
                pass


def _bar(kind: Kind, entry: Step | Call | Tool, clock: _Clock, name: str, problem: str | None) -> Bar:
    begins = clock.at(entry.started_at, 0.0)
    if entry.duration_ms is not None:
        ends = begins + entry.duration_ms
    elif entry.ended_at is not None and (entry.is_over or kind == "call"):
        ends = clock.at(entry.ended_at, begins)
    else:
        ends = clock.last
    return Bar(kind, name, entry.sequence, begins, max(begins, ends), problem=problem, is_over=entry.is_over)


def _call(call: Call, clock: _Clock) -> Bar:
    bar = _bar("call", call, clock, call.answered_by or call.model, call.error)
    if call.first_token_ms is not None:
        first: float | None = bar.begins + call.first_token_ms
    elif call.first_token_at is not None:
        first = clock.at(call.first_token_at, bar.begins)
    else:
        first = None
    has_answered = call.is_over or call.ended_at is not None
    return replace(bar, first_token=None if first is None else min(first, bar.ends), is_over=has_answered)


def _tool(tool: Tool, clock: _Clock) -> Bar:
    return _bar("tool", tool, clock, tool.name, tool.error if tool.refused is None else f"refused: {tool.refused}")


def _pause(pause: Pause, behind: Iterable[Part], clock: _Clock) -> Bar:
    """Return a pause until what comes after it, its answer as a rule; until the end where nothing does."""
    begins = clock.at(pause.started_at, 0.0)
    after = next((each for each in behind if not isinstance(each, Pause)), None)
    ends = clock.last if after is None else clock.at(after.started_at, begins)
    is_over = isinstance(after, Answer | End | Call | Step | Tool)
    return Bar("pause", pause.reason, pause.sequence, begins, max(begins, ends), is_over=is_over)


# ---------------------------------------------------------------- lanes


class _Node(Struct):
    bar: Bar
    below: list[_Node]


def _nested(bars: Iterable[tuple[Bar, int]]) -> list[_Node]:
    roots: list[_Node] = []
    levels = [roots]
    for bar, depth in bars:
        node = _Node(bar, [])
        levels[depth:] = [*levels[depth : depth + 1], node.below]
        levels[depth].append(node)
    return roots


def _packed(nodes: Iterable[_Node], length: float) -> _Block:
    """Put nodes with all below them into as few lanes as can be, in the order of their beginning."""
    free: list[float] = []  # until when each lane is taken
    placed: list[Bar] = []
    blocks = sorted((_block(node, length) for node in nodes), key=lambda block: block.begins)
    for block in blocks:
        top = next(
            lane for lane in range(len(free) + 1) if all(end <= block.begins for end in free[lane : lane + block.lanes])
        )
        free += [0.0] * (top + block.lanes - len(free))
        free[top : top + block.lanes] = [block.ends] * block.lanes
        placed += [replace(bar, lane=bar.lane + top) for bar in block.bars]
    begins = min((block.begins for block in blocks), default=length)
    return _Block(placed, len(free), begins, max(free, default=0.0))


def _block(node: _Node, length: float) -> _Block:
    begins, ends = _taken(node.bar, length)
    below = _packed(node.below, length)
    inner = [replace(bar, lane=bar.lane + 1) for bar in below.bars]
    return _Block([node.bar, *inner], 1 + below.lanes, min(begins, below.begins), max(ends, below.ends))


def _taken(bar: Bar, length: float) -> tuple[float, float]:
    """Return from when to when a bar with its label takes its lane."""
    match _side(bar, length):
        case "right":
            return bar.begins, bar.ends + _room(bar, length)
        case "left":
            return bar.begins - _room(bar, length), bar.ends
        case _:
            return bar.begins, bar.ends


def _side(bar: Bar, length: float) -> Literal["in", "right", "left"]:
    """Return where a bar's label stands: in it where it fits, else to its right, or to its left where that is the end."""
    room = _room(bar, length)
    if bar.ends - bar.begins >= room:
        return "in"
    return "right" if bar.ends + room <= length else "left"


def _room(bar: Bar, length: float) -> float:
    """Return what a bar's label takes, in milliseconds."""
    return (len(bar.label) * _LETTER + _GAP) * length / _WIDTH


# ---------------------------------------------------------------- the drawing


def svg(drawn: Timeline, what: str = "Timeline") -> str:
    """Return the SVG of a timeline. Each bar is a link to ``#e`` and its sequence; `what` names the drawing."""
    height = _AXIS + drawn.lanes * _LANE
    parts = [
        f'<svg class="timeline" width="100%" height="{height}" role="group" aria-label="{_told(what, drawn)}">',
        _HATCH,
        *_axis(drawn.length, height),
        *(_drawn(bar, drawn.length) for bar in drawn.bars),
        "</svg>",
    ]
    return "\n".join(parts)


def _told(what: str, drawn: Timeline) -> str:
    counts = [(sum(bar.kind == kind for bar in drawn.bars), word) for kind, word in _WORDS.items()]
    told = [f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts if count]
    failed = sum(bar.problem is not None for bar in drawn.bars)
    told += [f"{failed:,} failed"] if failed else []
    return escape(f"{what}: {', '.join([*told, duration_text(round(drawn.length))])}")


def _axis(length: float, height: int) -> Iterator[str]:
    yield '<g class="axis" aria-hidden="true">'
    step = _step(length)
    for number in range(int(length / step) + 1):
        x = _percent(number * step, length)
        yield f'<line x1="{x}" x2="{x}" y1="{_AXIS - 6}" y2="{height}"/>'
        if number * step <= 0.94 * length:
            yield f'<text x="{x}" dx="4" y="12">{duration_text(round(number * step)) if number else "0"}</text>'
    yield "</g>"


def _step(length: float) -> float:
    """Return the time between two marks: 1, 2 or 5 of a unit, so that there are four to ten of them."""
    units = [unit * 10**power for power in range(4) for unit in (1, 2, 5)]  # up to 5 s
    units += [n * 1000 for n in (10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400)]
    days = 86_400_000
    return next((unit for unit in units if length / unit <= 8), max(1, round(length / days / 6)) * days)


def _drawn(bar: Bar, length: float) -> str:
    top = _AXIS + bar.lane * _LANE + (_LANE - _BAR) // 2
    place = f'x="{_percent(bar.begins, length)}" y="{top}" height="{_BAR}"'
    width = max(_LEAST, 100 * (bar.ends - bar.begins) / length)
    classes = " ".join(
        ["bar", bar.kind, *(["failed"] if bar.problem is not None else []), *([] if bar.is_over else ["open"])]
    )
    shapes = [f'<rect class="body" {place} width="{width:.3f}%" rx="3"/>']
    if bar.first_token is not None and bar.first_token > bar.begins:
        shapes.append(f'<rect class="first" {place} width="{_percent(bar.first_token - bar.begins, length)}" rx="3"/>')
    if bar.problem is not None:
        shapes.append(f'<rect class="hatched" {place} width="{width:.3f}%" rx="3"/>')
    side = _side(bar, length)
    anchor, shift = ("end", -6) if side == "left" else ("start", 6)
    at = _percent(bar.ends if side == "right" else bar.begins, length)
    label = f'<text x="{at}" dx="{shift}" y="{top + 14}" text-anchor="{anchor}">{escape(bar.label)}</text>'
    return (
        f'<a class="{classes}" href="#e{bar.sequence}" aria-label="{escape(_said(bar))}">'
        f"<title>{escape(_said(bar))}</title>{''.join(shapes)}{label}</a>"
    )


def _said(bar: Bar) -> str:
    """Return what a bar says to whoever points at it, or has it read out."""
    said = [f"{_WORDS[bar.kind]} {visible(bar.name)[:200]}, {duration_text(round(bar.ends - bar.begins))}"]
    if bar.first_token is not None:
        said.append(f"first token after {duration_text(round(bar.first_token - bar.begins))}")
    if bar.problem is not None:
        said.append(f"failed: {visible(bar.problem)[:200]}")
    if not bar.is_over:
        said.append("not over")
    return ", ".join(said)


def _percent(time: float, length: float) -> str:
    return f"{100 * time / length:.3f}%"
