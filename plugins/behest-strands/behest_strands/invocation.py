"""One invocation of an agent, and how it is written down.

- A call of the model is open from when it is sent until it has answered, failed, or the invocation is over. What it answered is
  kept, when the framework adds its message to the conversation, or discarded, when the model is asked again instead.
- A tool call that was asked for and never begins, of which the model is told an error, was refused.
- A message that no model call gave, a hook's or a cache's, has a `model_call_id` of its own, and no ModelStarted.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from msgspec import UNSET
from strands.middleware import ModelStopReason
from strands.types.exceptions import EventLoopException

from behest_core.recording.adapter import as_json, failure, pause, stop, unobtrusive
from behest_core.recording.model_call import ModelCall
from behest_strands import translation

if TYPE_CHECKING:
    from collections.abc import Container

    from strands.agent.agent_result import AgentResult
    from strands.middleware import TypedEvent
    from strands.models import Model
    from strands.types.content import Message
    from strands.types.tools import ToolResult, ToolUse

    from behest_core.model.events import ToolExecutionResult
    from behest_core.recording.recorder import RunRecorder
    from behest_strands.sent import Sent

_PAUSES: Final = frozenset({"interrupt", "checkpoint"})


@dataclass
class Answer:
    """What a call of the model has given so far."""

    call: ModelCall
    provider: str
    model: str
    usage: dict[str, Any] = field(default_factory=dict)
    message: Message | None = None


class Invocation:
    """What is known of an invocation. `state_id` is the identity of its `invocation_state`."""

    def __init__(self, run: RunRecorder, state_id: int, *, is_denied: bool) -> None:
        self.run = run
        self.state_id = state_id
        self._is_denied = is_denied
        self._handled = sys.exception()  # whoever asks the agent may be handling one of his own
        self._open: list[Answer] = []
        self._answered: list[Answer] = []  # and neither kept nor discarded
        self._asked: dict[str, tuple[str, str | None]] = {}  # by the tool call's id, its name and the model call
        self._untouched: set[str] = set()  # tool calls that nothing has become of

    # ------------------------------------------------------------ the model

    def model_is_called(self, model: Model, sent: Sent) -> Answer:
        """Record what the model is sent; return what it is going to answer."""
        self._discard("the model was asked again")
        provider, model_id = translation.provider_of(model), translation.model_id_of(model)
        call = self.run.model_call(
            provider=provider,
            model=model_id,
            messages=[as_json(each) for each in sent.messages],
            message_format="strands",
            system_instructions=as_json(sent.system_prompt),
            tool_definitions=as_json(sent.tool_specs),
            parameters=translation.parameters_of(model, sent.tool_choice),
        )
        self._open.append(Answer(call, provider, model_id))
        return self._open[-1]

    @unobtrusive()
    def model_gave(self, answer: Answer, event: TypedEvent) -> None:
        """Record a piece of an answer, or its end."""
        if isinstance(event, ModelStopReason):
            self._model_answered(answer, event)
        elif text := event.get("data"):
            answer.call.text(text)
        elif isinstance(chunk := event.get("event"), dict):
            if "metadata" in chunk:
                answer.usage = chunk["metadata"].get("usage") or answer.usage
            elif "contentBlockStart" in chunk or "contentBlockDelta" in chunk:
                answer.call.token_came()

    def _model_answered(self, answer: Answer, event: ModelStopReason) -> None:
        if event.stop_reason == "cancelled":  # its message is the framework's own
            self.model_failed(answer, asyncio.CancelledError("the agent was cancelled"))
            return
        for asked in translation.tools_in(event.message):
            call_id, name = asked["toolUseId"], asked["name"]
            answer.call.tool_called(call_id, name, as_json(asked["input"]))
            self._asked[call_id] = (name, answer.call.id)
            self._untouched.add(call_id)
        self._use(answer)
        answer.call.finished(
            translation.FINISH_REASONS.get(event.stop_reason, event.stop_reason),
            reasoning=translation.reasoning_of(event.message),
            provider=answer.provider,
            model=answer.model,
        )
        answer.message = event.message
        self._open.remove(answer)
        self._answered.append(answer)

    @unobtrusive()
    def model_failed(self, answer: Answer, error: BaseException) -> None:
        """Record that a call raised, or was stopped, unless it is over already."""
        if answer not in self._open:
            return
        self._open.remove(answer)
        self._use(answer)
        if answer.call.has_text:
            answer.call.text_discarded("the model call failed")
        answer.call.failed(error)

    def _use(self, answer: Answer) -> None:
        used = translation.tokens_of(answer.usage, answer.provider)
        if used:
            answer.call.usage(**used, provider=answer.provider, model=answer.model)

    # ------------------------------------------------------------ messages

    def has_answered(self, message: Message) -> bool:
        """Return whether a model call of this invocation gave the message."""
        return any(each.message is message for each in self._answered)

    @unobtrusive()
    def keep(self, message: Message) -> None:
        """Record that a message of the model, or in its name, is a part of the conversation."""
        given = [each for each in self._answered if each.message is message] or self._answered[-1:]
        if given:
            self._answered.remove(given[0])
            call = given[0].call
            self._refuse_cut_off(call, message)
        else:
            call = ModelCall(self.run.emit, str(uuid4()), UNSET)
            call.text(translation.text_of(message))
        call.message_committed(message.get("tracking_id") or f"{call.id}/message")

    def _refuse_cut_off(self, call: ModelCall, message: Message) -> None:
        """Refuse what a call asked for and its message has not: where it ended in the middle, the framework takes it out."""
        kept = {each["toolUseId"] for each in translation.tools_in(message)}
        self._refuse_all(call, "its message was kept without it", besides=kept)

    def _refuse_all(self, call: ModelCall, reason: str, besides: Container[str] = ()) -> None:
        for call_id in sorted(self._untouched):
            if self._asked[call_id][1] == call.id and call_id not in besides:
                self._refuse(call_id, reason)

    def _discard(self, reason: str) -> None:
        for answer in self._answered:
            if answer.call.has_text:
                answer.call.text_discarded(reason)
            self._refuse_all(answer.call, reason)
        self._answered.clear()

    # ------------------------------------------------------------ tools

    def awaits(self, message: Message, done: list[ToolResult]) -> None:
        """Say what another run was asked for and left to this one: the tool calls of a message that have no result yet."""
        results = {each["toolUseId"] for each in done}
        for asked in translation.tools_in(message):
            if asked["toolUseId"] not in results:
                self._asked[asked["toolUseId"]] = (asked["name"], None)
                self._untouched.add(asked["toolUseId"])

    @unobtrusive()
    def tool_begins(self, asked: ToolUse) -> RunningTool | None:
        """Record that a tool is executed; return what ends it."""
        self._untouched.discard(asked["toolUseId"])
        _, asked_by = self._asked.get(asked["toolUseId"], ("", None))
        return RunningTool(self.run, asked["toolUseId"], asked["name"], asked_by)

    @unobtrusive()
    def results(self, message: Message) -> None:
        """Record which of the tool calls, that the model is told the results of now, were refused."""
        for result in translation.results_in(message):
            if result["toolUseId"] in self._untouched and result.get("status") == "error":
                self._refuse(result["toolUseId"], translation.error_of(result))

    def _refuse(self, call_id: str, reason: str) -> None:
        self._untouched.remove(call_id)
        name, asked_by = self._asked[call_id]
        self.run.tool_refused(call_id, name, reason, model_call_id=asked_by)

    # ------------------------------------------------------------ the end

    @unobtrusive()
    def end(self, result: AgentResult | None, error: BaseException | None) -> None:
        """Record how it ended, by the exception that is on its way up, and that what is open has ended with it."""
        error = None if error is self._handled else error
        for answer in list(self._open):
            self.model_failed(answer, error or asyncio.CancelledError())
        if result is not None:
            self._stop(result)
        elif self._is_denied:
            self.run.cancelled()
        elif error is not None:
            self._discard("the invocation failed")
            stop(self.run, error.original_exception if isinstance(error, EventLoopException) else error)
        else:
            self.run.completed()  # Agent.structured_output, which has no AgentResult

    def _stop(self, result: AgentResult) -> None:
        reason = result.stop_reason
        if reason == "cancelled":
            self._discard("the agent was cancelled")
            self.run.cancelled()
        elif self.is_paused_by(result):
            interrupts = result.interrupts or ()
            names = ", ".join(str(each.name) for each in interrupts)
            pause(self.run, names or reason, [each.id for each in interrupts])
        else:
            self.run.completed(translation.FINISH_REASONS.get(reason, reason))

    @staticmethod
    def is_paused_by(result: AgentResult | None) -> bool:
        """Return whether the invocation ends to wait for somebody."""
        return result is not None and result.stop_reason in _PAUSES


class RunningTool:
    """A tool that is executed."""

    def __init__(self, run: RunRecorder, call_id: str, name: str, model_call_id: str | None) -> None:
        self.run = run
        self._call_id, self._name, self._model_call_id = call_id, name, model_call_id
        self._is_over = False
        run.tool_started(call_id, name, model_call_id=model_call_id)

    @unobtrusive()
    def ended(self, result: ToolResult) -> None:
        """Record how it ended."""
        self._end(translation.outcome_of(result))

    def waits(self) -> None:
        """Say that it waits for an answer: it has no end, and the run that has the answer executes it again."""
        self._is_over = True

    @unobtrusive()
    def failed(self, error: BaseException) -> None:
        """Record that it was stopped."""
        self._end(failure(error))

    def _end(self, outcome: ToolExecutionResult) -> None:
        if not self._is_over:
            self._is_over = True
            self.run.tool_finished(self._call_id, self._name, outcome, model_call_id=self._model_call_id)
