"""The model calls of a root run, each by the id that LangChain gave it, and which of them asked for which tool.

- Of several candidates a model call answers with the first one.
- Tools are asked for under the provider's call ids; without one, under that of the model call and the position in its answer. An
  id that an answer has twice is the same in the log, too: which is which, their order tells.
- Text of a call that fails is no part of the conversation, whoever is asked instead.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from langchain_core.outputs import Generation

from behest_core.recording.adapter import as_json
from behest_langchain.usage import StreamedUsage, reported, tokens
from behest_langchain.words import finish_reason, reasoning_of, sent, who_answered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

    from behest_core.recording.model_call import ModelCall
    from behest_core.recording.recorder import RunRecorder


class Asked:
    """The tools that models asked for: under which id each is recorded, and for which call."""

    def __init__(self) -> None:
        self._by_id: dict[str, deque[tuple[str, str]]] = {}

    def add(self, call_id: str, recorded_as: str, model_call_id: str) -> None:
        """Note that a tool was asked for."""
        self._by_id.setdefault(call_id, deque()).append((recorded_as, model_call_id))

    def take(self, call_id: str) -> tuple[str, str | None]:
        """Return under which id a tool is recorded that begins now, and who asked for it. The last one may begin again."""
        waiting = self._by_id.get(call_id)
        if not waiting:
            return call_id, None
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


class RecordedCall:
    """A model call that has not ended."""

    def __init__(self, call: ModelCall, provider: str | None) -> None:
        self._call = call
        self._provider = provider
        self._usage = StreamedUsage()
        self.is_over = False

    def token(self, token: object, chunk: GenerationChunk | ChatGenerationChunk | None) -> None:
        """Record a piece of the message. It may have text, a part of a tool call, or tokens used."""
        self._call.token_came()
        text = token if chunk is None else chunk.text
        if isinstance(text, str) and text:
            self._call.text(str(text))
        usage = getattr(getattr(chunk, "message", None), "usage_metadata", None)
        if usage:
            self._usage.add(usage)

    def answered(self, run: RunRecorder, response: LLMResult, asked: Asked) -> str | None:
        """Record that the call ended with a message; return why the model stopped."""
        self.is_over = True
        generation = next((each for candidates in response.generations for each in candidates), Generation(text=""))
        message: Any = getattr(generation, "message", None)  # models that aren't chat models give text only
        told = {**(generation.generation_info or {}), **getattr(message, "response_metadata", {})}
        if generation.text and not self._call.has_text:
            self._call.text(str(generation.text))
        self._asked_for(run, message, asked)
        self._used(message, told, response.llm_output or {})
        reason = finish_reason(told)
        message_id = getattr(message, "id", None)
        response_id = told.get("id") or (None if str(message_id).startswith(("run-", "lc_")) else message_id)
        self._call.finished(reason, reasoning=reasoning_of(message), response_id=response_id, **who_answered(told))
        self._call.message_committed(message_id or self._call.id)
        return reason

    def failed(self, error: BaseException) -> None:
        """Record that the call failed or was stopped, and the tokens that its stream has told so far."""
        self.is_over = True
        if self._usage.latest is not None and (counts := tokens(self._usage.latest, self._provider)) is not None:
            self._call.usage(**counts)
        if self._call.has_text and isinstance(error, Exception):
            self._call.text_discarded("the model call failed")
        self._call.failed(error)

    def _asked_for(self, run: RunRecorder, message: Any, asked: Asked) -> None:  # noqa: ANN401 (a message, if any)
        calls = getattr(message, "tool_calls", ())
        for position, each in enumerate([*calls, *getattr(message, "invalid_tool_calls", ())]):
            call_id, name = each["id"] or "", each["name"] or ""
            recorded_as = call_id or f"{self._call.id}/{position}"
            self._call.tool_called(recorded_as, name, as_json(each["args"]))
            if position < len(calls):
                asked.add(call_id, recorded_as, self._call.id)
            else:
                reason = each.get("error") or "its arguments are no JSON"
                run.tool_refused(recorded_as, name, reason, model_call_id=self._call.id)

    def _used(self, message: object, told: Mapping[str, Any], llm_output: Mapping[str, Any]) -> None:
        usage = getattr(message, "usage_metadata", None)
        if self._usage.is_cumulative or not usage:
            usage = self._usage.latest
        counts = tokens(usage, self._provider) if usage else None
        if not usage:
            counts = reported(told, self._provider) or reported(llm_output, self._provider)
        if counts is not None:
            self._call.usage(**counts, **who_answered(told))


def begin_call(  # noqa: PLR0913, PLR0917 (what a model is sent)
    run: RunRecorder,
    call: UUID,
    prompt: str | Sequence[BaseMessage],
    metadata: Mapping[str, Any],
    parameters: Mapping[str, Any],
    step_id: str | None,
) -> RecordedCall:
    """Record that a model is called, and what it is sent."""
    provider = metadata.get("ls_provider")
    begun = run.model_call(
        provider=provider,
        model=metadata.get("ls_model_name"),
        model_call_id=str(call),
        step_id=step_id,
        **sent(prompt, parameters, has_content=run.has_content),
    )
    return RecordedCall(begun, provider)
