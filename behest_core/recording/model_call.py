"""One call of a model, as it goes on: all that it gives is recorded under the call's id.

So whatever runs at the same time, text, tools and tokens belong to the call that gave them. A call ends once, by `finished` or by
`failed`; what comes later is recorded all the same, as providers tell some things late.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET, UnsetType

from behest_core.model.agent_events import ModelFailed, ModelFinished, TextDiscarded
from behest_core.model.events import (
    AssistantMessageCommitted,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    UsageRecorded,
)
from behest_core.model.state import TokenUsage
from behest_core.model.timestamps import now
from behest_core.recording.failures import causes_of, error_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.model.events import Event
    from behest_core.model.json import JSON

_Value = TypeVar("_Value")

_LONG = 50_000  # characters, of at most six bytes of JSON each: of an event there is room for other things


class ModelCall:
    """A call of a model; `RunRecorder.model_call` begins it. `id` is its `model_call_id`, `step_id` the step that it is in."""

    def __init__(self, emit: Callable[[Event], None], model_call_id: str, step_id: str | UnsetType) -> None:
        self.id = model_call_id
        self.step_id = step_id
        self._emit = emit
        self._began = time.monotonic()
        self._first_token_ms: int | UnsetType = UNSET
        self.has_text = False
        """Whether the call gave text that counts: what was discarded does not."""

    def text(self, delta: str) -> None:
        """Record a piece of text that the model wrote."""
        self.token_came()
        self.has_text = True
        self._emit(TextDelta(delta=delta, model_call_id=self.id, step_id=self.step_id, timestamp=now()))

    def token_came(self) -> None:
        """Say that something came from the model: the first time counts as the time to its first token."""
        if self._first_token_ms is UNSET:
            self._first_token_ms = self._so_far()

    def tool_called(self, call_id: str, name: str, arguments: JSON) -> None:
        """Record that the model asked for a tool."""
        self.token_came()
        self._emit(
            ToolCallCompleted(
                call=ToolCall(call_id, name, arguments),
                model_call_id=self.id,
                step_id=self.step_id,
                timestamp=now(),
            )
        )

    def usage(  # noqa: PLR0913 (what a provider counts)
        self,
        input_tokens: int,
        output_tokens: int,
        *,
        cache_read_input_tokens: int | None = None,
        cache_creation_input_tokens: int | None = None,
        cache_creation_1h_input_tokens: int | None = None,
        reasoning_output_tokens: int | None = None,
        provider: str | None = None,
        model: str | None = None,
    ) -> None:
        """Record the tokens that the call used.

        `input_tokens` are all that the model was given: those read from a cache, or written to it, are a part of them. Of what
        was written `cache_creation_1h_input_tokens` are kept for an hour. `reasoning_output_tokens` are a part of the output.
        `provider` and `model` are who answered.
        """
        usage = TokenUsage(
            input_tokens,
            output_tokens,
            input_tokens + output_tokens,
            cache_creation_input_tokens=_given(cache_creation_input_tokens),
            cache_read_input_tokens=_given(cache_read_input_tokens),
        )
        self._emit(
            UsageRecorded(
                usage=usage,
                provider=_given(provider),
                model=_given(model),
                reasoning_output_tokens=_given(reasoning_output_tokens),
                cache_creation_1h_input_tokens=_given(cache_creation_1h_input_tokens),
                model_call_id=self.id,
                step_id=self.step_id,
                timestamp=now(),
            )
        )

    def finished(  # noqa: PLR0913 (what a provider answers)
        self,
        finish_reason: str | None = None,
        *,
        text: str | None = None,
        reasoning: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        response_id: str | None = None,
    ) -> None:
        """Record that the answer is complete, and what is not told yet of it.

        `text` is recorded where the call gave none in pieces; a long one in pieces, which no item bounds.
        """
        if text is not None and len(text) > _LONG and not self.has_text:
            self.text(text)
        self._emit(
            ModelFinished(
                model_call_id=self.id,
                finish_reason=_given(finish_reason),
                provider=_given(provider),
                model=_given(model),
                response_id=_given(response_id),
                duration_ms=self._so_far(),
                first_token_ms=self._first_token_ms,
                text=_given(None if self.has_text else text),
                reasoning=_given(reasoning or None),
                step_id=self.step_id,
                timestamp=now(),
            )
        )

    def failed(self, error: BaseException) -> None:
        """Record that the call raised, or was stopped."""
        self._emit(
            ModelFailed(
                model_call_id=self.id,
                error_type=type(error).__name__,
                error=error_text(error),
                causes=causes_of(error) or UNSET,
                duration_ms=self._so_far(),
                step_id=self.step_id,
                timestamp=now(),
            )
        )

    def text_discarded(self, reason: str) -> None:
        """Record that what the call wrote so far is not a part of the conversation."""
        self.has_text = False
        self._emit(TextDiscarded(model_call_id=self.id, reason=reason, step_id=self.step_id, timestamp=now()))

    def message_committed(self, message_id: str) -> None:
        """Record that the call's message is a part of the conversation."""
        self._emit(
            AssistantMessageCommitted(
                message_id=message_id, model_call_id=self.id, step_id=self.step_id, timestamp=now()
            )
        )

    def _so_far(self) -> int:
        return round(1000 * (time.monotonic() - self._began))


def _given(value: _Value | None) -> _Value | UnsetType:
    return UNSET if value is None else value
