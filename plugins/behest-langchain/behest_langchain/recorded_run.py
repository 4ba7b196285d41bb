"""A root run of LangChain, as it is recorded: what of it is open, and how it ends.

- It is over when its root and all its model calls are. LangChain ends the root of an abandoned synchronous stream as if it were
  done, and only then closes the model call: that is a run that was cancelled.
- A root that ends in an error ends the run at once. Of calls that are still open, the tokens that were told so far count.
- A run in which a graph was interrupted is paused. LangGraph ends its root normally, or with a GeneratorExit where whoever saw
  the interrupt closed the stream.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.messages import ToolMessage
from langchain_core.messages.ai import add_usage
from langchain_core.outputs import Generation

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import as_json, failure, pause, stop, unobtrusive
from behest_langchain.langgraph_if_any import GraphBubbleUp, GraphDrained
from behest_langchain.words import finish_reason, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from uuid import UUID

    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

    from behest_core.recording.recorder import RunRecorder


@dataclass
class _ModelCall:
    """A model call that has not ended. `usage` is what its stream has told so far."""

    is_streamed: bool = False
    usage: UsageMetadata | None = None


class RecordedRun:
    """Records what happens in a root run and the runs below it, each by the id that LangChain gave it.

    `when_over` is called when no more of it will be recorded.
    """

    def __init__(self, root_id: UUID, recorder: RunRecorder, when_over: Callable[[], object]) -> None:
        self.is_over = False
        self._root_id = root_id
        self._recorder = recorder
        self._when_over = when_over
        self._finish_reason = "stop"
        self._calls: dict[UUID, _ModelCall] = {}
        self._tools: dict[UUID, tuple[str, str]] = {}
        self._interrupted_by: str | None = None
        self._pending: dict[object, None] = {}  # a set that keeps the order
        self._has_root_ended = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()  # parts of a run go on in threads of their own

    # ------------------------------------------------------------ model calls

    def model_started(self, call: UUID, metadata: Mapping[str, Any]) -> None:
        """Record that a model is called."""
        self._calls[call] = _ModelCall()
        self._recorder.model_started(provider=metadata.get("ls_provider"), model=metadata.get("ls_model_name"))

    def token(self, call: UUID, token: object, chunk: GenerationChunk | ChatGenerationChunk | None) -> None:
        """Record a piece of a model's message. It may have text, a part of a tool call, or tokens used."""
        open_call = self._calls[call]
        text = token if chunk is None else chunk.text
        if isinstance(text, str) and text:
            open_call.is_streamed = True
            self._recorder.text(str(text))
        usage = getattr(getattr(chunk, "message", None), "usage_metadata", None)
        if usage:
            open_call.usage = add_usage(open_call.usage, usage)

    def model_answered(self, call: UUID, response: LLMResult) -> None:
        """Record that a model call ended with a message. Of several candidates the first one is it."""
        open_call = self._calls[call]
        generation = next((each for candidates in response.generations for each in candidates), Generation(text=""))
        message: Any = getattr(generation, "message", None)  # models that aren't chat models give text only
        if generation.text and not open_call.is_streamed:
            self._recorder.text(str(generation.text))
        for asked in getattr(message, "tool_calls", ()):
            self._recorder.tool_called(asked["id"] or "", asked["name"], as_json(asked["args"]))
        self._used(getattr(message, "usage_metadata", None) or open_call.usage)
        self._recorder.message_committed(getattr(message, "id", None))
        told = {**(generation.generation_info or {}), **getattr(message, "response_metadata", {})}
        self._finish_reason = finish_reason(told) or self._finish_reason

    def model_failed(self, call: UUID) -> None:
        """Record that a model call failed. The run goes on where it is tried again, or another model is there to fall back on."""
        self._used(self._calls[call].usage)

    def _used(self, usage: UsageMetadata | None) -> None:
        if usage is not None and (counts := tokens(usage)) is not None:
            self._recorder.usage(**counts)

    # ------------------------------------------------------------ tools

    def tool_started(self, tool: UUID, call_id: str, name: str) -> None:
        """Record that a tool begins."""
        self._tools[tool] = call_id, name
        self._recorder.tool_started(call_id, name)

    def tool_returned(self, tool: UUID, output: object) -> None:
        """Record that a tool ended. Its message says so where it handled an error by itself."""
        if not isinstance(output, ToolMessage):
            result = ToolExecutionResult.ok(as_json(output))
        elif output.status == "error":
            result = ToolExecutionResult.failed(str(output.content))
        else:
            # langchain-core gives a tool's None to the model, and to us, as JSON
            result = ToolExecutionResult.ok(None if output.content == "null" else as_json(output.content))
        self._tool_finished(tool, result)

    def tool_raised(self, tool: UUID, error: BaseException) -> None:
        """Record that a tool failed, whoever handles it; one that waits for an answer has no end here."""
        if isinstance(error, GraphBubbleUp):
            del self._tools[tool]
        else:
            self._tool_finished(tool, failure(error))

    def _tool_finished(self, tool: UUID, result: ToolExecutionResult) -> None:
        call_id, name = self._tools.pop(tool)
        self._recorder.tool_finished(call_id, name, result)

    # ------------------------------------------------------------ the end

    def interrupted(self, reason: str, interrupts: Iterable[Any]) -> None:
        """Note that a graph has stopped until somebody answers."""
        self._interrupted_by = reason
        self._pending |= {each.id: None for each in interrupts}

    def ended(self, run_id: UUID, error: BaseException | None) -> RunRecorder | None:
        """Note that the root, or a run below it, has ended. If all is over now, record the end and return the recorder."""
        with self._lock:
            was_call = self._calls.pop(run_id, None) is not None
            if run_id == self._root_id:
                self._has_root_ended, self._error = True, error
            elif was_call and self._has_root_ended and not isinstance(error, Exception):
                self._error = error
            is_last = self._has_root_ended and not self.is_over and (self._error is not None or not self._calls)
            self.is_over |= is_last
        if not is_last:
            return None
        self._when_over()
        with unobtrusive():
            for open_call in [*self._calls.values()]:
                self._used(open_call.usage)
            self._emit_end(self._error)
        return self._recorder

    def forgotten(self, run_id: UUID) -> None:
        """Forget a run whose end is told no more. Without its root a run has no end here."""
        if run_id == self._root_id:
            self.is_over = True
            self._when_over()
            self._recorder.close(0)

    def _emit_end(self, error: BaseException | None) -> None:
        if self._interrupted_by is not None and (error is None or isinstance(error, GeneratorExit)):
            pause(self._recorder, self._interrupted_by, self._pending)
        elif error is None:
            self._recorder.completed(self._finish_reason)
        elif isinstance(error, GraphDrained):
            pause(self._recorder, str(error))
        else:
            stop(self._recorder, error)
