"""The tree of runs that a run is in, with tokens and costs of each branch added up.

- A run's parent is what its metadata says, or a plugin such as behest-lineage: `parent_run_id`; where only `root_run_id` is
  known, the root.
- Children are looked for in the sessions of the run and of those above it, by the index of sessions: agents that start others
  hand their session on. At most MOST runs are looked at; `is_whole` says whether that was enough.
- A parent that isn't found has its place, without a status. Runs that call each other parent make a circle, which is cut at the
  run that was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from behest_core.model.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from behest_core.model.state import RunState
    from behest_core.store import RunStore

MOST: Final = 500
"""How many runs are looked at for one tree: 5 requests of states."""


class Sums(Struct):
    """What a run, or a branch, comes to. `nano_usd` is None where no cost is known."""

    runs: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int | None = None

    def add(self, more: Sums) -> None:
        """Add to these."""
        self.runs += more.runs
        self.failed += more.failed
        self.input_tokens += more.input_tokens
        self.output_tokens += more.output_tokens
        if more.nano_usd is not None:
            self.nano_usd = (self.nano_usd or 0) + more.nano_usd


class Node(Struct):
    """A run in its tree. `all` is it with all below it; `summary` is None where the run wasn't found."""

    run_id: str
    depth: int = 0
    summary: Summary | None = None
    all: Sums = field(default_factory=Sums)
    children: list[Node] = field(default_factory=list)


class Tree(Struct):
    """A tree as rows, each run behind the one that it hangs below. `is_whole`: all runs of the sessions were looked at."""

    rows: list[Node]
    is_whole: bool = True


def read_tree(store: RunStore, summary: Callable[[RunState], Summary], run_id: str) -> Tree:
    """Find the tree that a run is in. `summary` sums up a state, such as `Plugins.summary`. Raises RunNotFoundError."""
    found = {run_id: summary(store.get_state(run_id))}
    sessions: set[str] = set()
    looked_for: set[str] = set()
    is_whole = True
    while new := {each.session_id for each in found.values() if each.session_id} - sessions:
        for session in sorted(new):
            room = MOST - len(found)
            states = list(store.states(session_id=session, limit=room + 1))
            is_whole = is_whole and len(states) <= room
            found |= {state.run_id: summary(state) for state in states[:room]}
        sessions |= new
        while missing := {p for each in found.values() if (p := parent_of(each)) and p not in found} - looked_for:
            looked_for |= missing
            wanted = sorted(missing)[: MOST - len(found)]
            is_whole = is_whole and len(wanted) == len(missing)
            found |= {each: summary(state) for each, state in store.get_states(wanted).items()}
    return Tree(tree_of(found, run_id), is_whole)


def parent_of(run: Summary) -> str | None:
    """Return the run that this one hangs below, None for a root."""
    known = (run.fields.get("parent_run_id"), run.parent_run_id, run.fields.get("root_run_id"), run.root_run_id)
    return next((each for each in known if isinstance(each, str) and each and each != run.run_id), None)


def tree_of(summaries: Mapping[str, Summary], run_id: str) -> list[Node]:
    """Return the runs of the tree that a run is in, from its root on, children in the order of their creation."""
    by_age = sorted(summaries.values(), key=lambda each: (each.created_at or "", each.run_id))
    parents = {each.run_id: parent_of(each) for each in by_age}
    children: dict[str, list[str]] = {}
    for child, parent in parents.items():
        if parent is not None:
            children.setdefault(parent, []).append(child)
    rows: list[Node] = []
    root = Node(_root(parents, run_id))
    seen, pending = {root.run_id}, [root]
    while pending:
        node = pending.pop()
        rows.append(node)
        below = [child for child in children.get(node.run_id, []) if child not in seen]
        seen.update(below)
        node.children = [Node(child, node.depth + 1) for child in below]
        pending += reversed(node.children)
    _sum_up(rows, summaries)
    return rows


def _root(parents: Mapping[str, str | None], run_id: str) -> str:
    seen, top = {run_id}, run_id
    while (parent := parents.get(top)) is not None:
        if parent in seen:
            return run_id
        seen.add(parent)
        top = parent
    return top


def _sum_up(rows: Sequence[Node], summaries: Mapping[str, Summary]) -> None:
    for node in reversed(rows):
        node.summary = found = summaries.get(node.run_id)
        if found is not None:
            own = Sums(1, found.status == "Failed", found.input_tokens, found.output_tokens, found.nano_usd)
            node.all.add(own)
        for child in node.children:
            node.all.add(child.all)
