"""Records agents of LangChain and LangGraph in behest: ``graph.invoke(…, {"callbacks": [BehestCallbackHandler(store)]})``.

- A root run of LangChain is a run here, under its id: of a graph, a chain, or a model that is called by itself. The runs below
  it are part of it, those of subgraphs, and of agents that are called as tools, too.
- A run whose parent the handler hasn't seen is a root: where LangSmith traces what surrounds an agent, the agent's parent is
  LangSmith's.
- `metadata["thread_id"]`, where LangGraph puts that of `configurable`, is the session.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final

from behest_core.recording.adapter import END_WAIT, begin, checked, unobtrusive
from behest_langchain.ending import ending
from behest_langchain.langgraph_if_any import GraphCallbackHandler, GraphInterrupt
from behest_langchain.recorded_run import RecordedRun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack
    from uuid import UUID

    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult
    from langgraph.callbacks import GraphInterruptEvent

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

__all__ = ["BehestCallbackHandler"]

_OPEN_AT_MOST: Final = 10_000
"""How many runs, roots and those below them, are known at a time: some never end, such as a tool whose task is cancelled."""


class BehestCallbackHandler(GraphCallbackHandler):
    """A callback handler that records the runs it is passed to, several at once too, synchronous and asynchronous ones.

    `session_id` is the session of runs that have no thread. `metadata` is added to each run's record, beside the metadata of its
    config. `provider` and `model` stand in the record of runs whose root isn't a model, as LangChain doesn't tell those when such
    a run begins; each model call is recorded with its own. `settings` are those of `RunRecorder`.
    """

    run_inline = True
    """Asynchronous code calls the handler in its own task, in order, and not from threads."""

    def __init__(
        self,
        store: Store,
        *,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        provider: str = "unknown",
        model: str = "unknown",
        **settings: Unpack[RecorderSettings],
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._metadata = metadata or {}
        self._provider = provider
        self._model = model
        self._settings = checked(settings)
        self._runs: dict[UUID, RecordedRun] = {}
        self._lock = threading.Lock()

    # ------------------------------------------------------------ runs

    def _started(
        self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any] | None
    ) -> RecordedRun | None:
        """Return what the run is part of: its parent's, or if nobody knows one, a new one; None where that is over."""
        run = None if parent_run_id is None else self._runs.get(parent_run_id)
        if run is None:
            run = self._begun(run_id, metadata or {})
        with self._lock:
            self._runs[run_id] = run
            if len(self._runs) > _OPEN_AT_MOST:
                oldest = next(iter(self._runs))
                self._runs.pop(oldest).forgotten(oldest)
        return self._open(run_id)

    def _begun(self, run_id: UUID, metadata: Mapping[str, Any]) -> RecordedRun:
        of_the_user = {key: value for key, value in metadata.items() if not key.startswith(("ls_", "lc_"))}
        recorder = begin(
            self._store,
            "langchain",
            run_id,
            provider=metadata.get("ls_provider") or self._provider,
            model=metadata.get("ls_model_name") or self._model,
            session_id=metadata.get("thread_id") or self._session_id,
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
        run = None if run_id is None else self._runs.get(run_id)
        return None if run is None or run.is_over else run

    def _ended(self, run_id: UUID, error: BaseException | None = None) -> RunRecorder | None:
        with self._lock:
            run = self._runs.pop(run_id, None)
        return None if run is None else run.ended(run_id, error)

    # ------------------------------------------------------------ chains, graphs and their nodes

    @unobtrusive()
    def on_chain_start(
        self,
        *_: object,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **__: object,
    ) -> None:
        """Begin to record, where it is a root."""
        self._started(run_id, parent_run_id, metadata)

    @ending
    def on_chain_end(self, *_: object, run_id: UUID, **__: object) -> RunRecorder | None:
        """Record the end, where it is a root."""
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

    # ------------------------------------------------------------ models

    @unobtrusive()
    def on_chat_model_start(
        self,
        *_: object,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **__: object,
    ) -> None:
        """Record ModelStarted."""
        if (run := self._started(run_id, parent_run_id, metadata)) is not None:
            run.model_started(run_id, metadata or {})

    on_llm_start = on_chat_model_start

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
        """Record the tokens used, as far as they were told."""
        with unobtrusive():
            if (run := self._open(run_id)) is not None:
                run.model_failed(run_id)
        return self._ended(run_id, error)

    # ------------------------------------------------------------ tools

    @unobtrusive()
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        *_: object,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **__: object,
    ) -> None:
        """Record ToolExecutionStarted. A tool that no model asked for is called by its run id."""
        if (run := self._started(run_id, parent_run_id, metadata)) is not None:
            run.tool_started(run_id, tool_call_id or str(run_id), serialized["name"])

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

    # nothing is recorded of them, but some call models
    on_retriever_start = on_chain_start
    on_retriever_end = on_chain_end
    on_retriever_error = on_chain_error
