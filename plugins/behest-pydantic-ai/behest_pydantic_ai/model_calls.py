"""ModelCalls: what the models of one run are sent, and which of their answers counts.

- A call is sent the messages, instructions and tools that its model makes its own request from. Headers are left out, as there
  are keys in them.
- What a model answered counts only when the request is over: of several answers to one request the last is a part of the
  conversation, and the text of the others is discarded.
- Asking a provider again for an answer that it works on is the same call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic_ai import ToolDefinition
from pydantic_ai.messages import InstructionPart, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel

from behest_core.recording.adapter import as_json, unobtrusive
from behest_pydantic_ai.recorded_call import RecordedCall

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import AbstractModel, Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings

    from behest_core.model.json import JSON
    from behest_core.recording.recorder import RunRecorder

MESSAGE_FORMAT: Final = "pydantic-ai"
_WITH_KEYS: Final = frozenset({"extra_headers"})
_tools = TypeAdapter(list[ToolDefinition])


def named(model: AbstractModel) -> dict[str, str]:
    """Return provider and name of a model; of one that tries several, those of the first."""
    match model:
        case FallbackModel():
            return named(model.models[0])
        case WrapperModel():
            return named(model.wrapped)
    return {"provider": model.system, "model": model.model_name}


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
