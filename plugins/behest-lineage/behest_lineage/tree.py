"""A tree of runs with its tokens added up, from the states of the runs.

- A run's parent is what its lineage says; where it names only a root, the root. Without a slice of this version, a run's metadata
  says it.
- A parent that isn't among the states has a place in the tree, without a status and without tokens.
- Runs that call each other parent make a circle. It is cut at the run that was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, convert, field

from behest_core.errors import RunNotFoundError
from behest_lineage import LineageState, lineage, look_at_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from behest_core import RunStore
    from behest_core.model.state import RunState


class Tokens(Struct):
    """Tokens of a run, or of a run and all below it."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0

    def add(self, more: Tokens) -> None:
        """Add to these."""
        self.input_tokens += more.input_tokens
        self.output_tokens += more.output_tokens
        self.total_tokens += more.total_tokens


class Node(Struct):
    """A run in its tree. `own` are its tokens, `all` those of it and all below it; `runs` counts them.

    `status` is None where the run's state was not found.
    """

    run_id: str
    status: str | None = None
    agent: str | None = None
    tags: list[str] = field(default_factory=list)
    own: Tokens = field(default_factory=Tokens)
    all: Tokens = field(default_factory=Tokens)
    runs: int = 0
    children: list[Node] = field(default_factory=list)


def lineage_of(state: RunState) -> LineageState:
    """Return what is known of where a run comes from."""
    piece = state.extensions.get("lineage")
    if piece is not None and piece.sequence and piece.version == lineage.version:
        return convert(piece.state, LineageState)
    found = LineageState()
    look_at_metadata(found, state.run_id, state.metadata)
    return found


def parent_of(state: RunState) -> str | None:
    """Return the run that this one hangs below, None for a root."""
    found = lineage_of(state)
    parent = found.parent_run_id or found.root_run_id
    return None if parent == state.run_id else parent


def tree_of(states: Iterable[RunState], run_id: str) -> Node:
    """Return the whole tree that a run is in, from its root on. Children stand in the order of their creation.

    Raises RunNotFoundError where the run is not among the states.
    """
    by_id = {state.run_id: state for state in sorted(states, key=lambda state: (state.created_at or "", state.run_id))}
    if run_id not in by_id:
        raise RunNotFoundError(run_id)
    parents = {state.run_id: parent_of(state) for state in by_id.values()}
    root = Node(_root(parents, run_id))
    nodes = {root.run_id: root}
    order = [root]
    children: dict[str, list[str]] = {}
    for child, parent in parents.items():
        if parent is not None:
            children.setdefault(parent, []).append(child)
    for node in order:  # grows meanwhile
        for child in children.get(node.run_id, []):
            if child not in nodes:
                nodes[child] = Node(child)
                node.children.append(nodes[child])
                order.append(nodes[child])
    for node in reversed(order):
        _fill(node, by_id.get(node.run_id))
    return root


def _root(parents: Mapping[str, str | None], run_id: str) -> str:
    seen = {run_id}
    top = run_id
    while (parent := parents.get(top)) is not None:
        if parent in seen:
            return run_id
        seen.add(parent)
        top = parent
    return top


def _fill(node: Node, state: RunState | None) -> None:
    if state is not None:
        found, usage = lineage_of(state), state.total_usage
        node.status, node.agent, node.tags = str(state.status), found.agent, found.tags
        node.own = Tokens(usage.input_tokens, usage.output_tokens, usage.total_tokens)
        node.runs = 1
    node.all.add(node.own)
    for child in node.children:
        node.all.add(child.all)
        node.runs += child.runs


def read_tree(store: RunStore, run_id: str, *, everywhere: bool = False) -> Node:
    """Find the tree that a run is in, and add its tokens up.

    Looks at all runs of the sessions that the run and those above it belong to: agents that start others usually hand their
    session on. With `everywhere` it looks at all runs there are, which reads the whole table. Raises RunNotFoundError.
    """
    found = {run_id: store.get_state(run_id)}
    if everywhere:
        found |= {state.run_id: state for state in store.states()}
        return tree_of(found.values(), run_id)
    sessions: set[str] = set()
    looked_for: set[str] = set()
    while new := {state.session_id for state in found.values() if state.session_id} - sessions:
        for session in sorted(new):
            found |= {state.run_id: state for state in store.states(session_id=session)}
        sessions |= new
        while missing := {p for s in found.values() if (p := parent_of(s)) and p not in found} - looked_for:
            looked_for |= missing
            found |= store.get_states(sorted(missing))
    return tree_of(found.values(), run_id)
