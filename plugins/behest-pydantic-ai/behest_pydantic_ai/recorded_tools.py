"""RecordedTools: the hooks that record the tools of one run.

- A tool that runs an agent starts a run whose parent is this one: `caller`.
- A tool call that is put off, for an approval or a result from elsewhere, has begun and not ended.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, SkipToolExecution
from pydantic_ai.messages import ToolCallPart, ToolReturn

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import as_json, failure, unobtrusive

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pydantic_ai import RunContext
    from pydantic_ai.capabilities.abstract import ValidatedToolArgs, WrapOutputProcessHandler, WrapToolExecuteHandler
    from pydantic_ai.output import OutputContext
    from pydantic_ai.tools import ToolDefinition

    from behest_core.recording.recorder import RunRecorder

T = TypeVar("T")

caller: ContextVar[str | None] = ContextVar("behest_caller", default=None)
"""The id of the run whose tool is running."""


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
    """The tools of one run."""

    _run: RunRecorder
    _run_id: str | None = None

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
        self._began(call)
        token = caller.set(self._run_id)
        try:
            output = await tool
        except (ApprovalRequired, CallDeferred):
            raise
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
        self._run.tool_started(call.tool_call_id, call.tool_name)

    @unobtrusive()
    def _gave(self, call: ToolCallPart, output: object) -> None:
        value = output.return_value if isinstance(output, ToolReturn) else output
        self._ended(call, ToolExecutionResult.ok(as_json(value)))

    @unobtrusive()
    def _raised(self, call: ToolCallPart, error: BaseException) -> None:
        """Record that a tool raised, or was stopped by this."""
        self._ended(call, failure(error))

    def _ended(self, call: ToolCallPart, result: ToolExecutionResult) -> None:
        self._run.tool_finished(call.tool_call_id, call.tool_name, result)
