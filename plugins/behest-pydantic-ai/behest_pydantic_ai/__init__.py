"""Records agents of Pydantic AI in behest: ``Agent(model, capabilities=[BehestRecording(store)])``.

Each run of the agent is a run here, under the id that Pydantic AI gives it, and so is a run that an agent's tool starts, if its
agent has the capability too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from behest_core.recording.adapter import begin, checked
from behest_pydantic_ai.model_calls import named
from behest_pydantic_ai.recorded_run import RecordedRun
from behest_pydantic_ai.recorded_tools import Outermost

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from pydantic_ai import RunContext
    from pydantic_ai.capabilities import AbstractCapability

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

__all__ = ["BehestRecording"]


class BehestRecording(Outermost):
    """A capability that records the runs of the agents that have it, several at once too.

    `session_id` is the runs' session; without it that is Pydantic AI's conversation, and for a run that a tool starts the
    session of the tool's run. `metadata` is added to each run's record, beside the metadata of the run itself. `settings` are
    those of `RunRecorder`.
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

    async def for_run(self, ctx: RunContext[Any]) -> AbstractCapability[Any]:  # noqa: ARG002 (the framework's signature)
        """Return the capability that records one run."""
        return RecordedRun(self._store, self._begin)

    def _begin(self, ctx: RunContext[Any], parent: RunRecorder | None) -> RunRecorder:
        names = named(ctx.model)
        own = {} if parent is None else {"conversation_id": ctx.conversation_id}
        return begin(
            self._store,
            "pydantic-ai",
            ctx.run_id,
            provider=names["provider"],
            model=names["model"],
            session_id=self._session_id or (ctx.conversation_id if parent is None else None),
            agent_name=ctx.agent.name if ctx.agent else None,
            parent=parent,
            metadata={**own, **self._metadata, **(ctx.metadata or {})},
            settings=self._settings,
        )
