"""Models for agents of Pydantic AI that say what they are told to, and what the tests with them share."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from pydantic_ai import Agent, models
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.usage import RequestUsage

from behest_core.model.state import TokenUsage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo


def scripted(*answers: ModelResponse | Exception, name: str = "stub-1") -> FunctionModel:
    """Return a model that gives these answers, one for each request of a conversation. When streaming, word by word.

    An exception is raised; when streaming, after a first word.
    """

    def next_of(messages: list[ModelMessage]) -> ModelResponse | Exception:
        given = sum(isinstance(message, ModelResponse) for message in messages)
        return deepcopy(answers[given])  # the framework writes into what it gets

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        found = next_of(messages)
        if isinstance(found, Exception):
            raise found
        return found

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        found = next_of(messages)
        if isinstance(found, Exception):
            yield "Well, "
            raise found
        for number, part in enumerate(found.parts):
            if isinstance(part, TextPart):
                for word in part.content.split(" "):
                    yield f"{word} "
            elif isinstance(part, ToolCallPart):
                yield {number: DeltaToolCall(part.tool_name, part.args_as_json_str(), tool_call_id=part.tool_call_id)}

    return FunctionModel(answer, stream_function=stream, model_name=name)


def calls(*names: str, text: str = "", finish_reason: str = "tool_call", **usage: int) -> ModelResponse:
    """Return an answer that asks for tools, each for Oslo; their call ids are call-1, call-2 and so on."""
    asked = [ToolCallPart(name, {"city": "Oslo"}, f"call-{number}") for number, name in enumerate(names, 1)]
    return answer(text, *asked, finish_reason=finish_reason, **usage)


def answer(text: str, *parts: ToolCallPart, finish_reason: str | None = "stop", **usage: int) -> ModelResponse:
    """Return an answer that says this."""
    said = [TextPart(text)] if text else []
    return ModelResponse([*said, *parts], usage=RequestUsage(**usage), finish_reason=finish_reason)


# ---------------------------------------------------------------- what the tests share

models.ALLOW_MODEL_REQUESTS = False
CALLED = ["ModelStarted", "agent.ModelRequested"]
FINISHED = ["UsageRecorded", "agent.ModelFinished"]
ASKED = [*CALLED, "TextDelta", "ToolCallCompleted", *FINISHED, "AssistantMessageCommitted"]
RAN = ["ToolExecutionStarted", "ToolExecutionFinished"]
ANSWERED = [*CALLED, "TextDelta", *FINISHED, "AssistantMessageCommitted"]
BROKEN_OFF = [*CALLED, "TextDelta", "UsageRecorded", "agent.ModelFailed", "AssistantMessageCommitted"]
WITH_A_TOOL = ["RunStarted", *ASKED, *RAN, *ANSWERED, "RunCompleted"]
TEAPOT = ModelHTTPError(418, "stub-1", "I'm a teapot")
FIRST = calls("weather", text="Let me see.", input_tokens=100, output_tokens=10)
LAST = answer("3 degrees.", input_tokens=120, output_tokens=5)
FIRST_TOKENS, ALL_TOKENS = TokenUsage(100, 10, 110), TokenUsage(220, 15, 235)


def weather(city: str) -> str:
    """Tell the weather."""
    return f"3 degrees in {city}"


def with_model(recording, *answers, tools=(weather,), **settings):
    return Agent(scripted(*answers), capabilities=[recording], tools=tools, **settings)


async def use_event_stream_handler(agent):
    async def handle(ctx, events):
        async for _ in events:
            pass

    return (await agent.run("Oslo?", event_stream_handler=handle)).output


async def use_run_stream_events(agent):
    async with agent.run_stream_events("Oslo?") as events:
        *_, last = [event async for event in events]
    return last.result.output
