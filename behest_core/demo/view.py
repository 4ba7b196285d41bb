"""What the demo shows while the agents write: a table that moves on a terminal, lines in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Group
from rich.table import Table
from rich.text import Text

from behest_core.terminal import status_text
from behest_core.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.live import Live

    from behest_core.demo.agent import Agent
    from behest_core.model.state import RunState, RunStatus
    from behest_core.testing import EventSourceMapping

_BAR: Final = 10
_WIDE: Final = 110


class View(Protocol):
    """Shows the runs' states while they change."""

    def show(self, states: dict[str, RunState]) -> None:
        """Show the states, by run id, as the state table has them now."""


class Screen:
    """A table that is drawn over itself."""

    def __init__(self, live: Live, agents: Sequence[Agent], mapping: EventSourceMapping) -> None:
        self._live = live
        self._agents = agents
        self._mapping = mapping

    def show(self, states: dict[str, RunState]) -> None:
        """Draw the table."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        wide = self._live.console.width >= _WIDE
        table.add_column("RUN", no_wrap=True, min_width=21)
        table.add_column("STATUS", no_wrap=True, min_width=13)
        table.add_column("CALLS", justify="right")
        table.add_column("TOKENS", justify="right", min_width=6)
        table.add_column("FOLDED", no_wrap=True, min_width=_BAR + 6)
        if wide:
            table.add_column("MODEL", no_wrap=True)
            table.add_column("END", no_wrap=True)
        for agent in self._agents:
            state = states.get(agent.run_id)
            table.add_row(*_row(agent, state)[: len(table.columns)])
        self._live.update(Group(table, Text(), self._footer()), refresh=True)

    def _footer(self) -> Text:
        counts = self._mapping.counts
        appended = sum(agent.appended for agent in self._agents)
        return Text(
            f"{appended} events in the logs; the projector was called {counts.deliveries} times "
            f"with {counts.records} commits",
            style="dim",
        )


def _row(agent: Agent, state: RunState | None) -> list[str | Text]:
    if state is None:
        return [Text(agent.name, style="dim"), "", "", "", "", agent.model, ""]
    return [
        agent.name,
        status_text(state.status),
        str(state.iteration),
        count_text(state.total_usage.total_tokens),
        _progress(state.sequence, agent.appended),
        agent.model,
        _end(state),
    ]


def _end(state: RunState) -> Text:
    if not state.status.is_terminal:
        return Text()
    return Text(state.last_error or str(state.last_finish or ""), style="dim")


def _progress(folded: int, appended: int) -> Text:
    """Draw how much of the log is folded."""
    filled = _BAR if folded >= appended else folded * _BAR // appended
    return Text.assemble(
        ("━" * filled, "green" if filled == _BAR else "yellow"), ("━" * (_BAR - filled), "dim"), f" {folded}/{appended}"
    )


class Lines:
    """A line for each change of a status."""

    def __init__(self, console: Console, agents: Sequence[Agent]) -> None:
        self._console = console
        self._agents = agents
        self._seen: dict[str, RunStatus] = {}

    def show(self, states: dict[str, RunState]) -> None:
        """Write what has changed since the last time."""
        for agent in self._agents:
            state = states.get(agent.run_id)
            if state is not None and self._seen.get(agent.run_id) is not state.status:
                self._seen[agent.run_id] = state.status
                tokens = count_text(state.total_usage.total_tokens)
                self._console.print(f"{agent.name:<22} {state.status:<14} {tokens:>7} tokens")
