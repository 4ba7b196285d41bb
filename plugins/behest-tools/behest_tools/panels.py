"""How the tools and models of a run, or of several, performed: as a person reads it. Command, page and `behest show` share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import convert

from behest_core.plugins.panels import Bars, Duration, Facts, Note, Panel, Rows
from behest_core.wording import amount, duration_text
from behest_tools import Tool, ToolsState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from behest_core.model.state import RunState
    from behest_core.plugins.panels import Block, PanelInput, RunsInput

_OTHERS: Final = "all other tools"
_COLUMNS: Final = ("tool", "calls", "failed", "mean", "longest", "in all")


def performance_in(piece: Mapping[str, object]) -> ToolsState:
    """Return a slice's state, read from its JSON values."""
    return convert(piece, ToolsState)


def tools_in(known: ToolsState) -> dict[str, Tool]:
    """Return the tools of a slice by name, those beyond its bound among them."""
    return known.tools if known.other is None else {**known.tools, _OTHERS: known.other}


def sum_of(states: Iterable[RunState]) -> dict[str, Tool]:
    """Return the tools of runs together, by name."""
    total: dict[str, Tool] = {}
    for state in states:
        for name, tool in tools_in(performance_in(state.slice_of("tools"))).items():
            before = total.setdefault(name, Tool())
            before.calls += tool.calls
            before.errors += tool.errors
            before.total_ms += tool.total_ms
            before.longest_ms = max(before.longest_ms, tool.longest_ms)
    return total


def blocks_of(tools: Mapping[str, Tool]) -> list[Block]:
    """Return tools as a table, those that took longest first; nothing where there are none."""
    if not tools:
        return []
    by_time = sorted(tools.items(), key=lambda each: (-each[1].total_ms, each[0]))
    blocks: list[Block] = [Rows(_COLUMNS, [_row(name, tool) for name, tool in by_time])]
    failed, calls = sum(tool.errors for tool in tools.values()), sum(tool.calls for tool in tools.values())
    if failed:
        blocks.append(Note(f"{failed:,} of {amount(calls, 'call')} failed", "error"))
    return blocks


def _row(name: str, tool: Tool) -> tuple[str, int, int, Duration | None, Duration, Duration]:
    mean = Duration(tool.total_ms / tool.calls) if tool.calls else None
    return name or "(no name)", tool.calls, tool.errors, mean, Duration(tool.longest_ms), Duration(tool.total_ms)


def _of_a_run(given: PanelInput) -> Sequence[Block]:
    known = performance_in(given.slice)
    blocks = blocks_of(tools_in(known))
    if known.model_calls:
        first, longest = known.first_token_ms, known.longest_first_token_ms
        facts = [("model calls", known.model_calls)]
        if first is not None and longest is not None:
            return [
                *blocks,
                Facts([*facts, ("first token after", Duration(first)), ("at most after", Duration(longest))]),
            ]
        return [*blocks, Facts(facts)]
    return blocks


def _of_runs(given: RunsInput) -> Sequence[Block]:
    tools = sum_of(given.states)
    bars = [(name, tool.total_ms, duration_text(tool.total_ms)) for name, tool in tools.items() if tool.total_ms]
    bars.sort(key=lambda each: -each[1])
    return [*blocks_of(tools), *([Bars(bars)] if len(bars) > 1 else [])]


PANELS: Final = (
    Panel("Tools and models", "run", _of_a_run),
    Panel("Tools", "runs", _of_runs),
    Panel("Tools", "session", _of_runs),
)
