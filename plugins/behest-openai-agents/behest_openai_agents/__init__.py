"""Records agents of the OpenAI Agents SDK in behest: ``BehestRunner(store).run(agent, input)`` in place of ``Runner.run``.

The SDK tells hooks what happens inside a run, and nobody how it ends: a model that fails, a cancelled task or a guardrail silence
them. So the runner is wrapped. recording.py has the rules of what is recorded. Tracing is not needed.

- An invocation is a run. Its id is that of its trace: the config's `trace_id`, or one that is chosen here, as the SDK would do.
  Where a trace is open, the id is another: the SDK ignores the config's too, and other runs may be in there.
- A `RunState` that somebody answered goes on as another run, in the session of the one that waits: its trace says which.
- A run that a tool starts with a `BehestRunner` has the run of that tool as `parent_run_id` in its metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents import Runner, RunResult, RunResultStreaming, RunState, TContext, TResponseInputItem, get_current_trace

from behest_core.recording.adapter import begin, checked, resume, unobtrusive
from behest_openai_agents.reading import answers_in, configured, model_of, session_of, trace_of, with_trace_id
from behest_openai_agents.recording import Recording, calling_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from agents import Agent
    from agents.run import RunOptions

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

__all__ = ["BehestRunner"]


class BehestRunner:
    """Runs agents as `agents.Runner` does, and records each run. Any number of runs can go on at once.

    A run's session is the first of these that there is: its `conversation_id`, the id of its `session`, its config's `group_id`,
    the `group_id` of the run that waited, the session
    of the run whose tool started it, `session_id`, the id of its trace. `metadata` is added to each run's. `provider` is
    that of models whose names don't begin with one, as ``anthropic/claude-sonnet-4-5`` does. `settings` are `RunRecorder`'s.
    """

    def __init__(
        self,
        store: Store,
        *,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        provider: str = "openai",
        **settings: Unpack[RecorderSettings],
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._metadata = metadata or {}
        self._provider = provider
        self._settings = checked(settings)

    async def run(
        self,
        starting_agent: Agent[TContext],
        input: str | list[TResponseInputItem] | RunState[TContext],  # noqa: A002 (the SDK's name)
        **options: Unpack[RunOptions[TContext]],
    ) -> RunResult:
        """Do what `Runner.run` does with the same arguments, and record it."""
        recording, options = self._begin(starting_agent, input, options)
        try:
            with recording.running():
                result = await Runner.run(starting_agent, input, **options)
            recording.end(result)
        finally:
            await recording.aclose()
        return result

    def run_sync(
        self,
        starting_agent: Agent[TContext],
        input: str | list[TResponseInputItem] | RunState[TContext],  # noqa: A002 (the SDK's name)
        **options: Unpack[RunOptions[TContext]],
    ) -> RunResult:
        """Do what `Runner.run_sync` does with the same arguments, and record it."""
        recording, options = self._begin(starting_agent, input, options)
        try:
            with recording.running():
                result = Runner.run_sync(starting_agent, input, **options)
            recording.end(result)
        finally:
            recording.close()
        return result

    def run_streamed(
        self,
        starting_agent: Agent[TContext],
        input: str | list[TResponseInputItem] | RunState[TContext],  # noqa: A002 (the SDK's name)
        **options: Unpack[RunOptions[TContext]],
    ) -> RunResultStreaming:
        """Do what `Runner.run_streamed` does with the same arguments, and record it."""
        recording, options = self._begin(starting_agent, input, options)
        with recording.running():
            result = Runner.run_streamed(starting_agent, input, **options)
        recording.follow(result)
        return result

    def _begin(
        self, agent: Agent[TContext], given: object, options: RunOptions[TContext]
    ) -> tuple[Recording, RunOptions[TContext]]:
        """Begin to record a run; return what records it, and the options to run it with."""
        recording = Recording(self._provider)
        with unobtrusive():
            options = with_trace_id(given, options)
            recording.run = self._begin_run(agent, given, options)
            if isinstance(given, RunState):
                self._goes_on(recording, given)
        return recording, recording.heard(options)

    def _begin_run(self, agent: Agent[TContext], given: object, options: RunOptions[TContext]) -> RunRecorder:
        config, trace, caller = options.get("run_config"), get_current_trace(), calling_run()
        provider, model = model_of(agent, config, self._provider)
        trace_id = configured(config, "trace_id") if trace is None else None
        session_id = session_of(options, given)
        if session_id is None and caller is None:
            session_id = self._session_id or trace_of(given) or trace_id
        return begin(
            self._store,
            "openai-agents",
            trace_id,
            provider=provider,
            model=model,
            session_id=session_id,
            agent_name=agent.name,
            parent=caller,
            metadata={**({} if trace is None else {"trace_id": trace.trace_id}), **self._metadata},
            settings=self._settings,
        )

    def _goes_on(self, recording: Recording, state: RunState[Any]) -> None:
        answers = answers_in(state)
        if answers:
            run = recording.run
            itself = run.run_id if trace_of(state) == run.run_id else None
            resume(self._store, run, {asked: answer for asked, (_, answer) in answers.items()}, paused=itself)
        for asked, (name, answer) in answers.items():
            if answer == "denied":
                recording.denied(asked, name)
