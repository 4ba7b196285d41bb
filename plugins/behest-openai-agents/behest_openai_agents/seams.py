"""Where the SDK is looked into: its models, its guardrails, and the runs that tools start inside of a run.

Hooks don't tell of calls that fail or are tried again, of guardrails, or of an agent that is used as a tool. So three things of
the SDK's are replaced when this module is imported. Outside of a recorded run they do what they did.

- What gives a turn its model, private to the SDK: a call goes through a stand-in, which sees the arguments and the answer.
- `run` of the guardrails' classes.
- The default runner, which `Runner` hands each run to. Where a program sets another one later, agents that are used as tools are
  no steps of their own.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

from agents import InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail
from agents.run import AgentRunner, get_default_agent_runner, set_default_agent_runner
from agents.run_internal import run_loop

from behest_core.recording.adapter import unobtrusive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

    from agents import Agent, Model, ModelResponse, RunConfig
    from agents.items import TResponseStreamEvent
    from agents.result import RunResult, RunResultStreaming


class SeenCall(Protocol):
    """A call of a model, as it goes on. None of these raises."""

    def event(self, event: TResponseStreamEvent) -> None:
        """Take what a stream gave."""

    def answered(self, response: ModelResponse) -> None:
        """Take an answer."""

    def stopped(self, error: BaseException) -> None:
        """Take what the call, or its stream, ended with; also where it had answered before."""


class Watching(Protocol):
    """Whoever records a run, or a run inside of it. None of these raises."""

    is_entered: bool
    """Whether the SDK's runner has begun with this very run; what it begins next is inside of it."""

    def called(self, agent: Agent[Any], config: RunConfig, *arguments: Any, **more: Any) -> SeenCall:  # noqa: ANN401
        """Take a call of a model."""

    def guardrail(self, name: str) -> AbstractContextManager[None]:
        """Surround a guardrail."""

    def inside(self, agent: Agent[Any], more: dict[str, Any]) -> tuple[Watching, dict[str, Any]]:
        """Take a run that a tool starts; return who records it, and what the SDK is to run it with."""

    def left(self, error: BaseException | None = None) -> None:
        """Take the end of such a run."""


watching: ContextVar[Watching | None] = ContextVar("behest_openai_agents_watching", default=None)
"""Who records what happens here."""


# ---------------------------------------------------------------- models


class SeenModel:
    """A model whose calls are seen. It has the class and the attributes of the model."""

    def __init__(self, model: Model, agent: Agent[Any], config: RunConfig, watcher: Watching) -> None:
        self._model, self._agent, self._config, self._watcher = model, agent, config, watcher

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the model has)
        return getattr(self._model, name)

    @property  # type: ignore[misc]  # what isinstance looks at
    def __class__(self) -> type:
        return type(self._model)

    def __eq__(self, other: object) -> bool:
        return self._model is getattr(other, "_model", other)

    def __hash__(self) -> int:
        return hash(self._model)

    async def get_response(self, *arguments: Any, **more: Any) -> ModelResponse:  # noqa: ANN401 (as they come)
        """Hand the call on."""
        call = self._watcher.called(self._agent, self._config, *arguments, **more)
        try:
            response = await self._model.get_response(*arguments, **more)
        except BaseException as error:
            call.stopped(error)
            raise
        call.answered(response)
        return response

    async def stream_response(
        self,
        *arguments: Any,  # noqa: ANN401 (the same)
        **more: Any,  # noqa: ANN401 (the same)
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Hand the call on."""
        call = self._watcher.called(self._agent, self._config, *arguments, **more)
        stream: Any = self._model.stream_response(*arguments, **more)
        try:
            async for event in stream:
                call.event(event)
                yield event
        except BaseException as error:
            call.stopped(error)
            raise
        finally:
            if hasattr(stream, "aclose"):
                await stream.aclose()
        call.stopped(EOFError("the stream ended without an answer"))


_get_model = run_loop.get_model


@wraps(_get_model)
def _get_seen_model(agent: Agent[Any], run_config: RunConfig) -> Model:
    model, watcher = _get_model(agent, run_config), watching.get()
    return model if watcher is None else SeenModel(model, agent, run_config, watcher)  # type: ignore[return-value]  # its stand-in


run_loop.get_model = _get_seen_model


# ---------------------------------------------------------------- guardrails


def _surrounded(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    async def surrounded(guardrail: Any, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 (as the SDK calls it)
        watcher = watching.get()
        if watcher is None:
            return await run(guardrail, *arguments, **more)
        with watcher.guardrail(guardrail.get_name()):
            return await run(guardrail, *arguments, **more)

    return surrounded


for _class in (InputGuardrail, OutputGuardrail, ToolInputGuardrail, ToolOutputGuardrail):
    _class.run = _surrounded(_class.run)  # type: ignore[method-assign]


# ---------------------------------------------------------------- runs inside of a run


class _Runner(AgentRunner):
    """Runs as the runner does that was there before, and says so to who records the run around."""

    def __init__(self, before: AgentRunner) -> None:
        self._before = before

    async def run(self, agent: Agent[Any], given: Any, **more: Any) -> RunResult:  # type: ignore[override]  # noqa: ANN401
        watcher = watching.get()
        if watcher is None or not watcher.is_entered:
            _enter(watcher)
            return await self._before.run(agent, given, **more)
        inner, more = watcher.inside(agent, more)
        token = watching.set(inner)
        try:
            result = await self._before.run(agent, given, **more)
        except BaseException as error:
            inner.left(error)
            raise
        finally:
            watching.reset(token)
        inner.left()
        return result

    def run_sync(self, agent: Agent[Any], given: Any, **more: Any) -> RunResult:  # type: ignore[override]  # noqa: ANN401
        _enter(watching.get())
        return self._before.run_sync(agent, given, **more)

    def run_streamed(self, agent: Agent[Any], given: Any, **more: Any) -> RunResultStreaming:  # type: ignore[override]  # noqa: ANN401
        watcher = watching.get()
        if watcher is None or not watcher.is_entered:
            _enter(watcher)
            return self._before.run_streamed(agent, given, **more)
        inner, more = watcher.inside(agent, more)
        token = watching.set(inner)
        try:
            result = self._before.run_streamed(agent, given, **more)
        except BaseException as error:
            inner.left(error)
            raise
        finally:
            watching.reset(token)
        with unobtrusive():
            if result.run_loop_task is not None:
                result.run_loop_task.add_done_callback(
                    lambda task: inner.left(None if task.cancelled() else task.exception())
                )
        return result


def _enter(watcher: Watching | None) -> None:
    if watcher is not None:
        watcher.is_entered = True


set_default_agent_runner(_Runner(get_default_agent_runner()))
