"""A chat model for LangChain that answers from a script, whole or streamed, and what the tests with it share.

Nothing goes over the network.
"""

# ruff: noqa: ARG002 (the methods have the arguments that LangChain calls them with)

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from langchain_core.messages import BaseMessage


@dataclass
class Broken:
    """An answer whose stream breaks off after the first piece of text."""

    message: AIMessage
    error: Exception


@dataclass
class Endless:
    """An answer that doesn't come; streamed, it stops after the first piece of text. `begun` tells that it was asked for."""

    message: AIMessage
    begun: asyncio.Event


def answer(text: str = "", *calls: tuple[str, str, dict[str, Any]], tokens: tuple[int, int] | None = None, **more: Any):
    """Return a message with text, tool calls (id, name, arguments) and input and output tokens."""
    usage = None
    if tokens is not None:
        details = more.pop("details", {})
        usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
        usage |= {"input_token_details": details} if details else {}
    told = {"finish_reason": more.pop("finish_reason", "tool_calls" if calls else "stop")}
    tool_calls = [{"id": call_id, "name": name, "args": arguments} for call_id, name, arguments in calls]
    return AIMessage(text, tool_calls=tool_calls, usage_metadata=usage, response_metadata=told, **more)


class StubChatModel(BaseChatModel):
    """Gives the n-th of its answers in a conversation with n messages of its own: many conversations may share it.

    An answer is a message, an exception to raise, `Broken` or `Endless`. `failures` are raised first, one per call.
    """

    answers: list[Any]
    failures: list[Exception] = []
    name_of_model: str = "stub-1"

    @property
    def _llm_type(self) -> str:
        return "stub"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "stub", "ls_model_name": self.name_of_model, "ls_model_type": "chat"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _answer(self, messages: list[BaseMessage]) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        found = self.answers[sum(isinstance(each, AIMessage) for each in messages)]
        if isinstance(found, Exception):
            raise found
        return found

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        found = self._answer(messages)
        if isinstance(found, Broken):
            raise found.error
        return ChatResult(generations=[ChatGeneration(message=found.model_copy())])

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        found = self._answer(messages)
        if isinstance(found, Endless):
            found.begun.set()
            await asyncio.Event().wait()
        return self._generate(messages)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        found = self._answer(messages)
        for number, chunk in enumerate(chunks(found if isinstance(found, AIMessage) else found.message)):
            if number and isinstance(found, Broken):
                raise found.error
            yield chunk

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        found = self._answer(messages)
        for chunk in self._stream(messages):
            yield chunk
            if isinstance(found, Endless):
                found.begun.set()
                await asyncio.Event().wait()


def chunks(message: AIMessage) -> Iterator[ChatGenerationChunk]:
    """Cut a message into pieces as providers do: the input tokens come with the first, the output tokens with the last."""
    usage: Any = message.usage_metadata
    words = re.findall(r"\S+\s*", str(message.content)) or [""]
    for number, word in enumerate(words):
        given = usage and {**usage, "output_tokens": 0, "total_tokens": usage["input_tokens"]}
        yield _chunk(word, usage_metadata=given if number == 0 else None)
    for index, call in enumerate(message.tool_calls):
        begin, end = {"name": call["name"], "id": call["id"], "args": ""}, {"args": json.dumps(call["args"])}
        for part in (begin, end):
            yield _chunk("", tool_call_chunks=[tool_call_chunk(index=index, **part)])
    written = usage and {
        "input_tokens": 0,
        "output_tokens": usage["output_tokens"],
        "total_tokens": usage["output_tokens"],
    }
    yield _chunk("", usage_metadata=written, response_metadata=message.response_metadata)


def _chunk(text: str, **more: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(text, **more))


def weather_agent(**compiled: Any) -> Any:
    """Return a graph, compiled with these options, that asks a tool how warm it is in Oslo, and tells."""
    asks = answer("", ("call-1", "get_weather", {"city": "Oslo"}), tokens=(100, 10))
    model = StubChatModel(answers=[asks, answer("3 degrees.", tokens=(120, 5))])

    def get_weather(city: str) -> str:
        """Tell the weather."""
        return f"3 degrees in {city}"

    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([get_weather]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(**compiled)


# ---------------------------------------------------------------- what the tests share

QUESTION = {"messages": [("user", "How is the weather in Oslo?")]}
PROMPT = ChatPromptTemplate.from_messages([("user", "{question}")])
ASKS = answer("Let me look.", ("call-1", "get_weather", {"city": "Oslo"}), tokens=(100, 10), id="message-1")
ANSWERS = answer("3 degrees.", tokens=(120, 5), id="message-2")
CALLED = ["ModelStarted", "agent.ModelRequested"]
USED = ["UsageRecorded", "agent.ModelFinished", "AssistantMessageCommitted"]
MODEL_ASKS = [*CALLED, "TextDelta", "ToolCallCompleted", *USED]
MODEL_ANSWERS = [*CALLED, "TextDelta", *USED]
TOOL = ["ToolExecutionStarted", "ToolExecutionFinished"]


@tool
def get_weather(city: str) -> dict:
    """Tell the weather."""
    return {"city": city, "degrees": 3}


@tool("get_weather")
def careful_weather(city: str) -> str:
    """Ask first."""
    return f"{interrupt({'city': city})} degrees"


def work_of(run):
    """Return the types of a run's events, without its steps."""
    return [each for each in run.types if not each.startswith("agent.Step")]


def model_of(*answers, **more):
    return StubChatModel(answers=[*answers], **more)


def graph_of(model, *tools, after_tools="model", tool_node=None, retry=None, **compiled):
    """Build the usual agent: a model, and tools as long as it asks for some."""

    def call_model(state):
        return {"messages": [model.invoke(state["messages"])]}

    async def acall_model(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", RunnableLambda(call_model, acall_model), retry_policy=retry)
    graph.add_node("tools", tool_node or ToolNode(tools or [get_weather]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", after_tools)
    return graph.compile(**compiled)


def asking_graph(**compiled):
    return graph_of(model_of(ASKS, ANSWERS), careful_weather, checkpointer=InMemorySaver(), **compiled)
