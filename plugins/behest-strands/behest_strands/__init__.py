"""Records agents of Strands Agents in behest: ``Agent(hooks=[BehestHooks(store)])``.

- An invocation of an agent that has the hooks is a run. Where a tool invokes an agent that has them too, that is another run,
  whose metadata names the first as `parent_run_id`. A Graph or a Swarm that has them is a run, and its nodes are steps.
- agents.py has what an agent calls, invocation.py how it is written down, teams.py is for Graphs and Swarms.
- Nothing of this raises into the agent: what looks into its objects is `unobtrusive`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from strands.hooks import HookProvider

from behest_core.recording.adapter import begin, checked
from behest_strands.agents import Invocations, caller
from behest_strands.teams import Teams, works_for
from behest_strands.translation import model_id_of, provider_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from strands.hooks import HookRegistry
    from strands.multiagent.base import MultiAgentBase
    from strands.types.agent import LocalAgent

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

__all__ = ["BehestHooks"]

_recorded_in: Final[WeakKeyDictionary[Any, set[str]]] = WeakKeyDictionary()
"""The event tables that an agent is recorded in, by its hook registry: in each of them once, whoever has given it hooks."""


class BehestHooks(HookProvider):
    """Records each invocation of the agents, Graphs and Swarms that have it among their hooks. Any number can share it.

    `session_id` is by default the session of the run that invokes the agent, else the agent's own `session_id`: that of its
    session manager, or one for as long as the agent lives. `metadata` is added to each run's. `settings` are `RunRecorder`'s.
    """

    def __init__(
        self,
        store: Store,
        *,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        **settings: Unpack[RecorderSettings],
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._metadata = metadata or {}
        self._settings = checked(settings)

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:  # noqa: ARG002, ANN401 (the framework's signature)
        """Record what the agent, the Graph or the Swarm does that this registry belongs to."""
        tables = _recorded_in.setdefault(registry, set())
        if self._store.event_log.table not in tables:
            tables.add(self._store.event_log.table)
            Invocations(self._store, self._begin).register(registry)
            Teams(self._store, self._begin_team).register(registry)

    def _begin(self, agent: LocalAgent) -> RunRecorder:
        parent = works_for.get(agent) or caller.get()
        about: Mapping[str, object] = getattr(agent, "trace_attributes", None) or {}
        tags = about.get("tags")
        return begin(
            self._store,
            "strands",
            provider=provider_of(agent.model),
            model=model_id_of(agent.model),
            session_id=self._session_id or (None if parent is not None else getattr(agent, "session_id", None)),
            agent_name=agent.name,
            parent=parent,
            user_id=about.get("user.id"),
            tags=[str(each) for each in tags] if isinstance(tags, list | tuple) else (),
            metadata=self._metadata,
            settings=self._settings,
        )

    def _begin_team(self, team: MultiAgentBase) -> RunRecorder:
        return begin(
            self._store,
            "strands",
            provider="none",
            model="none",
            session_id=self._session_id,
            agent_name=getattr(team, "id", None),
            parent=works_for.get(team) or caller.get(),
            metadata=self._metadata,
            settings=self._settings,
        )
