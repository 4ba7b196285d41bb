"""Where a run comes from, and what hangs below it: as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from behest_core.plugins.panels import Facts, Panel, Rows, RunLink, Tokens
from behest_lineage.tree import lineage_of, parent_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.plugins.panels import Block, PanelInput, RunsInput, Value

_COLUMNS: Final = ("run", "agent", "started by", "tags", "status", "tokens")


def _of_a_run(given: PanelInput) -> Sequence[Block]:
    known = lineage_of(given.state)
    said: list[tuple[str, Value]] = []
    if known.parent_run_id is not None:
        said.append(("started by", RunLink(known.parent_run_id)))
    if known.root_run_id is not None and known.root_run_id != given.state.run_id:
        said.append(("first of its tree", RunLink(known.root_run_id)))
    if known.agent is not None:
        said.append(("agent", known.agent))
    if known.tags:
        said.append(("tags", ", ".join(known.tags)))
    return [Facts(said)] if said else []


def _of_a_session(given: RunsInput) -> Sequence[Block]:
    """Return the session's runs with who started them, in the order of their creation, where one was started by another."""
    if not any(parent_of(state) for state in given.states):
        return []
    rows = []
    for state in sorted(given.states, key=lambda each: (each.created_at or "", each.run_id)):
        known, parent = lineage_of(state), parent_of(state)
        link = None if parent is None else RunLink(parent)
        tags = ", ".join(known.tags) or None
        rows.append(
            (RunLink(state.run_id), known.agent, link, tags, str(state.status), Tokens(state.total_usage.total_tokens))
        )
    return [Rows(_COLUMNS, rows)]


PANELS: Final = (Panel("Lineage", "run", _of_a_run), Panel("Lineage", "session", _of_a_session))
