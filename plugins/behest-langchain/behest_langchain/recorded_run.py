"""A root run of LangChain, as it is recorded: what of it is open, and how it ends.

- It is over when its root and all its model calls are. LangChain ends the root of an abandoned synchronous stream as if it were
  done, and only then closes the model call: that is a run that was cancelled.
- A root that ends in an error ends the run at once, and with it the model calls and the steps that are open.
- A run in which a graph was interrupted is paused. LangGraph ends its root normally, or with a GeneratorExit where whoever saw
  the interrupt closed the stream.
- A message of a tool that a node adds, and that no tool ran for, is a refusal: a person's, or the node's own.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypedDict

from langchain_core.messages import ToolMessage

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import as_json, failure, pause, resume, stop, unobtrusive
from behest_langchain.langgraph_if_any import GraphBubbleUp, GraphDrained
from behest_langchain.model_calls import Asked, RecordedCall, begin_call
from behest_langchain.steps import Steps
from behest_langchain.words import answers_of, tool_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

    from behest_core.recording.adapter import Store
    from behest_core.recording.recorder import RunRecorder
    from behest_langchain.steps import Part


class _Belongs(TypedDict):
    model_call_id: str | None
    step_id: str | None


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
        self._steps = Steps(recorder, root_id)
        self._calls: dict[UUID, RecordedCall] = {}
        self._asked = Asked()
        self._tools: dict[UUID, tuple[str, str, _Belongs]] = {}
        self._executed: set[str] = set()  # the tools' calls that needn't be refused
        self._given: dict[UUID, set[str]] = {}  # the tools' messages that went into a node
        self._answer: object = None  # what a graph is resumed with
        self._interrupted_by: str | None = None
        self._pending: dict[object, None] = {}  # a set that keeps the order
        self._has_root_ended = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()  # parts of a run go on in threads of their own

    # ------------------------------------------------------------ parts

    def part_started(self, part: Part, kind: str | None = None) -> None:
        """Note that a part of the run begins; it is a step where it has a kind."""
        self._steps.entered(part, kind)

    def node_started(self, run_id: UUID, inputs: object) -> None:
        """Note what goes into a node."""
        self._given[run_id] = {each.call_id for each in tool_answers(inputs)}

    def node_returned(self, run_id: UUID, outputs: object) -> None:
        """Record the tool calls that a node answered without any tool."""
        given = self._given.pop(run_id, None)
        if given is None:
            return
        for answer in tool_answers(outputs):
            if answer.call_id not in given | self._executed:
                self._executed.add(answer.call_id)
                call_id, model_call_id = self._asked.take(answer.call_id)
                step_id = self._steps.around(run_id)
                self._recorder.tool_refused(
                    call_id, answer.tool_name, answer.text, model_call_id=model_call_id, step_id=step_id
                )

    # ------------------------------------------------------------ model calls

    def model_started(
        self,
        call: UUID,
        prompt: str | Sequence[BaseMessage],
        metadata: Mapping[str, Any],
        parameters: Mapping[str, Any],
    ) -> None:
        """Record that a model is called, and what it is sent."""
        step_id = self._steps.around(call)
        self._calls[call] = begin_call(self._recorder, call, prompt, metadata, parameters, step_id)

    def token(self, call: UUID, token: object, chunk: GenerationChunk | ChatGenerationChunk | None) -> None:
        """Record a piece of a model's message."""
        self._calls[call].token(token, chunk)

    def model_answered(self, call: UUID, response: LLMResult) -> None:
        """Record that a model call ended with a message."""
        reason = self._calls[call].answered(self._recorder, response, self._asked)
        self._finish_reason = reason or self._finish_reason

    def model_failed(self, call: UUID, error: BaseException) -> None:
        """Record that a model call failed. The run goes on where it is tried again, or another model is there to fall back on."""
        self._calls[call].failed(error)

    # ------------------------------------------------------------ tools

    def tool_started(self, tool: UUID, call_id: str, name: str) -> None:
        """Record that a tool begins."""
        self._executed.add(call_id)
        recorded_as, model_call_id = self._asked.take(call_id)
        belongs_to = _Belongs(model_call_id=model_call_id, step_id=self._steps.around(tool))
        self._tools[tool] = recorded_as, name, belongs_to
        self._recorder.tool_started(recorded_as, name, **belongs_to)

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
        call_id, name, belongs_to = self._tools.pop(tool)
        self._recorder.tool_finished(call_id, name, result, **belongs_to)

    # ------------------------------------------------------------ pauses

    def given_answer(self, answer: object) -> None:
        """Note what a graph is going to be resumed with."""
        self._answer = answer

    def resumed(self, store: Store) -> None:
        """Record that a graph goes on where another run had paused. Answers are given by interrupt, or one for all."""
        answer = self._answer
        if isinstance(answer, dict) and answer and all(_is_interrupt(each) for each in answer):
            resume(store, self._recorder, {str(each): answers_of(given) for each, given in answer.items()})
        else:
            resume(store, self._recorder, answers_of(answer))

    def interrupted(self, reason: str, interrupts: Iterable[Any]) -> None:
        """Note that a graph has stopped until somebody answers."""
        self._interrupted_by = reason
        self._pending |= {each.id: None for each in interrupts}

    # ------------------------------------------------------------ the end

    def ended(self, run_id: UUID, error: BaseException | None) -> RunRecorder | None:
        """Note that the root, or a run below it, has ended. If all is over now, record the end and return the recorder."""
        with unobtrusive():
            if not self.is_over:
                if (untold := self._calls.get(run_id)) is not None and not untold.is_over:
                    untold.failed(error or GeneratorExit())  # LangChain tells of a cancelled task only its own callers
                self._steps.left(run_id, None if isinstance(error, GraphBubbleUp) else error)
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
            self._end_what_is_open(self._error)
            self._emit_end(self._error)
        return self._recorder

    def _end_what_is_open(self, error: BaseException | None) -> None:
        for open_call in [*self._calls.values()]:
            open_call.failed(error or GeneratorExit())
        self._steps.end_all(None if isinstance(error, GraphBubbleUp) else error)

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


def _is_interrupt(key: object) -> bool:
    """Return whether a key of an answer is the id of an interrupt: LangGraph's own test of it."""
    return isinstance(key, str) and len(key) == 32 and all(each in "0123456789abcdef" for each in key)
