"""Records agents of LangChain and LangGraph in behest: ``graph.invoke(…, {"callbacks": [BehestCallbackHandler(store)]})``.

- A root run of LangChain is a run here, under its id: of a graph, a chain, or a model that is called by itself. The runs below
  it are part of it, those of subgraphs, and of agents that are called as tools, too.
- Several handlers that record into one store record a root run once: the first that sees it.
- A run whose parent no handler has seen is a root: where LangSmith traces what surrounds an agent, the agent's parent is
  LangSmith's.
- `metadata["thread_id"]`, where LangGraph puts that of `configurable`, is the session.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from behest_core.recording.adapter import END_WAIT, begin, checked, unobtrusive
from behest_langchain.ending import ending
from behest_langchain.known_runs import runs_of
from behest_langchain.langgraph_if_any import Command, GraphCallbackHandler, GraphInterrupt
from behest_langchain.recorded_run import RecordedRun
from behest_langchain.steps import Part
from behest_langchain.words import agent_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult
    from langgraph.callbacks import GraphInterruptEvent, GraphResumeEvent

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

__all__ = ["BehestCallbackHandler"]


class BehestCallbackHandler(GraphCallbackHandler):
    """A callback handler that records the runs it is passed to, several at once too, synchronous and asynchronous ones.

    `session_id` is the session of runs that have no thread. `metadata` is added to each run's record, beside the metadata of its
    config. `provider` and `model` are those of runs whose root isn't a model: by default those of their first model call, as
    LangChain doesn't tell them before. Each model call is recorded with its own. `settings` are those of `RunRecorder`.
    """

    run_inline = True
    """Asynchronous code calls the handler in its own task, in order, and not from threads."""

    def __init__(
        self,
        store: Store,
        *,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        provider: str | None = None,
        model: str | None = None,
        **settings: Unpack[RecorderSettings],
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._metadata = metadata or {}
        self._provider = provider
        self._model = model
        self._settings = checked(settings)
        self._runs = runs_of(store)

    # ------------------------------------------------------------ runs

    def _started(self, part: Part, kind: str | None = None) -> RecordedRun | None:
        """Return what a run is part of: its parent's, or if nobody knows one, a new one; None where that is over."""
        if not self._runs.claimed(part.run_id, part.parent_run_id, self):
            return None
        run = None if part.parent_run_id is None else self._runs.get(part.parent_run_id, self)
        self._runs.put(part.run_id, run or self._begun(part))
        if (found := self._open(part.run_id)) is not None:
            found.part_started(part, kind)
        return found

    def _begun(self, part: Part) -> RecordedRun:
        run_id, metadata = part.run_id, part.metadata
        of_the_user = {key: value for key, value in metadata.items() if not key.startswith(("ls_", "lc_"))}
        recorder = begin(
            self._store,
            "langchain",
            run_id,
            provider=metadata.get("ls_provider") or self._provider,
            model=metadata.get("ls_model_name") or self._model,
            session_id=metadata.get("thread_id") or self._session_id,
            agent_name=agent_name(part.name, metadata),
            tags=[tag for tag in part.tags if not tag.startswith(("seq:step:", "graph:step:", "map:key:"))],
            user_id=metadata.get("user_id"),
            metadata={**self._metadata, **of_the_user},
            settings=self._settings,
        )
        return RecordedRun(run_id, recorder, self._watch_task(run_id))

    def _watch_task(self, run_id: UUID) -> Callable[[], object]:
        """End the run if the task it begins in is cancelled; return how to stop watching.

        LangChain says so itself, but for a model or a tool that is awaited by itself.
        """
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task is None:
            return lambda: None

        @unobtrusive()
        def end(task: asyncio.Task[Any]) -> None:
            if task.cancelled() and (recorder := self._ended(run_id, asyncio.CancelledError())) is not None:
                task.get_loop().run_in_executor(None, recorder.close, END_WAIT)

        task.add_done_callback(end)
        return lambda: task.remove_done_callback(end)

    def _open(self, run_id: UUID | None) -> RecordedRun | None:
        run = None if run_id is None else self._runs.get(run_id, self)
        return None if run is None or run.is_over else run

    def _ended(self, run_id: UUID, error: BaseException | None = None) -> RunRecorder | None:
        run = self._runs.pop(run_id, self)
        return None if run is None else run.ended(run_id, error)

    # ------------------------------------------------------------ chains, graphs and their nodes

    @unobtrusive()
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: object,
        *,
        run_id: UUID,
        **about: Any,  # noqa: ANN401 (as LangChain gives it)
    ) -> None:
        """Begin to record, where it is a root; record a step, where it is a node."""
        part = Part.of(run_id, serialized, about)
        if (run := self._started(part, "node" if part.is_node else None)) is None:
            return
        if part.is_node:
            run.node_started(run_id, inputs)
        elif isinstance(inputs, Command) and inputs.resume is not None:
            run.given_answer(inputs.resume)

    @ending
    def on_chain_end(self, outputs: object, *, run_id: UUID, **__: object) -> RunRecorder | None:
        """Record the end, where it is a root."""
        with unobtrusive():
            if (run := self._open(run_id)) is not None:
                run.node_returned(run_id, outputs)
        return self._ended(run_id)

    @ending
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: object) -> RunRecorder | None:
        """Record the end, where it is a root. A node that interrupts its graph ends in an error too."""
        with unobtrusive():
            if isinstance(error, GraphInterrupt) and (run := self._open(run_id)) is not None:
                run.interrupted("interrupt", error.args[0] if error.args else ())
        return self._ended(run_id, error)

    @unobtrusive()
    def on_interrupt(self, event: GraphInterruptEvent) -> None:
        """Take down what the graph waits for: an answer to `interrupt`, or to go on from `interrupt_before` or `_after`."""
        if (run := self._open(event.run_id)) is not None:
            run.interrupted("interrupt" if event.interrupts else event.status, event.interrupts)

    @unobtrusive()
    def on_resume(self, event: GraphResumeEvent) -> None:
        """Record that the run brings what another one waited for. Graphs inside of the one that is resumed are told, too."""
        if not event.checkpoint_ns and (run := self._open(event.run_id)) is not None:
            run.resumed(self._store)

    # ------------------------------------------------------------ models

    @unobtrusive()
    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **about: Any,  # noqa: ANN401 (as LangChain gives it)
    ) -> None:
        """Record ModelStarted, and what the model is sent."""
        self._model_started(Part.of(run_id, serialized, about), messages[0], about)

    @unobtrusive()
    def on_llm_start(
        self,
        serialized: dict[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        **about: Any,  # noqa: ANN401 (as LangChain gives it)
    ) -> None:
        """Do the same for a model that isn't a chat model."""
        self._model_started(Part.of(run_id, serialized, about), prompts[0], about)

    def _model_started(self, part: Part, prompt: str | list[BaseMessage], about: Mapping[str, Any]) -> None:
        if (run := self._started(part)) is not None:
            run.model_started(part.run_id, prompt, part.metadata, about.get("invocation_params") or {})

    @unobtrusive()
    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        **_: object,
    ) -> None:
        """Record TextDelta."""
        if (run := self._open(run_id)) is not None:
            run.token(run_id, token, chunk)

    @ending
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: object) -> RunRecorder | None:
        """Record the message, its tool calls, and the tokens used."""
        with unobtrusive():
            if (run := self._open(run_id)) is not None:
                run.model_answered(run_id, response)
        return self._ended(run_id)

    @ending
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: object) -> RunRecorder | None:
        """Record the failure, and the tokens used as far as they were told."""
        with unobtrusive():
            if (run := self._open(run_id)) is not None:
                run.model_failed(run_id, error)
        return self._ended(run_id, error)

    # ------------------------------------------------------------ tools

    @unobtrusive()
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        *_: object,
        run_id: UUID,
        **about: Any,  # noqa: ANN401 (as LangChain gives it)
    ) -> None:
        """Record ToolExecutionStarted. A tool that no model asked for is called by its run id."""
        part = Part.of(run_id, serialized, about)
        if (run := self._started(part)) is not None:
            run.tool_started(run_id, about.get("tool_call_id") or str(run_id), part.name)

    @ending
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: object) -> RunRecorder | None:  # noqa: ANN401 (a tool may return anything)
        """Record ToolExecutionFinished."""
        with unobtrusive():
            if (run := self._open(run_id)) is not None:
                run.tool_returned(run_id, output)
        return self._ended(run_id)

    @ending
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: object) -> RunRecorder | None:
        """Record ToolExecutionFinished. The run goes on where the graph handles it."""
        with unobtrusive():
            if (run := self._open(run_id)) is not None:
                run.tool_raised(run_id, error)
        return self._ended(run_id, error)

    # ------------------------------------------------------------ retrievers

    @unobtrusive()
    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        *_: object,
        run_id: UUID,
        **about: Any,  # noqa: ANN401 (as LangChain gives it)
    ) -> None:
        """Record a step."""
        self._started(Part.of(run_id, serialized, about), "retriever")

    on_retriever_end = on_chain_end
    on_retriever_error = on_chain_error
