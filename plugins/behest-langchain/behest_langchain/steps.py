"""The steps of a root run: nodes of graphs, graphs in them, retrievers.

- Each run of LangChain is in one place: in its own step, if it is one, else in its parent's.
- LangGraph says of a node which it is, and of a graph nothing. A graph is known by its first node, and is a step from then on:
  an agent, where it says its name, else a subgraph. The root is the run itself, and no step.
- A step has the id of its run in LangChain. All that are open end with the root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from behest_core.recording.recorder import RunRecorder


class Part(NamedTuple):
    """A run of LangChain that begins, as its callbacks are told of it."""

    run_id: UUID
    parent_run_id: UUID | None
    name: str
    metadata: Mapping[str, Any]
    tags: Sequence[str]

    @classmethod
    def of(cls, run_id: UUID, serialized: Mapping[str, Any] | None, about: Mapping[str, Any]) -> Self:
        """Return it of a callback's arguments."""
        name = about.get("name") or (serialized or {}).get("name") or ""
        return cls(run_id, about.get("parent_run_id"), name, about.get("metadata") or {}, about.get("tags") or ())

    @property
    def is_node(self) -> bool:
        """Whether it is a node of a graph."""
        return self.metadata.get("langgraph_node") == self.name and any(
            tag.startswith("graph:step:") for tag in self.tags
        )


class Place(NamedTuple):
    """Where a run of LangChain is: its name, its agent's, and the step around it, which may be itself."""

    name: str
    agent_name: str | None
    step_id: str | None


class Steps:
    """The places of a root run's parts, and the steps that are open, in the order in which they began."""

    def __init__(self, run: RunRecorder, root_id: UUID) -> None:
        self._run = run
        self._root_id = root_id
        self._places: dict[UUID, Place] = {}
        self._open: dict[str, None] = {}

    def entered(self, part: Part, kind: str | None) -> None:
        """Note where a run is, and record its step, if it is one: of this kind."""
        around = part.parent_run_id
        parent = None if around is None else self._places.get(around)
        if part.is_node and parent is not None and around is not None:
            parent = self._graph(around, parent)
        step_id = None if parent is None else parent.step_id
        if kind is not None:
            step_id = self._started(part.run_id, part.name, kind, step_id)
        self._places[part.run_id] = Place(part.name, part.metadata.get("lc_agent_name"), step_id)

    def _graph(self, run_id: UUID, place: Place) -> Place:
        """Return the place of a graph, now that it is known for one."""
        if run_id == self._root_id or place.step_id == str(run_id):
            return place
        kind = "agent" if place.agent_name == place.name else "subgraph"
        self._places[run_id] = place._replace(step_id=self._started(run_id, place.name, kind, place.step_id))
        return self._places[run_id]

    def _started(self, run_id: UUID, name: str, kind: str, parent_step_id: str | None) -> str:
        step_id = str(run_id)
        self._open[step_id] = None
        return self._run.step_started(name, kind, step_id=step_id, parent_step_id=parent_step_id)

    def around(self, run_id: UUID | None) -> str | None:
        """Return the step that a run is in."""
        place = None if run_id is None else self._places.get(run_id)
        return None if place is None else place.step_id

    def left(self, run_id: UUID, error: BaseException | None) -> None:
        """Record that a step ended, if the run is one."""
        self._places.pop(run_id, None)
        if str(run_id) in self._open:
            del self._open[str(run_id)]
            self._run.step_finished(str(run_id), error)

    def end_all(self, error: BaseException | None) -> None:
        """Record the end of all steps that are open, inner ones first."""
        for step_id in reversed([*self._open]):
            self._run.step_finished(step_id, error)
        self._open.clear()
