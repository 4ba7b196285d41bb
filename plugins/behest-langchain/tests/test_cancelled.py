"""Runs that are cancelled, or whose reader goes away."""

import asyncio
from uuid import UUID

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_models import (
    ANSWERS,
    ASKS,
    CALLED,
    MODEL_ANSWERS,
    MODEL_ASKS,
    PROMPT,
    QUESTION,
    TOOL,
    USED,
    Endless,
    graph_of,
    model_of,
    work_of,
)

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded

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
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "agent.ModelFailed", "RunCancelled"]
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
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]


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
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "TextDelta", "UsageRecorded", "agent.ModelFailed", "RunCancelled"]
    assert run.state.total_usage.input_tokens == 120


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_tool_that_is_cancelled_with_its_run_has_failed(stack, handler, by_itself):
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
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *asked, *TOOL, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}


def test_ctrl_c_cancels_the_run(stack, config):
    @tool("get_weather")
    def interrupted(city: str) -> str:
        """Be stopped."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        (model_of(ASKS) | RunnableLambda(lambda asked: interrupted.invoke(asked.tool_calls[0]))).invoke("Oslo?", config)
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *MODEL_ASKS, *TOOL, "RunCancelled"]


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
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "TextDelta", "UsageRecorded", "agent.ModelFailed", "RunCancelled"]
    assert (run.text, run.state.total_usage.input_tokens) == ("3 ", 120)


def test_a_graphs_stream_that_is_abandoned_is_a_cancelled_run(stack, config):
    stream = STREAMS["graph"](model_of(ANSWERS), config)
    next(stream)
    stream.close()
    run = the_recorded(stack.store)
    assert work_of(run)[-1] == "RunCancelled"
    assert len(run.of("UsageRecorded")) == 1


@pytest.mark.parametrize("stream", ASTREAMS)
def test_an_asynchronous_stream_that_is_abandoned_is_a_cancelled_run(stack, config, stream):
    async def abandon():
        pieces = ASTREAMS[stream](model_of(Endless(ANSWERS, asyncio.Event())), config)
        await anext(pieces)
        await pieces.aclose()

    asyncio.run(abandon())
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "TextDelta", "UsageRecorded", "agent.ModelFailed", "RunCancelled"]


def test_a_stream_that_langchain_reads_to_its_end_when_it_is_abandoned_is_complete(stack, handler):
    chain = PROMPT | model_of(ANSWERS) | StrOutputParser()
    for _ in chain.stream({"question": "Oslo?"}, {"callbacks": [handler]}):
        break
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, *["TextDelta"] * 2, *USED, "RunCompleted"]
