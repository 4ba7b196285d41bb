"""RecordedTools: the hooks that record the tools of one run.

- A tool belongs to the call of the model that asked for it, and a run that it starts has this one for its parent: `caller`.
- A tool that puts its call off, for an approval or a result from elsewhere, has ended by that; answered, it begins again.
- What the model asked for and nobody executes is refused. The run's messages say why: a tool that doesn't exist, arguments that
  aren't valid, somebody who denied it. What has no answer when the run fails is refused by what made it fail.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import SkipToolExecution
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolCallPart, ToolReturn, ToolReturnPart

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import as_json, failure, unobtrusive
from behest_core.recording.failures import error_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from pydantic_ai import RunContext
    from pydantic_ai.capabilities.abstract import ValidatedToolArgs, WrapOutputProcessHandler, WrapToolExecuteHandler
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.output import OutputContext
    from pydantic_ai.tools import ToolDefinition

    from behest_core.recording.recorder import RunRecorder
    from behest_pydantic_ai.model_calls import ModelCalls

T = TypeVar("T")

caller: ContextVar[RunRecorder | None] = ContextVar("behest_caller", default=None)
"""The run whose tool is running."""

_NOT_EXECUTED: Final = ("Tool not executed", "Output tool not used")
"""How Pydantic AI begins to tell a model that it leaves a call alone, as it has a result already."""


class Outermost(AbstractCapability[Any]):
    """A capability around all others."""

    def get_ordering(self) -> CapabilityOrdering:
        """Ask to be outermost."""
        return CapabilityOrdering(position="outermost")

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Say that no file can describe it, as it has a store."""
        return None


class RecordedTools(Outermost):
    """The tools of one run. `run` is absent where that isn't recorded here."""

    run: RunRecorder | None = None
    calls: ModelCalls

    def __init__(self) -> None:
        self._settled: set[str] = set()  # the calls that were executed or refused

    @property
    def _recorder(self) -> RunRecorder:
        assert self.run is not None  # noqa: S101 (who comes here has looked)
        return self.run

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 (the framework's signature)
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,  # noqa: ARG002 (the same)
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:  # noqa: ANN401 (whatever the tool gives)
        """Record that a tool runs."""
        return await self._execute(call, handler(args))

    async def wrap_output_process(
        self,
        ctx: RunContext[Any],
        *,
        output_context: OutputContext,
        output: Any,  # noqa: ANN401 (whatever the model gave)
        handler: WrapOutputProcessHandler,
    ) -> Any:  # noqa: ANN401 (whatever becomes of it)
        """Record that an output function runs which the model called as a tool."""
        call = output_context.tool_call
        if call is None or not output_context.has_function or ctx.partial_output:
            return await handler(output)
        return await self._execute(call, handler(output))

    async def _execute(self, call: ToolCallPart, tool: Awaitable[T]) -> T:
        if self.run is None:
            return await tool
        self._began(call)
        token = caller.set(self.run)
        try:
            output = await tool
        except SkipToolExecution as skip:
            self._gave(call, skip.result)
            raise
        except BaseException as error:
            self._raised(call, error)
            raise
        finally:
            caller.reset(token)
        self._gave(call, output)
        return output

    @unobtrusive()
    def _began(self, call: ToolCallPart) -> None:
        self._settled.add(call.tool_call_id)
        asked_by = self.calls.asked.get(call.tool_call_id)
        self._recorder.tool_started(call.tool_call_id, call.tool_name, model_call_id=asked_by)

    @unobtrusive()
    def _gave(self, call: ToolCallPart, output: object) -> None:
        value = output.return_value if isinstance(output, ToolReturn) else output
        self._ended(call, ToolExecutionResult.ok(as_json(value)))

    @unobtrusive()
    def _raised(self, call: ToolCallPart, error: BaseException) -> None:
        self._ended(call, failure(error))

    def _ended(self, call: ToolCallPart, result: ToolExecutionResult) -> None:
        asked_by = self.calls.asked.get(call.tool_call_id)
        self._recorder.tool_finished(call.tool_call_id, call.tool_name, result, model_call_id=asked_by)

    # ------------------------------------------------------------ what is not executed

    def look_for_refusals(self, messages: Sequence[ModelMessage]) -> None:
        """Record the calls that the latest messages answer without having executed them."""
        for part in _answers_in(messages):
            is_refused = part.outcome in ("denied", "failed", "retried") or part.model_response_str().startswith(
                _NOT_EXECUTED
            )
            if is_refused and part.tool_call_id not in self._settled:
                self._refuse(part, part.model_response_str())
            self._settled.add(part.tool_call_id)

    def refuse_all(self, messages: Sequence[ModelMessage], error: Exception) -> None:
        """Record the refusal of what was asked for and has no answer, as the run failed by `error`."""
        self.look_for_refusals(messages)
        for call in [call for message in messages if isinstance(message, ModelResponse) for call in message.tool_calls]:
            if call.tool_call_id in self.calls.asked and call.tool_call_id not in self._settled:
                self._refuse(call, error_text(error))

    def _refuse(self, call: ToolCallPart | ToolReturnPart, reason: str) -> None:
        asked_by = self.calls.asked.get(call.tool_call_id)
        self._recorder.tool_refused(call.tool_call_id, call.tool_name, reason, model_call_id=asked_by)


def _answers_in(messages: Sequence[ModelMessage]) -> Iterator[ToolReturnPart]:
    """Return what is answered to tool calls behind the last answer of the model."""
    for message in reversed(messages):
        if not isinstance(message, ModelRequest):
            return
        yield from (part for part in message.parts if isinstance(part, ToolReturnPart))
