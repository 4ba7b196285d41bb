"""An agent that speaks AG-UI and plays a script of the adapter kit, whose stage counts what its model and its tools do."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from ag_ui.core import (
    Interrupt,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    RunErrorEvent,
    RunFinishedInterruptOutcome,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
)
from ag_ui_models import call, finished, result, started

from behest_core.model.events import ToolCall
from behest_core.testing.adapter_kit import Piece, ScriptedError, Thought, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ag_ui.core import BaseEvent, RunAgentInput

    from behest_core.testing.adapter_kit import Answer, Stage


class StageAgent:
    """Plays a script. What it says of its tokens is what its model used, as the protocol wants it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._messages: list[Any] = []

    async def __call__(self, run_input: RunAgentInput) -> AsyncIterator[BaseEvent]:
        """Run, or go on with what was approved or denied."""
        yield started(run_input, parent_run_id=run_input.parent_run_id, input=run_input if run_input.resume else None)
        try:
            for each in run_input.resume or []:
                is_granted = each.payload["approved"]
                gave = await self._gave("weather") if is_granted else "denied"
                yield result(each.interrupt_id, gave)
            while True:
                answer = self.stage.called(self._messages)
                async for each in self._said(answer):
                    yield each
                if not answer.calls:
                    yield finished(run_input, usage=self._usage())
                    return
                waiting = self._waiting(answer)
                if waiting:
                    outcome = RunFinishedInterruptOutcome(interrupts=waiting)
                    yield finished(run_input, usage=self._usage(), outcome=outcome)
                    return
                given = await asyncio.gather(*[self._gave(each.name) for each in answer.calls])
                for asked, gave in zip(answer.calls, given, strict=True):
                    yield result(asked.id, gave)
        except ScriptedError as error:
            yield RunErrorEvent(message=str(error), usage=self._usage())

    async def _said(self, answer: Answer) -> AsyncIterator[BaseEvent]:
        message_id = f"m-{len(self.stage.calls)}"
        yield TextMessageStartEvent(message_id=message_id)
        async for part in answer.parts():
            match part:
                case Thought(text):
                    yield ReasoningMessageStartEvent(message_id=f"{message_id}-thought")
                    yield ReasoningMessageContentEvent(message_id=f"{message_id}-thought", delta=text)
                    yield ReasoningMessageEndEvent(message_id=f"{message_id}-thought")
                case Piece(text):
                    yield TextMessageContentEvent(message_id=message_id, delta=text)
                case ToolCall(id=call_id, name=name, arguments=arguments):
                    for each in call(call_id, name, json.dumps(arguments), of=message_id):
                        yield each
                case Usage():
                    pass
        yield TextMessageEndEvent(message_id=message_id)

    def _waiting(self, answer: Answer) -> list[Interrupt]:
        need = {tool.name for tool in self.stage.script.tools if tool.needs_approval}
        return [Interrupt(id=each.id, reason="tool_call") for each in answer.calls if each.name in need]

    async def _gave(self, name: str) -> str:
        try:
            return await self.stage.tool(name)
        except ScriptedError as error:
            return str(error)

    def _usage(self) -> list[TokenUsage]:
        return [
            TokenUsage(
                provider="stub",
                model=answer.model,
                input_tokens=answer.usage.given,
                output_tokens=answer.usage.written,
                cached_input_tokens=answer.usage.read,
                cache_write_input_tokens=answer.usage.stored,
                reasoning_tokens=answer.usage.thought,
            )
            for answer in self.stage.calls
            if answer.usage is not None
        ]
