"""RecordedRun: the hooks that record one run.

- They watch, and change nothing: what comes in goes on as it is, and what is raised is raised again.
- They are outermost, so they see a model, a tool and the run's end as the other capabilities leave them.
- They ask for no streaming. Where the user streams, text and tool calls are recorded as they pass; otherwise with the answer.
- What a model gives is recorded with its call (recorded_call.py). Whether that is a part of the conversation is known when the
  request is over: from what it returned, or, if it raised, from the run's messages.
- A run that somebody else records, as its agent has another recording too, is left alone.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai import DeferredToolRequests, ToolDenied
from pydantic_ai.exceptions import RunCancelled, SkipModelRequest
from pydantic_ai.messages import (
    ModelResponse,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
)

from behest_core.recording.adapter import END_WAIT, pause, resume, stop, unobtrusive
from behest_pydantic_ai.model_calls import ModelCalls
from behest_pydantic_ai.recorded_call import finish_reason_of
from behest_pydantic_ai.recorded_model import recorded
from behest_pydantic_ai.recorded_tools import RecordedTools, caller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable

    from pydantic_ai import AgentRunResult, AgentStreamEvent, DeferredToolResults, RunContext
    from pydantic_ai.capabilities.abstract import AgentNode, WrapModelRequestHandler, WrapRunHandler
    from pydantic_ai.models import Model, ModelRequestContext

    from behest_core.recording.adapter import Store
    from behest_core.recording.recorder import RunRecorder

    Begin = Callable[[RunContext[Any], RunRecorder | None], RunRecorder]


class RecordedRun(RecordedTools):
    """The capability of one run."""

    def __init__(self, store: Store, begin: Begin) -> None:
        super().__init__()
        self._store = store
        self._begin = begin
        self._answer: ModelResponse | None = None  # the latest that is a part of the conversation
        self._unanswered: RunContext[Any] | None = None  # of the latest request, if it raised
        self._latest: RunContext[Any] | None = None  # of the node that runs: that of the run has no messages

    # ------------------------------------------------------------ the run

    async def wrap_run(self, ctx: RunContext[Any], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        """Record how the run begins and ends."""
        self._started(ctx)
        if self.run is None:
            return await handler()
        try:
            result = await handler()
            self._completed(result)
        except BaseException as error:
            self._stopped(error)
            raise
        finally:
            with unobtrusive():
                await self.run.aclose(END_WAIT)
        return result

    @unobtrusive()
    def _started(self, ctx: RunContext[Any]) -> None:
        run = self._begin(ctx, caller.get())
        self.calls = ModelCalls(run)
        self.run = run

    @unobtrusive()
    def _completed(self, result: AgentRunResult[Any]) -> None:
        run = self._recorder
        self.look_for_refusals(result.new_messages())
        if isinstance(result.output, DeferredToolRequests):
            self._pause_for(result.output)
        elif self._answer is not None and self._answer.state == "suspended":
            if self.calls.current is not None:
                self.calls.current.left_waiting()
            pause(run, "model response", filter(None, [self._answer.provider_response_id]))
        else:
            run.completed((self._answer and finish_reason_of(self._answer)) or "stop")

    def _pause_for(self, requests: DeferredToolRequests) -> None:
        waiting = {"approval": requests.approvals, "external result": requests.calls}
        pending = [call.tool_call_id for calls in waiting.values() for call in calls]
        pause(self._recorder, " and ".join(reason for reason, calls in waiting.items() if calls), pending)

    @unobtrusive()
    def _stopped(self, error: BaseException) -> None:
        self.calls.stop_all(error)
        self._settle()
        if isinstance(error, RunCancelled):
            self._recorder.cancelled()
            return
        if isinstance(error, Exception) and self._latest is not None:
            self.refuse_all(self._latest.messages, error)
        stop(self._recorder, error)

    # ------------------------------------------------------------ what it goes on with

    async def before_node_run(self, ctx: RunContext[Any], *, node: AgentNode[Any]) -> AgentNode[Any]:
        """Record that the run brings the answer that another one waits for."""
        self._latest = ctx
        if self.run is not None and ctx.agent is not None and ctx.agent.is_user_prompt_node(node):
            self._goes_on(ctx, node.deferred_tool_results)
        return node

    @unobtrusive()
    def _goes_on(self, ctx: RunContext[Any], results: DeferredToolResults | None) -> None:
        last = next((each for each in reversed(ctx.messages) if isinstance(each, ModelResponse)), None)
        if last is None:
            return
        answers = {} if results is None else _answers(results)
        if last.state == "suspended" and last is ctx.messages[-1]:
            answers[last.provider_response_id or ""] = "answered"
        if answers:
            resume(self._store, self._recorder, answers, paused=last.run_id)

    # ------------------------------------------------------------ the model

    def get_wrapper_model(self, model: Model) -> Model | None:
        """Return the model, recorded."""
        return None if self.run is None else recorded(model, self.calls)

    async def wrap_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, handler: WrapModelRequestHandler
    ) -> ModelResponse:
        """Record which answer to a request is taken."""
        if self.run is None:
            return await handler(request_context)
        self._asked(ctx)
        try:
            answer = await handler(request_context)
        except SkipModelRequest as skip:
            self._answered(request_context.model, skip.response)
            raise
        except BaseException:
            self._unanswered = ctx
            raise
        self._answered(request_context.model, answer)
        return answer

    @unobtrusive()
    def _asked(self, ctx: RunContext[Any]) -> None:
        self._settle()
        self.look_for_refusals(ctx.messages)
        self.calls.request_is_over()

    @unobtrusive()
    def _answered(self, model: Model, answer: ModelResponse) -> None:
        self._answer = answer
        if self.calls.have_answered:
            self.calls.accepted(answer)
        else:
            self.calls.given(model, answer)

    @unobtrusive()
    def _settle(self) -> None:
        """Record whether the run's messages have what came of the latest request, if that raised."""
        ctx, self._unanswered = self._unanswered, None
        if ctx is None:
            return
        answers = (message for message in reversed(ctx.messages) if isinstance(message, ModelResponse))
        latest = next(answers, None)
        is_new = latest is not None and latest is not self._answer and latest.run_id == ctx.run_id
        if latest is not None and is_new and self.calls.have_answered:
            self._answer = latest
            self.calls.accepted(latest)
        else:
            self.calls.rejected()

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
                if self.run is not None:
                    self._passed(event)
                yield event

    @unobtrusive()
    def _passed(self, event: AgentStreamEvent) -> None:
        call = self.calls.current
        if call is None:
            return
        match event:
            case (
                PartStartEvent(part=TextPart(content=piece)) | PartDeltaEvent(delta=TextPartDelta(content_delta=piece))
            ):
                call.text(piece)
            case PartEndEvent(part=ToolCallPart() as tool):
                call.asked_for(tool)  # now, as `run_stream` runs the tools of an answer before its request is over


def _answers(results: DeferredToolResults) -> dict[str, str]:
    """Return what was answered, by tool call id, in behest's words."""
    approvals = {
        call_id: "denied" if given is False or isinstance(given, ToolDenied) else "granted"
        for call_id, given in results.approvals.items()
    }
    return {**approvals, **dict.fromkeys(results.calls, "answered")}
