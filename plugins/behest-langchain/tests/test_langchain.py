import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID, uuid4

import behest_langchain
import pytest
from behest_langchain import BehestCallbackHandler
from behest_langchain.recorded_run import RecordedRun
from behest_langchain.words import finish_reason, tokens
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import RunControl
from langgraph.types import Command, RetryPolicy, interrupt
from langsmith.run_helpers import tracing_context
from langsmith.run_trees import RunTree

from behest_core.model.state import RunStatus
from behest_core.recording.recorder import RunRecorder
from tests.agents.langchain_models import Broken, Endless, StubChatModel, answer
from tests.agents.recorded import all_recorded, recorded, the_recorded
from tests.aws.test_recorder import away

QUESTION = {"messages": [("user", "How is the weather in Oslo?")]}
PROMPT = ChatPromptTemplate.from_messages([("user", "{question}")])
ASKS = answer("Let me look.", ("call-1", "get_weather", {"city": "Oslo"}), tokens=(100, 10), id="message-1")
ANSWERS = answer("3 degrees.", tokens=(120, 5), id="message-2")

MODEL_ASKS = ["ModelStarted", "TextDelta", "ToolCallCompleted", "UsageRecorded", "AssistantMessageCommitted"]
MODEL_ANSWERS = ["ModelStarted", "TextDelta", "UsageRecorded", "AssistantMessageCommitted"]
TOOL = ["ToolExecutionStarted", "ToolExecutionFinished"]


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch):
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")
    monkeypatch.delenv("LANGCHAIN_TRACING")


@pytest.fixture
def handler(stack):
    return BehestCallbackHandler(stack.store)


@pytest.fixture
def config(handler):
    return {"callbacks": [handler], "configurable": {"thread_id": "thread-1"}}


@tool
def get_weather(city: str) -> dict:
    """Tell the weather."""
    return {"city": city, "degrees": 3}


@tool("get_weather")
def broken_weather(city: str) -> str:
    """Fail."""
    raise LookupError(f"no station in {city}")


@tool("get_weather")
def careful_weather(city: str) -> str:
    """Ask first."""
    return f"{interrupt({'city': city})} degrees"


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


# ---------------------------------------------------------------- text and tools


def test_a_graph_is_recorded_from_its_start_to_its_answer(stack, config):
    graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]
    assert run.text == "Let me look.3 degrees."
    assert [each["iteration"] for each in run.of("ModelStarted")] == [1, 2]
    assert {(each["provider"], each["model"]) for each in run.of("ModelStarted")} == {("stub", "stub-1")}
    assert run.of("ToolCallCompleted")[0]["call"] == {
        "id": "call-1",
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
    }
    assert [each["usage"] for each in run.of("UsageRecorded")] == [
        {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
        {"input_tokens": 120, "output_tokens": 5, "total_tokens": 125},
    ]
    assert [each["message_id"] for each in run.of("AssistantMessageCommitted")] == ["message-1", "message-2"]
    assert (run.state.status, run.state.last_finish, run.state.iteration) == (RunStatus.COMPLETED, "stop", 2)
    assert (run.state.total_usage.input_tokens, run.state.total_usage.output_tokens) == (220, 15)


def test_a_tool_is_recorded_with_what_it_gave_and_how_long_it_took(stack, config):
    graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
    started, finished = (the_recorded(stack).of(kind)[0] for kind in TOOL)
    assert (started["call_id"], started["tool_name"]) == ("call-1", "get_weather")
    assert (finished["call_id"], finished["tool_name"]) == ("call-1", "get_weather")
    assert finished["result"] == {"Success": {"output": '{"city": "Oslo", "degrees": 3}'}}
    assert isinstance(finished["duration_ms"], int)
    assert finished["duration_ms"] >= 0


def test_asynchronous_code_is_recorded_alike(stack, config):
    asyncio.run(graph_of(model_of(ASKS, ANSWERS)).ainvoke(QUESTION, config))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]
    assert run.state.status is RunStatus.COMPLETED


def test_synchronous_code_within_an_event_loop_is_recorded_alike(stack, config):
    async def cell_of_a_notebook():
        graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
        assert the_recorded(stack).types == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]

    asyncio.run(cell_of_a_notebook())


def test_a_run_that_was_awaited_is_in_the_log(stack, config):
    async def invoke():
        await graph_of(model_of(ANSWERS)).ainvoke(QUESTION, config)
        assert the_recorded(stack).types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]

    asyncio.run(invoke())


def test_the_end_of_a_run_holds_up_no_event_loop(stack, config, monkeypatch):
    closing, go_on = threading.Event(), threading.Event()
    close = RunRecorder.close

    def wait(*args):
        closing.set()
        assert go_on.wait(10)
        return close(*args)

    monkeypatch.setattr(RunRecorder, "close", wait)

    async def invoke():
        task = asyncio.create_task(graph_of(model_of(ANSWERS)).ainvoke(QUESTION, config))
        await asyncio.to_thread(closing.wait, 10)
        go_on.set()
        await task

    asyncio.run(invoke())
    assert the_recorded(stack).state.status is RunStatus.COMPLETED


def test_a_thread_keeps_its_event_loop(stack, config):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        graph_of(model_of(ANSWERS)).invoke(QUESTION, config)
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_tools_that_run_at_the_same_time_are_told_apart(stack, config):
    asks = answer("", *((f"call-{city}", "get_weather", {"city": city}) for city in ("Oslo", "Rome")))
    graph_of(model_of(asks, ANSWERS)).invoke(QUESTION, config)
    run = the_recorded(stack)
    outputs = {each["call_id"]: each["result"]["Success"]["output"] for each in run.of("ToolExecutionFinished")}
    assert outputs == {f"call-{city}": f'{{"city": "{city}", "degrees": 3}}' for city in ("Oslo", "Rome")}


def test_a_tool_that_is_called_by_itself_is_a_run(stack, handler):
    get_weather.invoke({"city": "Oslo"}, {"callbacks": [handler]})
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *TOOL, "RunCompleted"]
    finished = run.of("ToolExecutionFinished")[0]
    assert finished["result"] == {"Success": {"output": {"city": "Oslo", "degrees": 3}}}
    assert finished["call_id"] == run.record.run_id


def test_a_model_that_a_retriever_calls_is_part_of_the_run(stack, handler):
    class Rewriting(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            found = model_of(ANSWERS).invoke(query, {"callbacks": run_manager.get_child()})
            return [Document(found.text)]

    (Rewriting() | RunnableLambda(len)).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack).types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


# ---------------------------------------------------------------- what can be a root


def test_a_model_that_is_called_by_itself_is_a_run_of_its_provider_and_model(stack, handler):
    model_of(ANSWERS).invoke("Oslo?", {"callbacks": [handler]})
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert (run.state.provider, run.state.model) == ("stub", "stub-1")


def test_a_chain_is_a_run(stack, handler):
    (PROMPT | model_of(ANSWERS) | StrOutputParser()).invoke({"question": "Oslo?"}, {"callbacks": [handler]})
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert (run.state.provider, run.state.model) == ("unknown", "unknown")


def test_provider_and_model_of_a_graph_are_the_handlers(stack):
    handler = BehestCallbackHandler(stack.store, provider="stub", model="several")
    graph_of(model_of(ANSWERS)).invoke(QUESTION, {"callbacks": [handler]})
    run = the_recorded(stack)
    assert (run.record.provider, run.record.model) == ("stub", "several")
    assert run.of("ModelStarted")[0]["model"] == "stub-1"


def test_a_model_that_is_no_chat_model_is_recorded_without_tokens(stack, handler):
    FakeListLLM(responses=["3 degrees."]).invoke("Oslo?", {"callbacks": [handler]})
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert run.text == "3 degrees."


def test_each_input_of_a_batch_is_a_run(stack, handler):
    chain = PROMPT | model_of(ANSWERS)
    chain.batch([{"question": str(number)} for number in range(5)], {"callbacks": [handler]})
    runs = all_recorded(stack)
    assert [run.types for run in runs] == [["RunStarted", *MODEL_ANSWERS, "RunCompleted"]] * 5


def test_a_subgraph_and_an_agent_that_is_a_tool_are_part_of_the_run(stack, config):
    inner = graph_of(model_of(answer("inner", tokens=(1, 1))))

    @tool("get_weather")
    def ask_agent(city: str) -> str:
        """Ask another agent."""
        return inner.invoke({"messages": [("user", city)]})["messages"][-1].text

    agent = graph_of(model_of(ASKS, ANSWERS), ask_agent)
    outer = StateGraph(MessagesState)
    outer.add_node("agent", agent)
    outer.add_edge(START, "agent")
    outer.compile().invoke(QUESTION, config)
    run = the_recorded(stack)
    asking = [TOOL[0], *MODEL_ANSWERS, TOOL[1]]
    assert run.types == ["RunStarted", *MODEL_ASKS, *asking, *MODEL_ANSWERS, "RunCompleted"]
    assert run.state.total_usage.input_tokens == 221


def test_what_langsmith_traces_around_an_agent_does_not_hide_it(stack, config):
    with tracing_context(parent=RunTree(name="around", run_type="chain"), enabled=False):
        graph_of(model_of(ANSWERS)).invoke(QUESTION, config)
    assert the_recorded(stack).types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_the_handler_may_be_bound_to_a_graph(stack, handler):
    graph_of(model_of(ANSWERS)).with_config(callbacks=[handler]).invoke(QUESTION)
    assert the_recorded(stack).types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_a_model_that_is_made_with_the_handler_records_its_own_calls(stack, handler):
    graph_of(model_of(ASKS, ANSWERS, callbacks=[handler])).invoke(QUESTION)
    ends = ["RunCompleted"]
    assert [run.types for run in all_recorded(stack)] == [
        ["RunStarted", *each, *ends] for each in (MODEL_ASKS, MODEL_ANSWERS)
    ]


# ---------------------------------------------------------------- tokens and finish reasons


def usage_of(input_tokens, output_tokens, **details):
    total = input_tokens + output_tokens
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": total,
        "input_token_details": details,
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (usage_of(350, 40), {"input_tokens": 350}),
        (usage_of(350, 40, audio=10), {"input_tokens": 350}),
        (usage_of(350, 40, cache_read=None), {"input_tokens": 350}),
        (usage_of(350, 40, cache_read=100), {"input_tokens": 350, "cached_input_tokens": 100}),
        (usage_of(350, 40, priority_cache_read=100, priority=250), {"input_tokens": 350, "cached_input_tokens": 100}),
        (usage_of(350, 40, cache_creation=200), {"input_tokens": 150, "cache_creation_input_tokens": 200}),
        (
            usage_of(
                350,
                40,
                cache_read=100,
                cache_creation=0,
                ephemeral_5m_input_tokens=150,
                ephemeral_1h_input_tokens=50,
            ),
            {"input_tokens": 150, "cached_input_tokens": 100, "cache_creation_input_tokens": 200},
        ),
        (usage_of(100, 40, cache_creation=120), {"input_tokens": 0, "cache_creation_input_tokens": 120}),
    ],
)
def test_cached_tokens_are_counted_as_behest_counts_them(usage, expected):
    assert tokens(usage) == {"output_tokens": 40, **expected}


def test_the_tokens_of_a_call_with_a_cache_are_recorded(stack, handler):
    cached = answer("Hi", tokens=(350, 40), details={"cache_read": 100, "cache_creation": 200})
    model_of(cached).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack).of("UsageRecorded")[0]["usage"] == {
        "input_tokens": 150,
        "output_tokens": 40,
        "total_tokens": 190,
        "cached_input_tokens": 100,
        "cache_creation_input_tokens": 200,
    }


def test_an_answer_from_langchains_cache_used_no_tokens(stack, handler):
    model = model_of(ANSWERS, cache=InMemoryCache())
    for _ in range(2):
        model.invoke("Oslo?", {"callbacks": [handler]})
    first, second = all_recorded(stack)
    assert first.types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert second.types == ["RunStarted", "ModelStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]


def test_a_call_that_tells_no_tokens_records_none(stack, handler):
    model_of(answer("Hi")).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack).of("UsageRecorded") == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "STOP"}, "stop"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"stop_reason": "tool_use"}, "tool_calls"),
        ({"stopReason": "max_tokens"}, "length"),
        ({"done_reason": "length"}, "length"),
        ({"stop_reason": "pause_turn"}, "pause_turn"),
        ({"finish_reason": None}, None),
        ({}, None),
    ],
)
def test_finish_reasons_have_the_seeds_words_where_there_are_some(told, expected):
    assert finish_reason(told) == expected


def test_the_finish_reason_is_the_last_messages(stack, handler):
    model_of(answer("3 deg", finish_reason="max_tokens")).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack).state.last_finish == "length"


# ---------------------------------------------------------------- streaming


def test_each_piece_is_recorded_and_the_whole_text_not_again(stack, config):
    pieces = list(graph_of(model_of(ASKS, ANSWERS)).stream(QUESTION, config, stream_mode="messages"))
    run = the_recorded(stack)
    streamed = ["ModelStarted", *["TextDelta"] * 3, *MODEL_ASKS[2:]]
    assert run.types == [
        "RunStarted",
        *streamed,
        *TOOL,
        "ModelStarted",
        *["TextDelta"] * 2,
        *MODEL_ANSWERS[2:],
        "RunCompleted",
    ]
    assert run.text == "Let me look.3 degrees."
    assert len(pieces) > 5
    assert [each["usage"] for each in run.of("UsageRecorded")] == [
        {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
        {"input_tokens": 120, "output_tokens": 5, "total_tokens": 125},
    ]
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"city": "Oslo"}


def test_an_asynchronous_stream_is_recorded_in_order(stack, config):
    words = "".join(f"word-{number} " for number in range(200))

    async def consume():
        async for _ in graph_of(model_of(answer(words))).astream(QUESTION, config, stream_mode="messages"):
            pass

    asyncio.run(consume())
    assert the_recorded(stack).text == words


def test_the_events_of_a_model_are_streamed_and_recorded(stack, handler):
    async def consume():
        async for _ in model_of(ANSWERS).astream_events("Oslo?", {"callbacks": [handler]}, version="v2"):
            pass

    asyncio.run(consume())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", *["TextDelta"] * 2, *MODEL_ANSWERS[2:], "RunCompleted"]


def test_blocks_that_are_no_text_are_left_out(stack, handler):
    blocks = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "3 degrees."}]
    model_of(ANSWERS.model_copy(update={"content": blocks})).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack).text == "3 degrees."


# ---------------------------------------------------------------- failures


def test_a_tool_whose_error_the_graph_handles_does_not_end_the_run(stack, config):
    node = ToolNode([broken_weather], handle_tool_errors=True)
    graph_of(model_of(ASKS, ANSWERS), tool_node=node).invoke(QUESTION, config)
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "LookupError: no station in Oslo"}}


def test_a_tool_that_tells_its_error_itself_has_failed(stack, config):
    @tool("get_weather")
    def careless(city: str) -> str:
        """Fail."""
        raise ToolException("no station")

    careless.handle_tool_error = True
    graph_of(model_of(ASKS, ANSWERS), careless).invoke(QUESTION, config)
    run = the_recorded(stack)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "no station"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_tool_whose_error_nobody_handles_fails_the_run(stack, config):
    graph = graph_of(model_of(ASKS), tool_node=ToolNode([broken_weather], handle_tool_errors=False))
    with pytest.raises(LookupError):
        graph.invoke(QUESTION, config)
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *TOOL, "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "LookupError: no station in Oslo")
    assert run.state.total_usage.total_tokens == 110


def test_a_model_that_fails_fails_the_run_which_keeps_its_tokens(stack, config):
    with pytest.raises(ConnectionError):
        graph_of(model_of(ASKS, ConnectionError("reset"))).invoke(QUESTION, config)
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *TOOL, "ModelStarted", "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: reset")
    assert run.state.total_usage.total_tokens == 110


@pytest.mark.parametrize("root", [graph_of, lambda model: model], ids=["graph", "model"])
def test_a_model_that_fails_at_once_fails_the_run(stack, config, root):
    with pytest.raises(ConnectionError):
        root(model_of(ConnectionError("reset"))).invoke(
            [("user", "Oslo?")] if root is not graph_of else QUESTION, config
        )
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "RunFailed"]
    assert run.state.last_error == "ConnectionError: reset"


def test_a_stream_that_breaks_off_keeps_its_text_and_the_tokens_it_told(stack, config):
    graph = graph_of(model_of(Broken(ANSWERS, ConnectionError("reset"))))
    with pytest.raises(ConnectionError):
        list(graph.stream(QUESTION, config, stream_mode="messages"))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "UsageRecorded", "RunFailed"]
    assert (run.text, run.state.total_usage.input_tokens, run.state.total_usage.output_tokens) == ("3 ", 120, 0)


def test_a_model_to_fall_back_on_saves_the_run(stack, handler):
    model = model_of(ConnectionError("reset")).with_fallbacks([model_of(ANSWERS, name_of_model="stub-2")])
    (PROMPT | model).invoke({"question": "Oslo?"}, {"callbacks": [handler]})
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert [each["model"] for each in run.of("ModelStarted")] == ["stub-1", "stub-2"]


def test_a_model_that_is_tried_again_is_one_run(stack, handler):
    model = model_of(ANSWERS, failures=[ConnectionError("reset")]).with_retry(wait_exponential_jitter=False)
    model.invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack).types == ["RunStarted", "ModelStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_a_node_that_is_tried_again_is_one_run(stack, config):
    retry = RetryPolicy(initial_interval=0, retry_on=ConnectionError)
    graph_of(model_of(ANSWERS, failures=[ConnectionError("reset")]), retry=retry).invoke(QUESTION, config)
    assert the_recorded(stack).types == ["RunStarted", "ModelStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_a_graph_that_takes_too_many_steps_fails(stack, config):
    with pytest.raises(GraphRecursionError):
        graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, {**config, "recursion_limit": 2})
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *TOOL, "RunFailed"]
    assert run.state.last_error.startswith("GraphRecursionError: ")


# ---------------------------------------------------------------- cancellation


CALLS = {
    "graph": lambda model, config: graph_of(model).ainvoke(QUESTION, config),
    "chain": lambda model, config: (PROMPT | model).ainvoke({"question": "Oslo?"}, config),
    "model": lambda model, config: model.ainvoke("Oslo?", config),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_task_that_is_cancelled_cancels_the_run(stack, handler, call):
    async def cancel():
        begun = asyncio.Event()
        task = asyncio.create_task(CALLS[call](model_of(Endless(ANSWERS, begun)), {"callbacks": [handler]}))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(cancel())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "RunCancelled"]
    assert run.state.status is RunStatus.CANCELLED
    assert handler._open(UUID(run.record.run_id)) is None


def test_a_task_that_is_cancelled_after_its_run_does_not_cancel_it(stack, handler):
    async def cancel():
        done = asyncio.Event()

        async def work():
            await model_of(ANSWERS).ainvoke("Oslo?", {"callbacks": [handler]})
            done.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await done.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert the_recorded(stack).types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


def test_a_stream_that_is_cancelled_keeps_the_tokens_it_told(stack, config):
    async def cancel():
        begun = asyncio.Event()

        async def consume():
            graph = graph_of(model_of(Endless(ANSWERS, begun)))
            return [each async for each in graph.astream(QUESTION, config, stream_mode="messages")]

        task = asyncio.create_task(consume())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "UsageRecorded", "RunCancelled"]
    assert run.state.total_usage.input_tokens == 120


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_tool_that_is_cancelled_has_no_end(stack, handler, by_itself):
    async def cancel():
        begun = asyncio.Event()

        @tool("get_weather")
        async def endless(city: str) -> str:
            """Wait."""
            begun.set()
            await asyncio.Event().wait()

        runnable, given = (endless, {"city": "Oslo"}) if by_itself else (graph_of(model_of(ASKS), endless), QUESTION)
        task = asyncio.create_task(runnable.ainvoke(given, {"callbacks": [handler]}))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    asked = [] if by_itself else MODEL_ASKS
    assert the_recorded(stack).types == ["RunStarted", *asked, "ToolExecutionStarted", "RunCancelled"]


def test_ctrl_c_cancels_the_run(stack, config):
    @tool("get_weather")
    def interrupted(city: str) -> str:
        """Be stopped."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        (model_of(ASKS) | RunnableLambda(lambda asked: interrupted.invoke(asked.tool_calls[0]))).invoke("Oslo?", config)
    assert the_recorded(stack).types == ["RunStarted", *MODEL_ASKS, *TOOL, "RunCancelled"]


STREAMS = {
    "graph": lambda model, config: graph_of(model).stream(QUESTION, config, stream_mode="messages"),
    "chain": lambda model, config: (PROMPT | model).stream({"question": "Oslo?"}, config),
    "model": lambda model, config: model.stream("Oslo?", config),
}
ASTREAMS = {
    "graph": lambda model, config: graph_of(model).astream(QUESTION, config, stream_mode="messages"),
    "chain": lambda model, config: (PROMPT | model).astream({"question": "Oslo?"}, config),
    "model": lambda model, config: model.astream("Oslo?", config),
}


@pytest.mark.parametrize("stream", ["chain", "model"])
def test_a_stream_that_is_abandoned_is_a_cancelled_run(stack, config, stream):
    for _ in STREAMS[stream](model_of(ANSWERS), config):
        break
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "UsageRecorded", "RunCancelled"]
    assert (run.text, run.state.total_usage.input_tokens) == ("3 ", 120)


def test_a_graphs_stream_that_is_abandoned_is_a_cancelled_run(stack, config):
    stream = STREAMS["graph"](model_of(ANSWERS), config)
    next(stream)
    stream.close()
    run = the_recorded(stack)
    assert run.types[-1] == "RunCancelled"
    assert len(run.of("UsageRecorded")) == 1


@pytest.mark.parametrize("stream", ASTREAMS)
def test_an_asynchronous_stream_that_is_abandoned_is_a_cancelled_run(stack, config, stream):
    async def abandon():
        pieces = ASTREAMS[stream](model_of(Endless(ANSWERS, asyncio.Event())), config)
        await anext(pieces)
        await pieces.aclose()

    asyncio.run(abandon())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "UsageRecorded", "RunCancelled"]


def test_a_stream_that_langchain_reads_to_its_end_when_it_is_abandoned_is_complete(stack, handler):
    chain = PROMPT | model_of(ANSWERS) | StrOutputParser()
    for _ in chain.stream({"question": "Oslo?"}, {"callbacks": [handler]}):
        break
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", *["TextDelta"] * 2, *MODEL_ANSWERS[2:], "RunCompleted"]


def test_what_goes_on_after_its_run_is_over_is_no_run(stack, handler):
    async def one_fails():
        failed = asyncio.Event()

        async def late(question):
            await failed.wait()
            return await model_of(ANSWERS).ainvoke(question)

        async def fail(question):
            raise ConnectionError("reset")

        both = RunnableLambda(lambda question: question) | {"late": RunnableLambda(late), "fail": RunnableLambda(fail)}
        with pytest.raises(ConnectionError):
            await both.ainvoke("Oslo?", {"callbacks": [handler]})
        failed.set()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(one_fails())
    assert the_recorded(stack).types == ["RunStarted", "RunFailed"]


# ---------------------------------------------------------------- pauses


def ask(state):
    return {"messages": [("user", interrupt("?"))]}


def asking_graph(**compiled):
    return graph_of(model_of(ASKS, ANSWERS), careful_weather, checkpointer=InMemorySaver(), **compiled)


PAUSED = ["RunStarted", *MODEL_ASKS, "ToolExecutionStarted", "agent.Paused"]
RESUMED = ["RunStarted", *TOOL, *MODEL_ANSWERS, "RunCompleted"]


def test_a_run_that_waits_for_an_answer_is_paused_and_its_resumption_another_run(stack, config):
    graph = asking_graph()
    [asked] = graph.invoke(QUESTION, config)["__interrupt__"]
    paused = the_recorded(stack)
    assert paused.types == PAUSED
    assert (paused.events[-1]["reason"], paused.events[-1]["pending"]) == ("interrupt", [asked.id])
    assert paused.state.status is RunStatus.CALLING_MODEL
    assert paused.state.total_usage.total_tokens == 110

    graph.invoke(Command(resume=4), config)
    first, resumed = all_recorded(stack)
    assert (first.types, resumed.types) == (PAUSED, RESUMED)
    assert resumed.state.status is RunStatus.COMPLETED
    assert first.record.session_id == resumed.record.session_id == "thread-1"
    assert resumed.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "4 degrees"}}


def test_asynchronous_code_pauses_and_resumes_alike(stack, config):
    async def pause_and_resume():
        graph = asking_graph()
        await graph.ainvoke(QUESTION, config)
        await graph.ainvoke(Command(resume=4), config)

    asyncio.run(pause_and_resume())
    assert [run.types for run in all_recorded(stack)] == [PAUSED, RESUMED]


def test_a_stream_that_is_closed_at_the_interrupt_is_paused(stack, config):
    for update in asking_graph().stream(QUESTION, config):
        if "__interrupt__" in update:
            break
    del update
    assert the_recorded(stack).types == PAUSED


@pytest.mark.parametrize(("when", "tool_events"), [("interrupt_before", []), ("interrupt_after", TOOL)])
def test_a_graph_that_stops_before_or_after_a_node_is_paused(stack, config, when, tool_events):
    graph_of(model_of(ASKS, ANSWERS), checkpointer=InMemorySaver(), **{when: ["tools"]}).invoke(QUESTION, config)
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *tool_events, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == (when, [])


def test_a_subgraph_that_waits_pauses_the_run(stack, config):
    outer = StateGraph(MessagesState)
    outer.add_node("agent", graph_of(model_of(ASKS, ANSWERS), careful_weather))
    outer.add_edge(START, "agent")
    graph = outer.compile(checkpointer=InMemorySaver())
    graph.invoke(QUESTION, config)
    graph.invoke(Command(resume=4), config)
    assert [run.types for run in all_recorded(stack)] == [PAUSED, RESUMED]


def test_a_graph_within_a_chain_that_waits_pauses_the_run(stack, config):
    (asking_graph() | RunnableLambda(len)).invoke(QUESTION, config)
    assert the_recorded(stack).types == PAUSED


def test_two_nodes_that_wait_are_pending_once_each(stack, config):
    graph = StateGraph(MessagesState)
    for name in "ab":
        graph.add_node(name, ask)
        graph.add_edge(START, name)
    asked = graph.compile(checkpointer=InMemorySaver()).invoke(QUESTION, config)["__interrupt__"]
    assert sorted(the_recorded(stack).events[-1]["pending"]) == sorted(each.id for each in asked)


def test_a_node_that_fails_beside_one_that_waits_fails_the_run(stack, config):
    def fail(state):
        raise LookupError("no station")

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("fail", fail)
    graph.add_edge(START, "ask")
    graph.add_edge(START, "fail")
    with pytest.raises(LookupError):
        graph.compile(checkpointer=InMemorySaver()).invoke(QUESTION, config)
    assert the_recorded(stack).types == ["RunStarted", "RunFailed"]


def test_a_graph_that_is_drained_is_paused(stack, config):
    control = RunControl()

    @tool("get_weather")
    def drain(city: str) -> str:
        """Let the process be stopped."""
        control.request_drain("deploy")
        return "3 degrees"

    graph = graph_of(model_of(ASKS, ANSWERS), drain, checkpointer=InMemorySaver())
    with pytest.raises(Exception, match="deploy"):
        graph.invoke(QUESTION, config, control=control)
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL_ASKS, *TOOL, "agent.Paused"]
    assert run.events[-1]["reason"] == "Graph drained: deploy"


# ---------------------------------------------------------------- ids, sessions, metadata


def test_the_run_id_is_langchains(stack, config):
    run_id = uuid4()
    graph_of(model_of(ANSWERS)).invoke(QUESTION, {**config, "run_id": run_id, "metadata": {"customer": "c-1"}})
    record = recorded(stack, str(run_id)).record
    assert record.metadata == {
        "framework": "langchain",
        "framework_run_id": str(run_id),
        "thread_id": "thread-1",
        "customer": "c-1",
    }
    assert record.session_id == "thread-1"


def test_without_one_the_run_id_is_the_one_that_langchain_makes(stack, config):
    seen = []

    class Watching(BaseCallbackHandler):
        def on_chain_start(self, *_, run_id, parent_run_id, **__):
            seen.append((run_id, parent_run_id))

    graph_of(model_of(ANSWERS)).invoke(QUESTION, {**config, "callbacks": [*config["callbacks"], Watching()]})
    assert seen[0] == (UUID(the_recorded(stack).record.run_id), None)


def test_metadata_and_session_of_the_handler_are_for_runs_without_their_own(stack):
    handler = BehestCallbackHandler(stack.store, session_id="s", metadata={"team": "a", "customer": None})
    for metadata in ({}, {"thread_id": "t", "customer": "c-1"}):
        model_of(ANSWERS).invoke("Oslo?", {"callbacks": [handler], "metadata": metadata})
    first, second = (run.record for run in all_recorded(stack))
    assert (first.session_id, first.metadata["team"], first.metadata["customer"]) == ("s", "a", None)
    assert (second.session_id, second.metadata["team"], second.metadata["customer"]) == ("t", "a", "c-1")
    assert {*first.metadata} == {"framework", "framework_run_id", "team", "customer"}


def test_a_run_id_that_comes_again_continues_its_run(stack, config):
    run_id = uuid4()
    for _ in range(2):
        graph_of(model_of(ANSWERS)).invoke(QUESTION, {**config, "run_id": run_id})
    assert the_recorded(stack).types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"] * 2


# ---------------------------------------------------------------- several at once


def test_runs_in_threads_are_told_apart(stack, handler):
    graph = graph_of(model_of(ASKS, ANSWERS))
    barrier = threading.Barrier(4)

    def invoke(number):
        barrier.wait()
        graph.invoke(QUESTION, {"callbacks": [handler], "configurable": {"thread_id": str(number)}})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(invoke, range(4)))
    runs = all_recorded(stack)
    assert {run.record.session_id for run in runs} == {"0", "1", "2", "3"}
    assert [run.types for run in runs] == [["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]] * 4


def test_runs_in_tasks_are_told_apart(stack, handler):
    async def invoke_all():
        graph = graph_of(model_of(ASKS, ANSWERS))
        await asyncio.gather(*(graph.ainvoke(QUESTION, {"callbacks": [handler]}) for _ in range(4)))

    asyncio.run(invoke_all())
    runs = all_recorded(stack)
    assert [run.types for run in runs] == [["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]] * 4
    assert {run.state.total_usage.total_tokens for run in runs} == {235}


# ---------------------------------------------------------------- never in the way


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, config):
    back = away(stack)
    try:
        stubborn = BehestCallbackHandler(stack.store, give_up_after=0.0)
        said = graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, {**config, "callbacks": [stubborn]})
    finally:
        back()
    assert said["messages"][-1].text == "3 degrees."
    assert all_recorded(stack) == []


@pytest.mark.parametrize(
    "method", ["model_started", "token", "model_answered", "tool_started", "tool_returned", "ended", "interrupted"]
)
def test_an_error_within_the_handler_changes_nothing_for_the_agent(stack, config, monkeypatch, caplog, method):
    def fail(*_):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(RecordedRun, method, fail)
    graph = asking_graph()
    list(graph.stream(QUESTION, config, stream_mode="messages"))
    said = graph.invoke(Command(resume=4), config)
    assert said["messages"][-1].text == "3 degrees."
    assert {each.name for each in caplog.records} == {"behest_core"}


def test_an_error_at_the_beginning_changes_nothing_for_the_agent(stack, config, monkeypatch, caplog):
    monkeypatch.setattr(behest_langchain, "begin", None)
    said = graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
    assert said["messages"][-1].text == "3 degrees."
    assert "behest could not record" in caplog.text
    assert all_recorded(stack) == []


def test_settings_reach_the_recorder(stack, config):
    def redact(event):
        return None if event["type"] == "TextDelta" else event

    handler = BehestCallbackHandler(stack.store, redact=redact, cut_at=10)
    graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, {**config, "callbacks": [handler]})
    run = the_recorded(stack)
    assert run.text == ""
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"cut": '{"city":"O', "bytes": 15}


def test_a_tool_may_return_anything(stack, handler):
    @dataclass
    class Reading:
        degrees: float
        of: object

    @tool
    def measure() -> object:
        """Measure."""
        return Reading(3.5, RunnableLambda)

    measure.invoke({}, {"callbacks": [handler]})
    output = the_recorded(stack).of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["degrees"] == 3.5


def test_nothing_is_kept_of_runs_that_are_over(stack, handler, config):
    graph = asking_graph()
    graph.invoke(QUESTION, config)
    graph.invoke(Command(resume=4), config)
    list((PROMPT | model_of(ANSWERS)).stream({"question": "Oslo?"}, config))
    assert handler._runs == {}


def test_runs_that_never_end_are_let_go(stack, handler, monkeypatch):
    monkeypatch.setattr(behest_langchain, "_OPEN_AT_MOST", 2)
    for number in range(4):
        handler.on_chain_start({}, {}, run_id=UUID(int=number))
    assert [*handler._runs] == [UUID(int=2), UUID(int=3)]
    handler.on_chain_end({}, run_id=UUID(int=0))
    for number in (2, 3):
        handler.on_chain_end({}, run_id=UUID(int=number))
    assert [run.types for run in all_recorded(stack)].count(["RunStarted", "RunCompleted"]) == 2


def test_langgraph_need_not_be_there():
    program = """
import sys
sys.modules["langgraph.errors"] = None
from behest_langchain import BehestCallbackHandler
from langchain_core.callbacks import BaseCallbackHandler
assert BehestCallbackHandler.__bases__ == (BaseCallbackHandler,)
assert "langgraph.callbacks" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
