"""ModelCalls: what the models of one run are sent, and what they give, each call by itself.

- A call is sent the messages, instructions and tools that its model makes its own request from. Headers are left out, as there
  are keys in them.
- What a model answered counts only when the request is over: of several answers to one request the last is a part of the
  conversation, and the text of the others is discarded.
- A model that tries others by itself, inside a wrapper of somebody else's, is one call, and each model that it says it tried in
  vain is another one.
- Asking a provider again for an answer that it works on is the same call.
- Pydantic AI counts cached tokens into `input_tokens`. A model that counts them beside can be told by having more of them than it
  was given in all.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic_ai import ToolDefinition
from pydantic_ai.exceptions import FallbackExceptionGroup
from pydantic_ai.messages import InstructionPart, ModelMessagesTypeAdapter, ModelResponse, ThinkingPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.usage import RequestUsage

from behest_core.model.agent_events import ModelFailed
from behest_core.model.timestamps import now
from behest_core.recording.adapter import all_input, as_json, unobtrusive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ModelMessage, ModelRequestAttempt, ToolCallPart
    from pydantic_ai.models import AbstractModel, Model, ModelRequestParameters, StreamedResponse
    from pydantic_ai.settings import ModelSettings

    from behest_core.model.json import JSON
    from behest_core.recording.model_call import ModelCall
    from behest_core.recording.recorder import RunRecorder

MESSAGE_FORMAT: Final = "pydantic-ai"
_FINISH_REASONS: Final = {"tool_call": "tool_calls"}  # the others are the same words
_WITH_KEYS: Final = frozenset({"extra_headers"})
_COUNTED: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_reasoning_tokens",
)
_tools = TypeAdapter(list[ToolDefinition])


def named(model: AbstractModel) -> dict[str, str]:
    """Return provider and name of a model; of one that tries several, those of the first."""
    match model:
        case FallbackModel():
            return named(model.models[0])
        case WrapperModel():
            return named(model.wrapped)
    return {"provider": model.system, "model": model.model_name}


def finish_reason_of(response: ModelResponse) -> str | None:
    """Return why the model stopped, in behest's words."""
    reason = response.finish_reason
    return None if reason is None else _FINISH_REASONS.get(reason, reason)


class RecordedCall:
    """One call of a model. None of its methods raises."""

    def __init__(self, run: RunRecorder, model: Model, call: ModelCall, asked: dict[str, str]) -> None:
        self.id = call.id
        self.has_answered = False
        self.is_over = False
        self.response_id: str | None = None
        self._run = run
        self._model = model
        self._call = call
        self._asked = asked
        self._stream: StreamedResponse | None = None
        self._passed: Counter[tuple[str, str]] = Counter()  # the tool calls that were recorded as they passed
        self._used: RequestUsage | None = None  # of an answer that the provider works on
        self.used_before: RequestUsage | None = None  # by an earlier run that had to leave the answer to this one

    @unobtrusive()
    def text(self, piece: str) -> None:
        """Record a piece of text that passes."""
        if piece:
            self._call.text(piece)

    @unobtrusive()
    def asked_for(self, tool: ToolCallPart) -> None:
        """Record a tool call that passes."""
        self._passed[tool.tool_call_id, tool.tool_name] += 1
        self._asked_for(tool)

    def _asked_for(self, tool: ToolCallPart) -> None:
        self._asked[tool.tool_call_id] = self.id
        self._call.tool_called(tool.tool_call_id, tool.tool_name, as_json(tool.args_as_dict()))

    @unobtrusive()
    def opened(self, stream: StreamedResponse) -> None:
        """Record that an answer is going to be streamed: other models may have failed before."""
        self._stream = stream
        self._tried(stream.failed_attempts or [])

    @unobtrusive()
    def closed(self, error: BaseException | None = None) -> None:
        """Record that the stream is over; left early, or by an error, it has stopped the call."""
        response = None if self._stream is None else self._stream.get()
        if self.is_over:
            return  # the run was over before, and with it the call
        if response is None or response.state in ("interrupted", "incomplete"):
            self._stopped(response, error)
        else:
            self._answered(response)

    @unobtrusive()
    def answered(self, response: ModelResponse) -> None:
        """Record an answer that came as a whole."""
        self._tried(response.failed_attempts or [])
        self._answered(response)

    @unobtrusive()
    def committed(self, response: ModelResponse) -> None:
        """Record that the answer is a part of the conversation."""
        for tool in response.tool_calls:  # those of an answer that another capability changed, too
            self._asked.setdefault(tool.tool_call_id, self.id)
        if response.parts:
            self._call.message_committed(response.provider_response_id or self.id)

    @unobtrusive()
    def discarded(self, reason: str) -> None:
        """Record that the answer is no part of the conversation."""
        if self._call.has_text:
            self._call.text_discarded(reason)

    # ------------------------------------------------------------ what it gave

    def _answered(self, response: ModelResponse) -> None:
        self._gave(response)
        if self._is_worked_on(response):
            return
        self.is_over = True
        self._call.finished(
            finish_reason_of(response),
            reasoning="".join(part.content for part in response.parts if isinstance(part, ThinkingPart)),
            provider=response.provider_name,
            model=response.model_name,
            response_id=response.provider_response_id,
        )

    def _stopped(self, response: ModelResponse | None, error: BaseException | None = None) -> None:
        if isinstance(error, FallbackExceptionGroup):
            self._tried(error.attempts)
        if response is not None:
            self._gave(response)
        self.is_over = True
        self._call.failed(error or GeneratorExit())

    def _gave(self, response: ModelResponse) -> None:
        self.has_answered = True
        self.response_id = response.provider_response_id
        if response.text and not self._call.has_text:
            self._call.text(response.text)
        passed = self._passed.copy()
        for tool in response.tool_calls:
            if passed[tool.tool_call_id, tool.tool_name] > 0:
                passed[tool.tool_call_id, tool.tool_name] -= 1
            else:
                self.asked_for(tool)
        self._used_by(response)

    def _is_worked_on(self, response: ModelResponse) -> bool:
        """Return whether the provider is going to be asked again for the same answer."""
        return response.state == "suspended" and self._model.continuation_delay(response) is not None

    def _used_by(self, response: ModelResponse) -> None:
        """Record the tokens of an answer. A provider that is asked again counts on."""
        if self._is_worked_on(response):
            self._used = response.usage
        elif response.usage.has_values():
            usage = response.usage if self.used_before is None else _beyond(response.usage, self.used_before)
            _record_usage(self._call, usage, response.provider_name, response.model_name)

    @unobtrusive()
    def left_waiting(self) -> None:
        """Record what an answer used so far that the provider still works on when the run ends."""
        if self._used is not None and self._used.has_values():
            _record_usage(self._call, self._used, None, None)

    def _tried(self, attempts: Sequence[ModelRequestAttempt]) -> None:
        """Record the models that were tried in vain, by a model that does that itself."""
        for attempt in attempts:
            call = self._run.model_call(provider=attempt.provider_name, model=attempt.model_name)
            if attempt.usage is not None and attempt.usage.has_values():
                _record_usage(call, attempt.usage, attempt.provider_name, attempt.model_name)
            if attempt.error is None:
                call.finished(provider=attempt.provider_name, model=attempt.model_name)
                continue
            self._run.emit(
                ModelFailed(
                    model_call_id=call.id,
                    error_type=attempt.error.partition(":")[0],
                    error=attempt.error,
                    duration_ms=round(1000 * attempt.duration.total_seconds()),
                    timestamp=now(),
                )
            )


class ModelCalls:
    """The calls of one run. `asked` says by a tool call's id which call of a model asked for it."""

    def __init__(self, run: RunRecorder) -> None:
        self.asked: dict[str, str] = {}
        self._run = run
        self._of_request: list[RecordedCall] = []

    @property
    def current(self) -> RecordedCall | None:
        """The latest call of the request that is going on."""
        return self._of_request[-1] if self._of_request else None

    def begin(
        self,
        model: Model,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> RecordedCall | None:
        """Record that a model is called, unless it is asked again for what it works on; return the call, if all went well."""
        call = None
        with unobtrusive():
            waits_for = _worked_on(model, messages)
            call = self._waiting_for(waits_for)
            if call is None:
                sent = _sent(model, messages, settings, parameters, has_content=self._run.has_content)
                call = self._begin(model, sent)
                call.used_before = None if waits_for is None else waits_for.usage
        return call

    def given(self, model: Model, response: ModelResponse) -> None:
        """Record an answer that somebody gave in a model's place."""
        with unobtrusive():
            self._begin(model, {}).answered(response)
        self.accepted(response)

    def accepted(self, response: ModelResponse) -> None:
        """Record that this answer of the request is a part of the conversation, and no other."""
        *others, last = self._of_request
        for each in others:
            if each.has_answered:
                each.discarded("another answer was taken")
        last.committed(response)

    def rejected(self) -> None:
        """Record that no answer of the request is a part of the conversation."""
        for each in self._of_request:
            each.discarded("no answer was taken")

    @property
    def have_answered(self) -> bool:
        """Whether anything came of the request."""
        return any(each.has_answered for each in self._of_request)

    def stop_all(self, error: BaseException) -> None:
        """Record the end of the calls that have none, as the run was stopped by `error`: they hear of it later than the run."""
        for each in self._of_request:
            if not each.is_over:
                each.closed(error)

    def request_is_over(self) -> None:
        """Forget the request: what is called next is another one's."""
        self._of_request.clear()

    def _begin(self, model: Model, sent: dict[str, Any]) -> RecordedCall:
        call = RecordedCall(self._run, model, self._run.model_call(**named(model), **sent), self.asked)
        self._of_request.append(call)
        return call

    def _waiting_for(self, answer: ModelResponse | None) -> RecordedCall | None:
        before = self.current
        is_the_same = answer and before and before.response_id == answer.provider_response_id
        return before if is_the_same else None


def _worked_on(model: Model, messages: list[ModelMessage]) -> ModelResponse | None:
    """Return the answer that a model is asked for again, if it is."""
    last = messages[-1] if messages else None
    if not isinstance(last, ModelResponse) or last.state != "suspended":
        return None
    return None if model.continuation_delay(last) is None else last


def _sent(
    model: Model,
    messages: list[ModelMessage],
    settings: ModelSettings | None,
    parameters: ModelRequestParameters,
    *,
    has_content: bool,
) -> dict[str, Any]:
    """Return what a model is sent, as the arguments of `RunRecorder.model_call`."""
    with unobtrusive():  # what it raises, the call itself will raise as well
        settings, parameters = model.prepare_request(settings, parameters)
    tools = [*parameters.declared_function_tools, *parameters.output_tools]
    asked: dict[str, JSON] = {name: as_json(each) for name, each in (settings or {}).items() if name not in _WITH_KEYS}
    if parameters.output_object is not None and has_content:
        asked["output_object"] = as_json(parameters.output_object)
    if parameters.native_tools and has_content:
        asked["native_tools"] = as_json(parameters.native_tools)
    return {
        "message_format": MESSAGE_FORMAT,
        "messages": ModelMessagesTypeAdapter.dump_python(messages, mode="json", warnings=False, fallback=str),
        "system_instructions": InstructionPart.join(parameters.instruction_parts or []) or None,
        "tool_definitions": _tools.dump_python(tools, mode="json", warnings=False, fallback=str) or None,
        "parameters": asked or None,
    }


def _record_usage(call: ModelCall, usage: RequestUsage, provider: str | None, model: str | None) -> None:
    call.usage(
        all_input(usage.input_tokens, usage.cache_read_tokens + usage.cache_write_tokens),
        usage.output_tokens,
        cache_read_input_tokens=usage.cache_read_tokens or None,
        cache_creation_input_tokens=usage.cache_write_tokens or None,
        cache_creation_1h_input_tokens=usage.details.get("ephemeral_1h_input_tokens"),
        reasoning_output_tokens=usage.output_reasoning_tokens or None,
        provider=provider,
        model=model,
    )


def _beyond(usage: RequestUsage, before: RequestUsage) -> RequestUsage:
    """Return what an answer used since it had used `before`."""
    return RequestUsage(
        **{name: max(0, getattr(usage, name) - getattr(before, name)) for name in _COUNTED},
        details={name: max(0, count - before.details.get(name, 0)) for name, count in usage.details.items()},
    )
