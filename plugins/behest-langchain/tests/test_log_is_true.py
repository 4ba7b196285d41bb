"""LangGraph's agents play the scripts of the adapter kit; the logs are held against what the stub models counted."""

# ruff: noqa: ARG002 (the methods have the arguments that LangChain calls them with)

import json

import pytest
from behest_langchain import BehestCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, AIMessageChunk, SystemMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, RetryPolicy, interrupt

from behest_core.testing.adapter_kit import (
    SCENARIOS,
    Adapter,
    Piece,
    ScriptedError,
    Thought,
    ToolCall,
    Usage,
    check_scenario,
)


class ScriptedModel(BaseChatModel):
    """Says what the script says, and tells the stage what it was given."""

    stage: object
    name_of_model: str = "stub-1"

    @property
    def _llm_type(self):
        return "stub"

    def _get_ls_params(self, stop=None, **_):
        return {"ls_provider": "stub", "ls_model_name": self.name_of_model, "ls_model_type": "chat"}

    def bind_tools(self, tools, **_):
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools])

    def _called(self, messages, tools):
        return self.stage.called([dumpd(each)["kwargs"] for each in messages], None, tools, self.name_of_model)

    def _generate(self, *_, **__):
        raise NotImplementedError

    async def _agenerate(self, messages, stop=None, run_manager=None, tools=None, **_):
        message = AIMessageChunk("")
        async for chunk in self._parts(messages, tools):
            message += chunk
        whole = {name: getattr(message, name) for name in ("content", "tool_calls", "usage_metadata")}
        return ChatResult(generations=[ChatGeneration(message=AIMessage(**whole))])

    async def _astream(self, messages, stop=None, run_manager=None, tools=None, **_):
        async for chunk in self._parts(messages, tools):
            yield ChatGenerationChunk(message=chunk)

    async def _parts(self, messages, tools):
        index = 0
        async for part in self._called(messages, tools).parts():
            match part:
                case Piece(text):
                    yield AIMessageChunk([{"type": "text", "text": text, "index": 1}])
                case Thought(text):
                    yield AIMessageChunk([{"type": "reasoning", "reasoning": text, "index": 0}])
                case ToolCall(id=call_id, name=name, arguments=arguments):
                    call = tool_call_chunk(index=index, id=call_id, name=name, args=json.dumps(arguments))
                    index += 1
                    yield AIMessageChunk([], tool_call_chunks=[call])
                case Usage():
                    yield AIMessageChunk([], usage_metadata=self._usage(part))

    def _usage(self, used):
        given = used.uncached if self.stage.script.counting == "beside" else used.given
        return {
            "input_tokens": given,
            "output_tokens": used.written,
            "total_tokens": given + used.written,
            "input_token_details": {"cache_read": used.read, "cache_creation": used.stored},
            "output_token_details": {"reasoning": used.thought},
        }


def tool_of(stage, scripted):
    @tool(scripted.name)
    async def execute(city: str) -> str:
        """Do what the script says."""
        if scripted.needs_approval:
            raise AssertionError("nobody was asked")
        return await stage.tool(scripted.name)

    return execute


def approved_tool_of(stage, scripted):
    @tool(scripted.name)
    async def execute(city: str) -> str:
        """Do what the script says."""
        return await stage.tool(scripted.name)

    return execute


async def ask_first(state):
    """Let somebody approve of the tools that are asked for."""
    if interrupt("May I?"):
        return Command(goto="tools")
    denied = [
        {"role": "tool", "content": "no", "tool_call_id": call["id"], "name": call["name"], "status": "error"}
        for call in state["messages"][-1].tool_calls
    ]
    return Command(goto="model", update={"messages": denied})


def graph_of(stage, *models, retry=None, **compiled):
    """Build an agent of models, of which each is there for the one before, and tools."""
    asks = any(each.needs_approval for each in stage.script.tools)
    tools = [(approved_tool_of if asks else tool_of)(stage, each) for each in stage.script.tools]
    first, *others = [each.bind_tools(tools) if tools else each for each in models]
    model = first.with_fallbacks(others) if others else first

    async def call_model(state):
        system = SystemMessage(stage.script.system)
        return {"messages": [await model.ainvoke([system, *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call_model, retry_policy=retry)
    graph.add_node("tools", ToolNode(tools, handle_tool_errors=(ScriptedError,)))
    graph.add_edge(START, "model")
    graph.add_edge("tools", "model")
    if asks:
        graph.add_node("ask", ask_first, destinations=("tools", "model"))
    graph.add_conditional_edges("model", tools_condition, {"tools": "ask" if asks else "tools", END: END})
    return graph.compile(**compiled)


class OfLangChain(Adapter):
    """LangGraph's agents, recorded with the callback handler."""

    async def agent(self, stage):
        return await self._ask(stage, graph_of(stage, ScriptedModel(stage=stage)))

    async def retries(self, stage):
        retry = RetryPolicy(initial_interval=0, retry_on=ScriptedError)
        return await self._ask(stage, graph_of(stage, ScriptedModel(stage=stage), retry=retry))

    async def falls_back(self, stage):
        models = [ScriptedModel(stage=stage, name_of_model=name) for name in ("stub-1", "stub-2")]
        return await self._ask(stage, graph_of(stage, *models))

    async def at_once(self, stage):
        both = {
            name: RunnableLambda(lambda _: self._messages(stage)) | ScriptedModel(stage=stage, name_of_model=name)
            for name in ("stub-1", "stub-2")
        }
        chain = RunnableLambda(lambda question: question) | both
        said = {}
        async for each in chain.astream(stage.script.prompt, self._config(stage)):
            for name, piece in each.items():
                said[name] = said.get(name, "") + piece.text
        return said["stub-1"]

    async def pauses(self, stage):
        saver = InMemorySaver()
        await graph_of(stage, ScriptedModel(stage=stage), checkpointer=saver).ainvoke(*self._asked(stage))
        return saver

    async def goes_on(self, stage, kept, *, is_granted):
        graph = graph_of(stage, ScriptedModel(stage=stage), checkpointer=kept)
        said = await graph.ainvoke(Command(resume=is_granted), self._config(stage))
        return said["messages"][-1].text

    async def _ask(self, stage, graph):
        if not stage.script.streamed:
            return (await graph.ainvoke(*self._asked(stage)))["messages"][-1].text
        said = ""
        async for message, about in graph.astream(*self._asked(stage), stream_mode="messages"):
            said += message.text if about["langgraph_node"] == "model" else ""
        return said

    def _messages(self, stage):
        return [SystemMessage(stage.script.system), ("user", stage.script.prompt)]

    def _asked(self, stage):
        return {"messages": [("user", stage.script.prompt)]}, self._config(stage)

    def _config(self, stage):
        handler = BehestCallbackHandler(stage.store, metadata=stage.script.metadata, **stage.settings)
        return {"callbacks": [handler], "configurable": {"thread_id": f"thread-{id(stage)}"}, "recursion_limit": 100}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_log_is_the_truth(stack, scenario):
    check_scenario(OfLangChain(), scenario, stack)
