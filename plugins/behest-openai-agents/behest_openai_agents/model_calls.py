"""One call of a model as the SDK makes it: each attempt is one, also where the SDK tries again.

- A streamed text is recorded piece by piece as it passes; what an answer has beyond that is recorded with it.
- The text of a call that fails is no part of the conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from behest_core.recording.adapter import unobtrusive
from behest_openai_agents.reading import Answer, tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents import ModelResponse, Usage
    from agents.items import TResponseStreamEvent
    from openai.types.responses import ResponseUsage

    from behest_core.recording.model_call import ModelCall

_TEXT_DELTAS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class RecordedCall:
    """Records a call. `answer` is told what it answered."""

    def __init__(self, call: ModelCall | None, answer: Callable[[ModelCall, Answer], None]) -> None:
        self._call = call
        self._answer = answer
        self._text = 0  # characters that were recorded
        self._items: list[object] = []  # what a stream gave piece by piece: some end without saying it again
        self.is_over = call is None

    @unobtrusive()
    def event(self, event: TResponseStreamEvent) -> None:
        """Record what a stream gave."""
        if self._call is None or self.is_over:
            return
        self._call.token_came()
        if event.type in _TEXT_DELTAS:
            self._say(cast("str", getattr(event, "delta", "")))
        elif event.type == "response.output_item.done":
            self._items.append(event.item)
        elif event.type in _ENDS:
            self._ended(cast("Any", event).response, is_complete=event.type == "response.completed")

    def _ended(self, response: Any, *, is_complete: bool) -> None:  # noqa: ANN401 (of the package openai)
        if is_complete:
            self._take(Answer(response.output or self._items, response.id), response.usage, response.model)
        else:
            self._use(response.usage, response.model)

    @unobtrusive()
    def answered(self, response: ModelResponse) -> None:
        """Record an answer."""
        if not self.is_over:
            self._take(Answer(response.output, response.response_id), response.usage, None)

    @unobtrusive()
    def stopped(self, error: BaseException) -> None:
        """Record what the call ended with, unless it had an answer."""
        if self._call is None or self.is_over:
            return
        self.is_over = True
        if self._call.has_text and isinstance(error, Exception):
            self._call.text_discarded("the model call failed")
        self._call.failed(error)

    def _say(self, text: str) -> None:
        if text and self._call is not None:
            self._text += len(text)
            self._call.text(text)

    def _take(self, answer: Answer, usage: Usage | ResponseUsage | None, model: str | None) -> None:
        if self._call is None:
            return
        self.is_over = True
        self._say(answer.text[self._text :])
        for each in answer.tool_calls:
            self._call.tool_called(*each)
        self._use(usage, model)
        self._call.finished(
            answer.finish_reason, reasoning=answer.reasoning, response_id=answer.response_id, model=model
        )
        self._call.message_committed(answer.message_id or self._call.id)
        self._answer(self._call, answer)

    def _use(self, usage: Usage | ResponseUsage | None, model: str | None) -> None:
        tokens = tokens_of(usage)
        if tokens is not None and self._call is not None:
            self._call.usage(**tokens, model=model)
