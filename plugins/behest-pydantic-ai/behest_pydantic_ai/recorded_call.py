"""RecordedCall: what one call of a model gives.

- A model that tries others by itself, inside a wrapper of somebody else's, is one call, and each model that it says it tried in
  vain is another one.
- A provider that is asked again for an answer that it works on counts on: its tokens are recorded when the answer is there.
- Pydantic AI counts cached tokens into `input_tokens`, as behest does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pydantic_ai.exceptions import FallbackExceptionGroup
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.usage import RequestUsage

from behest_core.model.agent_events import ModelFailed
from behest_core.model.timestamps import now
from behest_core.recording.adapter import all_input, as_json, unobtrusive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ModelRequestAttempt, ModelResponse, ToolCallPart
    from pydantic_ai.models import Model, StreamedResponse

    from behest_core.recording.model_call import ModelCall
    from behest_core.recording.recorder import RunRecorder

_FINISH_REASONS: Final = {"tool_call": "tool_calls"}  # the others are the same words
_COUNTED: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_reasoning_tokens",
)


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
