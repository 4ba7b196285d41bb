"""Models for agents of Pydantic AI that say what they are told to."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.usage import RequestUsage

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
