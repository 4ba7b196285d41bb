"""Records agents of Strands Agents in behest: ``Agent(hooks=[BehestHooks(store)])``.

- An invocation of an agent that has the hooks is a run. Where a tool invokes an agent that has them too, that is another run,
  whose metadata names the first as `parent_run_id`.
- Hooks tell where an invocation begins and ends, and which messages are kept. Ours run innermost, after everybody's before it and
  before everybody's after it: so that a hook that denies or raises is known, and none keeps a run from ending.
- What really happens, calling a model or executing a tool, is seen by middleware around it: hooks alone give no streamed text,
  and can't tell a tool that begins from one that an approval holds back. It passes on every event as it is.
- A response that is discarded and asked for again has its text and its tokens in the log, and no AssistantMessageCommitted.
- Nothing of this raises into the agent: what looks into its objects is `unobtrusive`.
"""

from __future__ import annotations

import math
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from strands.hooks import AfterInvocationEvent, BeforeInvocationEvent, HookProvider, MessageAddedEvent
from strands.middleware import ExecuteToolStage, InvokeModelStage, ModelStopReason, ToolResultEvent
from strands.types.exceptions import EventLoopException

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import END_WAIT, as_json, begin, checked, pause, stop, unobtrusive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from typing import Unpack

    from strands.agent.agent_result import AgentResult
    from strands.hooks import HookRegistry
    from strands.middleware import ExecuteToolContext, InvokeModelContext, MiddlewareNext, TypedEvent
    from strands.models import Model
    from strands.types.agent import LocalAgent
    from strands.types.content import Message
    from strands.types.event_loop import Usage
    from strands.types.tools import ToolResult, ToolUse

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

__all__ = ["BehestHooks"]

_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
_PAUSES: Final = frozenset({"interrupt", "checkpoint"})

_caller: ContextVar[RunRecorder | None] = ContextVar("behest_strands_caller", default=None)
"""The run whose tool is executed here."""


class BehestHooks(HookProvider):
    """Records each invocation of the agents that have it among their hooks. Any number of agents can share it.

    `session_id` is by default the session of the run that invokes the agent by a tool, else the agent's own `session_id`: that of
    its session manager, or one for as long as the agent lives. `metadata` is added to each run's. `settings` are `RunRecorder`'s.
    """

    def __init__(
        self,
        store: Store,
        *,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        **settings: Unpack[RecorderSettings],
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._metadata = metadata or {}
        self._settings = checked(settings)

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:  # noqa: ARG002, ANN401 (the framework's signature)
        """Record what the agent does that this registry belongs to."""
        _Invocations(self._begin).register(registry)

    def _begin(self, agent: LocalAgent) -> RunRecorder:
        caller = _caller.get()
        called_by = {} if caller is None else {"parent_run_id": caller.run_id}
        callers_session = None if caller is None else caller.record.session_id
        return begin(
            self._store,
            "strands",
            provider=_provider(agent.model),
            model=_model_id(agent.model),
            session_id=self._session_id or callers_session or getattr(agent, "session_id", None),
            metadata={"agent": agent.name, **called_by, **self._metadata},
            settings=self._settings,
        )


class _Invocations:
    """The invocations of one agent that are under way: one at a time, unless the agent was told to allow more."""

    def __init__(self, begin_run: Callable[[LocalAgent], RunRecorder]) -> None:
        self._begin_run = begin_run
        self._under_way: list[_Invocation] = []
        self._has_middleware = False

    def register(self, registry: HookRegistry) -> None:
        registry.add_callback(BeforeInvocationEvent, self._begin, order=math.inf)
        registry.add_callback(MessageAddedEvent, self._keep_message, order=-math.inf)
        registry.add_callback(AfterInvocationEvent, self._end, order=-math.inf)

    @unobtrusive()
    def _begin(self, event: BeforeInvocationEvent) -> None:
        if not self._has_middleware:
            self._has_middleware = True
            # now, and not when the agent is made: so it is inside of the user's, which may retry or answer from a cache
            event.agent.add_middleware(InvokeModelStage, self._call_model)
            event.agent.add_middleware(ExecuteToolStage, self._execute_tool)
        run = self._begin_run(event.agent)
        self._under_way.append(_Invocation(run, id(event.invocation_state), is_denied=bool(event.cancel)))

    @unobtrusive()
    def _keep_message(self, event: MessageAddedEvent) -> None:
        if event.message["role"] == "assistant":
            answered = [each for each in self._under_way if each.answer is event.message]
            for invocation in answered or self._under_way[-1:]:
                invocation.keep(event.message)

    async def _end(self, event: AfterInvocationEvent) -> None:
        with unobtrusive():
            invocation = self._of(event.invocation_state)
            if invocation is not None:
                self._under_way.remove(invocation)
                # the event tells no exception, but it is sent while that is on its way up
                invocation.end(event.result, sys.exception())
                await invocation.run.aclose(END_WAIT)

    @unobtrusive()
    def _of(self, state: dict[str, Any]) -> _Invocation | None:
        """Find the invocation of this state; else the latest, as `Agent.structured_output` shows another state at its end."""
        latest = self._under_way[-1] if self._under_way else None
        return next((each for each in self._under_way if each.state_id == id(state)), latest)

    async def _call_model(
        self, context: InvokeModelContext, next_fn: MiddlewareNext[InvokeModelContext, TypedEvent]
    ) -> AsyncGenerator[TypedEvent, None]:
        invocation = self._of(context.invocation_state)
        if invocation is not None:
            invocation.model_is_called(context.model)
        async for event in next_fn(context):
            if invocation is not None:
                invocation.model_gave(event)
            yield event

    async def _execute_tool(
        self, context: ExecuteToolContext, next_fn: MiddlewareNext[ExecuteToolContext, TypedEvent]
    ) -> AsyncGenerator[TypedEvent, None]:
        invocation = self._of(context.invocation_state)
        if invocation is not None:
            invocation.tool_begins(context.tool_use)
        caller = _caller.get()
        _caller.set(None if invocation is None else invocation.run)
        try:
            async for event in next_fn(context):
                if invocation is not None and isinstance(event, ToolResultEvent):
                    invocation.tool_ended(context.tool_use, event.tool_result)
                yield event
        finally:
            _caller.set(caller)  # not by a token: a generator may be closed in another context


class _Invocation:
    """What is known of an invocation, and how it is written down.

    `state_id` is the identity of its `invocation_state`, `answer` the latest message of its model.
    """

    def __init__(self, run: RunRecorder, state_id: int, *, is_denied: bool) -> None:
        self.run = run
        self.state_id = state_id
        self.answer: Message | None = None
        self._is_denied = is_denied
        self._has_text = False  # of the model call that is under way

    @unobtrusive()
    def model_is_called(self, model: Model) -> None:
        self._has_text = False
        self.run.model_started(provider=_provider(model), model=_model_id(model))

    @unobtrusive()
    def model_gave(self, event: TypedEvent) -> None:
        if isinstance(event, ModelStopReason):
            self.answer = event.message
            used = _tokens(event.usage)
            if any(used.values()):  # all are 0 where the provider told none
                self.run.usage(**used)
        elif text := event.get("data"):
            self._has_text = True
            self.run.text(text)

    @unobtrusive()
    def keep(self, message: Message) -> None:
        text = "".join(block["text"] for block in message["content"] if "text" in block)
        if text and not self._has_text:  # not from a model: a hook's last word, or an answer from a cache
            self.run.text(text)
        for block in message["content"]:
            if "toolUse" in block:
                asked = block["toolUse"]
                self.run.tool_called(asked["toolUseId"], asked["name"], as_json(asked["input"]))
        self.run.message_committed(message.get("tracking_id"))
        self._has_text = False

    @unobtrusive()
    def tool_begins(self, asked: ToolUse) -> None:
        self.run.tool_started(asked["toolUseId"], asked["name"])

    @unobtrusive()
    def tool_ended(self, asked: ToolUse, result: ToolResult) -> None:
        self.run.tool_finished(asked["toolUseId"], asked["name"], _tool_result(result))

    @unobtrusive()
    def end(self, result: AgentResult | None, error: BaseException | None) -> None:
        if result is not None:
            self._stop(result)
        elif error is not None:
            stop(self.run, error.original_exception if isinstance(error, EventLoopException) else error)
        elif self._is_denied:
            self.run.cancelled()
        else:
            self.run.completed()  # Agent.structured_output, which has no AgentResult

    def _stop(self, result: AgentResult) -> None:
        reason = result.stop_reason
        if reason == "cancelled":
            self.run.cancelled()
        elif reason in _PAUSES:
            interrupts = result.interrupts or ()
            names = ", ".join(str(each.name) for each in interrupts)
            pause(self.run, names or reason, [each.id for each in interrupts])
        else:
            self.run.completed(_FINISH_REASONS.get(reason, reason))


def _provider(model: Model) -> str:
    """Return the name of the framework's module that the model's class, or one it is made from, comes from."""
    for each in type(model).__mro__:
        package, _, name = each.__module__.rpartition(".")
        if package == "strands.models" and name != "model":
            return name.removesuffix("_responses")  # another interface of the same provider
    return type(model).__name__


def _model_id(model: Model) -> str:
    config = model.get_config()
    known = config.get("model_id") if isinstance(config, dict) else None
    return str(known or type(model).__name__)


def _tokens(usage: Usage) -> dict[str, int]:
    """Return the tokens of one call as `RunRecorder.usage` takes them.

    Providers count cached tokens within the input or beside it, and the total tells which, as in the framework's own metrics.
    """
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    input_tokens, output_tokens = usage["inputTokens"], usage["outputTokens"]
    cached = {"cache_read_input_tokens": read, "cache_creation_input_tokens": written}
    if usage.get("totalTokens", 0) - input_tokens - output_tokens < read + written:
        cached = {"cached_input_tokens": read, "cache_creation_input_tokens": written}
        input_tokens = max(0, input_tokens - written)
    counted = {name: count for name, count in cached.items() if count}
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, **counted}


def _tool_result(result: ToolResult) -> ToolExecutionResult:
    blocks: list[Any] = [block.get("text", block.get("json", block)) for block in result["content"]]
    if result.get("status") == "error":
        return ToolExecutionResult.failed("\n".join(str(each) for each in blocks))
    return ToolExecutionResult.ok(as_json(blocks[0] if len(blocks) == 1 else blocks))
