"""RecordedRun: the hooks that record one run.

- They watch, and change nothing: what comes in goes on as it is, and what is raised is raised again.
- They are outermost, so they see a model's answer, a tool and the run's end as the other capabilities leave them.
- They ask for no streaming. Where the user streams, text and tool calls are recorded as they pass; otherwise with the answer.
- An answer is recorded when its request is over. If the request raised, as it was stopped in the middle or another capability
  wants it repeated, the run's messages say what came of it and what it used: before the next request, or when the run ends.
- A request may have gone through several models (FallbackModel, ModelFallback). Each is a model call.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic_ai import DeferredToolRequests
from pydantic_ai.exceptions import FallbackExceptionGroup, RunCancelled, SkipModelRequest
from pydantic_ai.messages import (
    ModelResponse,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
)
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel

from behest_core.recording.adapter import END_WAIT, as_json, pause, stop, unobtrusive
from behest_pydantic_ai.recorded_tools import RecordedTools, caller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence

    from pydantic_ai import AgentRunResult, AgentStreamEvent, RunContext
    from pydantic_ai.capabilities.abstract import WrapModelRequestHandler, WrapRunHandler
    from pydantic_ai.messages import ModelRequestAttempt
    from pydantic_ai.models import AbstractModel, Model, ModelRequestContext
    from pydantic_ai.usage import RequestUsage

    from behest_core.recording.recorder import RunRecorder


_FINISH_REASONS: Final = {"tool_call": "tool_calls"}  # the others are the same words


def named(model: AbstractModel) -> dict[str, str]:
    """Return provider and name of a model; of one that tries several, those of the first."""
    match model:
        case FallbackModel():
            return named(model.models[0])
        case WrapperModel():
            return named(model.wrapped)
    return {"provider": model.system, "model": model.model_name}


class RecordedRun(RecordedTools):
    """The capability of one run."""

    def __init__(self, begin: Callable[[RunContext[Any], str | None], RunRecorder]) -> None:
        self._begin = begin
        self._answer: ModelResponse | None = None  # the latest that is recorded
        self._unanswered: RunContext[Any] | None = None  # of the latest request, if it raised
        self._has_text = False  # of the latest request, like
        self._calls: set[str] = set()

    # ------------------------------------------------------------ the run

    async def wrap_run(self, ctx: RunContext[Any], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        """Record how the run begins and ends."""
        self._started(ctx)
        try:
            result = await handler()
            self._completed(result)
        except BaseException as error:
            self._stopped(error)
            raise
        finally:
            with unobtrusive():
                await self._run.aclose(END_WAIT)
        return result

    @unobtrusive()
    def _started(self, ctx: RunContext[Any]) -> None:
        self._run = self._begin(ctx, caller.get())
        self._run_id = self._run.run_id

    @unobtrusive()
    def _completed(self, result: AgentRunResult[Any]) -> None:
        if isinstance(result.output, DeferredToolRequests):
            self._pause_for(result.output)
        elif self._answer is not None and self._answer.state == "suspended":
            pause(self._run, "model response", filter(None, [self._answer.provider_response_id]))
        else:
            reason = (self._answer and self._answer.finish_reason) or "stop"
            self._run.completed(_FINISH_REASONS.get(reason, reason))

    def _pause_for(self, requests: DeferredToolRequests) -> None:
        waiting = {"approval": requests.approvals, "external result": requests.calls}
        pending = [call.tool_call_id for calls in waiting.values() for call in calls]
        pause(self._run, " and ".join(reason for reason, calls in waiting.items() if calls), pending)

    @unobtrusive()
    def _stopped(self, error: BaseException) -> None:
        self._settle()
        if isinstance(error, RunCancelled):
            self._run.cancelled()
        else:
            stop(self._run, error)

    # ------------------------------------------------------------ the model

    async def wrap_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, handler: WrapModelRequestHandler
    ) -> ModelResponse:
        """Record a request to the model, and its answer."""
        self._called(request_context.model)
        try:
            answer = await handler(request_context)
        except SkipModelRequest as skip:
            self._answered(skip.response)
            raise
        except BaseException as error:
            self._not_answered(ctx, error)
            raise
        self._answered(answer)
        return answer

    @unobtrusive()
    def _called(self, model: Model) -> None:
        self._settle()
        self._has_text, self._calls = False, set()
        self._run.model_started(**named(model))

    @unobtrusive()
    def _answered(self, answer: ModelResponse) -> None:
        self._answer = answer
        if answer.failed_attempts:
            self._tried(answer.failed_attempts)
            self._run.model_started(provider=answer.provider_name, model=answer.model_name)
        if answer.text and not self._has_text:
            self._run.text(answer.text)
        for call in answer.tool_calls:
            self._asked_for(call)
        self._used(answer.usage)
        if answer.parts:
            self._run.message_committed(answer.provider_response_id)

    @unobtrusive()
    def _asked_for(self, call: ToolCallPart) -> None:
        if call.tool_call_id not in self._calls:
            self._calls.add(call.tool_call_id)
            self._run.tool_called(call.tool_call_id, call.tool_name, as_json(call.args_as_dict()))

    @unobtrusive()
    def _not_answered(self, ctx: RunContext[Any], error: BaseException) -> None:
        self._unanswered = ctx
        if isinstance(error, FallbackExceptionGroup):
            self._tried(error.attempts)

    @unobtrusive()
    def _settle(self) -> None:
        """Record what the run's messages have of the latest request, if that raised."""
        ctx, self._unanswered = self._unanswered, None
        if ctx is None:
            return
        answers = (message for message in reversed(ctx.messages) if isinstance(message, ModelResponse))
        latest = next(answers, None)
        if latest is not None and latest is not self._answer and latest.run_id == ctx.run_id:
            self._answered(latest)

    @unobtrusive()
    def _tried(self, attempts: Sequence[ModelRequestAttempt]) -> None:
        """Record the models that a request went through in vain. The first is started already."""
        for number, attempt in enumerate(attempts):
            if number:
                self._run.model_started(provider=attempt.provider_name, model=attempt.model_name)
            if attempt.usage is not None:
                self._used(attempt.usage)

    def _used(self, usage: RequestUsage) -> None:
        """Record tokens. Of Pydantic AI's input tokens, those read from the cache and those written to it are a part."""
        if not usage.has_values():
            return
        cached = {
            "cached_input_tokens": usage.cache_read_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
        }
        self._run.usage(
            usage.input_tokens - usage.cache_write_tokens,
            usage.output_tokens,
            **{name: tokens for name, tokens in cached.items() if tokens},
        )

    # ------------------------------------------------------------ what passes, where the user streams

    @property
    def has_wrap_run_event_stream(self) -> bool:
        """Say that no stream is needed: with one, every run would stream. Where there is one, it is wrapped all the same."""
        return False

    async def wrap_run_event_stream(
        self, ctx: RunContext[Any], *, stream: AsyncIterable[AgentStreamEvent]
    ) -> AsyncIterable[AgentStreamEvent]:
        """Record the text and the tool calls that pass."""
        passing = cast("AsyncGenerator[AgentStreamEvent]", super().wrap_run_event_stream(ctx, stream=stream))
        async with aclosing(passing):
            async for event in passing:
                self._passed(event)
                yield event

    @unobtrusive()
    def _passed(self, event: AgentStreamEvent) -> None:
        match event:
            case (
                PartStartEvent(part=TextPart(content=piece)) | PartDeltaEvent(delta=TextPartDelta(content_delta=piece))
            ):
                if piece:
                    self._has_text = True
                    self._run.text(piece)
            case PartEndEvent(part=ToolCallPart() as call):
                self._asked_for(call)  # now, as `run_stream` runs the tools of an answer before its request is over
