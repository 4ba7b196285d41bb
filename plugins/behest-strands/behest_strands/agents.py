"""An agent's hooks and middleware.

- Hooks tell where an invocation begins and ends, and which messages are kept. Ours run innermost, after everybody's before it and
  before everybody's after it: so that a hook that denies or raises is known, and none keeps a run from ending.
- What really happens, calling a model or executing a tool, is seen by middleware around it: hooks alone give no streamed text,
  and can't tell a tool that begins from one that an approval holds back. It passes on every event as it is.
- What an agent waits for, and what it is answered, is in its interrupt state, which the framework keeps in the session. It isn't
  public: `waiting` is the one place that looks into it.
"""

from __future__ import annotations

import math
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from strands.hooks import AfterInvocationEvent, BeforeInvocationEvent, MessageAddedEvent
from strands.middleware import ExecuteToolStage, InvokeModelStage, ToolResultEvent

from behest_core.recording.adapter import END_WAIT, resume, unobtrusive
from behest_strands.invocation import Invocation
from behest_strands.sent import SeenModel
from behest_strands.translation import answers_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from strands.hooks import HookRegistry
    from strands.middleware import ExecuteToolContext, InvokeModelContext, MiddlewareNext, TypedEvent
    from strands.types.agent import LocalAgent

    from behest_core.recording.adapter import Store
    from behest_core.recording.recorder import RunRecorder
    from behest_strands.invocation import Answer, RunningTool
    from behest_strands.sent import Sent

caller: Final[ContextVar[RunRecorder | None]] = ContextVar("behest_strands_caller", default=None)
"""The run whose tool is executed here."""


def waiting(agent_or_team: object) -> Any:  # noqa: ANN401 (a private class)
    """Return the interrupt state of what has one and waits for an answer, or goes on with it; else None."""
    state = getattr(agent_or_team, "_interrupt_state", None)
    return state if getattr(state, "activated", False) else None


class Invocations:
    """The invocations of one agent that are under way: one at a time, unless the agent was told to allow more."""

    def __init__(self, store: Store, begin_run: Callable[[LocalAgent], RunRecorder]) -> None:
        self._store = store
        self._begin_run = begin_run
        self._under_way: list[Invocation] = []
        self._has_middleware = False
        self._paused: str | None = None

    def register(self, registry: HookRegistry) -> None:
        """Have the agent's hooks call us."""
        registry.add_callback(BeforeInvocationEvent, self._begin, order=math.inf)
        registry.add_callback(MessageAddedEvent, self._note_message, order=-math.inf)
        registry.add_callback(AfterInvocationEvent, self._end, order=-math.inf)

    @unobtrusive()
    def _begin(self, event: BeforeInvocationEvent) -> None:
        if not self._has_middleware:
            self._has_middleware = True
            # now, and not when the agent is made: so it is inside of the user's, which may retry or answer from a cache
            event.agent.add_middleware(InvokeModelStage, self._call_model)
            event.agent.add_middleware(ExecuteToolStage, self._execute_tool)
        run = self._begin_run(event.agent)
        invocation = Invocation(run, id(event.invocation_state), is_denied=bool(event.cancel))
        self._under_way.append(invocation)
        with unobtrusive():
            self._go_on(invocation, event.agent)

    def _go_on(self, invocation: Invocation, agent: LocalAgent) -> None:
        """Record whom the invocation answers, where it answers somebody."""
        state = waiting(agent)
        if state is not None:
            resume(self._store, invocation.run, answers_in(state.context.get("responses", ())), paused=self._paused)
            pending = state.pending_tool_execution
            if pending is not None:
                invocation.awaits(pending.assistant_message, pending.completed_tool_results)
        elif getattr(agent, "_checkpoint", None) is not None:
            resume(self._store, invocation.run, {}, paused=self._paused)
        self._paused = None

    @unobtrusive()
    def _note_message(self, event: MessageAddedEvent) -> None:
        if event.message["role"] == "assistant":
            answered = [each for each in self._under_way if each.has_answered(event.message)]
            for invocation in answered or self._under_way[-1:]:
                invocation.keep(event.message)
        else:
            for invocation in self._under_way:
                invocation.results(event.message)

    async def _end(self, event: AfterInvocationEvent) -> None:
        with unobtrusive():
            invocation = self._of(event.invocation_state)
            if invocation is not None:
                self._under_way.remove(invocation)
                # the event tells no exception, but it is sent while that is on its way up
                invocation.end(event.result, sys.exception())
                if invocation.is_paused_by(event.result):
                    self._paused = invocation.run.run_id
                await invocation.run.aclose(END_WAIT)

    @unobtrusive()
    def _of(self, state: dict[str, Any]) -> Invocation | None:
        """Find the invocation of this state; else the latest, as `Agent.structured_output` shows another state at its end."""
        latest = self._under_way[-1] if self._under_way else None
        return next((each for each in self._under_way if each.state_id == id(state)), latest)

    async def _call_model(
        self, context: InvokeModelContext, next_fn: MiddlewareNext[InvokeModelContext, TypedEvent]
    ) -> AsyncGenerator[TypedEvent, None]:
        invocation = self._of(context.invocation_state)
        if invocation is None:
            async for event in next_fn(context):
                yield event
            return
        answers: list[Answer] = []
        model = context.model

        def saw(sent: Sent) -> None:
            answers.append(invocation.model_is_called(model, sent))

        try:
            async for event in next_fn(context.replace(model=SeenModel(model, saw))):  # type: ignore[arg-type]  # as good as
                for answer in answers[-1:]:
                    invocation.model_gave(answer, event)
                yield event
        except BaseException as error:
            for answer in answers:
                invocation.model_failed(answer, error)
            raise

    async def _execute_tool(
        self, context: ExecuteToolContext, next_fn: MiddlewareNext[ExecuteToolContext, TypedEvent]
    ) -> AsyncGenerator[TypedEvent, None]:
        invocation = self._of(context.invocation_state)
        tool: RunningTool | None = None
        if invocation is not None and context.tool is not None:  # else nobody knows it: it is refused
            tool = invocation.tool_begins(context.tool_use)
        before = caller.get()
        caller.set(None if invocation is None else invocation.run)
        try:
            async for event in next_fn(context):
                if tool is not None and isinstance(event, ToolResultEvent):
                    tool.ended(event.tool_result)
                elif tool is not None and "tool_interrupt_event" in event:
                    tool.waits()
                yield event
        except BaseException as error:
            if tool is not None:
                tool.failed(error)
            raise
        finally:
            caller.set(before)  # not by a token: a generator may be closed in another context
