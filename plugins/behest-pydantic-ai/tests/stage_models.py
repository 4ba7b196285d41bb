"""Agents of Pydantic AI that play a script on a stage of the adapter kit."""

# ruff: noqa: ARG002 (models and capabilities have the arguments that the framework calls them with)

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from behest_pydantic_ai import BehestRecording
from pydantic import TypeAdapter
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, Tool
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import RetryModelRequest, ToolFailed
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from behest_core.model.events import ToolCall
from behest_core.testing.adapter_kit import Adapter, Piece, ScriptedError, Stage, Thought, Usage

if TYPE_CHECKING:
    from behest_core.testing.adapter_kit import Answer

_tools = TypeAdapter(list[ToolDefinition])


class StubModel(FunctionModel):
    """A model that says what the script says, and whose stage counts what it was given."""

    def __init__(self, stage: Stage, name: str = "stub-1") -> None:
        super().__init__(self._say, model_name=name)
        self._stage = stage

    def _called(self, messages: Any, parameters: Any, instructions: str | None) -> Answer:
        tools = [*parameters.declared_function_tools, *parameters.output_tools]
        return self._stage.called(
            ModelMessagesTypeAdapter.dump_python(messages, mode="json"),
            instructions,
            _tools.dump_python(tools, mode="json") or None,
            self.model_name,
        )

    async def _say(self, messages: Any, info: Any) -> ModelResponse:
        answer = self._called(messages, info.model_request_parameters, info.instructions)
        response = ModelResponse([], usage=RequestUsage(unmeasured_requests=1))
        pieces = []
        async for each in answer.parts():
            match each:
                case Thought(text):
                    response.parts.append(ThinkingPart(text))
                case Piece(text):
                    pieces.append(text)
                case ToolCall(id=call_id, name=name, arguments=arguments):
                    response.parts.append(ToolCallPart(name, arguments, call_id))
                case Usage():
                    response.usage = used(each, self._stage)
        if pieces:
            response.parts.insert(len(response.parts) - len(response.tool_calls), TextPart("".join(pieces)))
        return response

    @asynccontextmanager
    async def request_stream(self, messages, model_settings, model_request_parameters, run_context=None):
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        instructions = "\n\n".join(part.content for part in parameters.instruction_parts or []) or None
        yield StubStream(parameters, self._called(messages, parameters, instructions), self)


def used(usage: Usage, stage: Stage) -> RequestUsage:
    """Return what a provider tells of its tokens."""
    return RequestUsage(
        input_tokens=usage.given if stage.script.counting == "within" else usage.uncached,
        output_tokens=usage.written,
        cache_read_tokens=usage.read,
        cache_write_tokens=usage.stored,
        output_reasoning_tokens=usage.thought,
    )


@dataclass
class StubStream(StreamedResponse):
    """An answer that comes in pieces, with its usage so far."""

    answer: Answer
    model: Model
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def provider_name(self) -> str:
        """The name of the provider."""
        return "function"

    @property
    def provider_url(self) -> None:
        """Nowhere."""

    @property
    def timestamp(self) -> datetime:
        """When it began."""
        return self.began_at

    @property
    def model_name(self) -> str:
        """The name of the model."""
        return self.model.model_name

    async def close_stream(self) -> None:
        """Have nothing to close."""

    async def _get_event_iterator(self):
        async for each in self.answer.parts():
            match each:
                case Thought(text):
                    events = self._parts_manager.handle_thinking_delta(vendor_part_id="thought", content=text)
                case Piece(text):
                    events = self._parts_manager.handle_text_delta(vendor_part_id="text", content=text)
                case ToolCall(id=call_id, name=name, arguments=arguments):
                    events = self._parts_manager.handle_tool_call_delta_events(
                        vendor_part_id=call_id,
                        tool_name=name,
                        args=msgspec.json.encode(arguments).decode(),
                        tool_call_id=call_id,
                    )
                case _:
                    self._usage = used(each, self.answer.stage)
                    events = ()
            for event in events:
                yield event


class AsksAgain(AbstractCapability[Any]):
    """Has a model called again that failed once."""

    async def on_model_request_error(self, ctx, *, request_context, error):
        if request_context.attempt == 1:
            raise RetryModelRequest
        raise error


class OfPydanticAI(Adapter):
    """Pydantic AI, with its adapter."""

    async def agent(self, stage):
        return await self._asked(stage, StubModel(stage))

    async def retries(self, stage):
        return await self._asked(stage, StubModel(stage), capabilities=[AsksAgain()])

    async def falls_back(self, stage):
        fallback = FallbackModel(StubModel(stage), StubModel(stage, "stub-2"), fallback_on=ScriptedError)
        return await self._asked(stage, fallback)

    async def at_once(self, stage):
        models = [StubModel(stage), StubModel(stage, "stub-2")]
        answers = await asyncio.gather(*[self._asked(stage, each) for each in models])
        return answers[0]

    async def pauses(self, stage):
        result = await self._agent(stage, StubModel(stage), output_type=[str, DeferredToolRequests]).run(
            stage.script.prompt
        )
        return result.all_messages_json()

    async def goes_on(self, stage, kept, *, is_granted):
        history = ModelMessagesTypeAdapter.validate_json(kept)
        approvals = {call.tool_call_id: is_granted for call in history[-1].tool_calls}
        agent = self._agent(stage, StubModel(stage), output_type=[str, DeferredToolRequests])
        result = await agent.run(
            message_history=history, deferred_tool_results=DeferredToolResults(approvals=approvals)
        )
        return result.output

    def _agent(self, stage, model, capabilities=(), **how):
        recording = BehestRecording(stage.store, metadata=stage.script.metadata, **stage.settings)
        tools = [tool_of(stage, each) for each in stage.script.tools]
        instructions = stage.script.system
        return Agent(model, capabilities=[*capabilities, recording], tools=tools, instructions=instructions, **how)

    async def _asked(self, stage, model, **how):
        agent = self._agent(stage, model, **how)
        if not stage.script.streamed:
            return (await agent.run(stage.script.prompt)).output
        async with agent.run_stream_events(stage.script.prompt) as events:
            *_, last = [event async for event in events]
        return last.result.output


def tool_of(stage, tool):
    """Return a tool that does what the script says. One that fails is told to the model, and fails no run."""

    async def act(city: str) -> str:
        try:
            return await stage.tool(tool.name)
        except ScriptedError as error:
            raise ToolFailed(str(error)) from error

    return Tool(act, name=tool.name, requires_approval=tool.needs_approval)
