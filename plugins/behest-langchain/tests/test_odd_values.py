"""Values that a log, or DynamoDB, can't hold as they are: none of them loses an event."""

import asyncio

import pytest
from behest_langchain import BehestCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langchain_models import ANSWERS, ASKS, MODEL_ASKS, QUESTION, TOOL, StubChatModel, graph_of, model_of, work_of
from langgraph.prebuilt import ToolNode

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded

ODD = {"": 1, "tiny": 1e-200, "long": 10**39 + 1, "lone": "a\ud800", "much": "x" * 200_000}


def weather_that(act):
    @tool("get_weather")
    def weather(city: str) -> object:
        """Tell the weather."""
        return act()

    return weather


def raiser(error):
    def act():
        raise error

    return act


def test_a_lone_surrogate_in_a_tools_error_is_replaced(stack, config):
    node = ToolNode([weather_that(raiser(LookupError("no \ud800")))], handle_tool_errors=True)
    graph_of(model_of(ASKS, ANSWERS), tool_node=node).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "LookupError: no \ufffd"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_lone_surrogate_in_the_agents_exception_is_replaced(stack, config):
    with pytest.raises(ConnectionError, match="\ud800"):
        graph_of(model_of(ConnectionError("no \ud800"))).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: no \ufffd")


class HalvingModel(StubChatModel):
    """Streams a character in two halves."""

    def _stream(self, *_, **__):
        for piece in ("Hi \ud83d", "\ude00!"):
            yield ChatGenerationChunk(message=AIMessageChunk(piece))


def test_halves_of_a_character_that_are_streamed_are_joined(stack, config):
    list(graph_of(HalvingModel(answers=[ANSWERS])).stream(QUESTION, config, stream_mode="messages"))
    assert the_recorded(stack.store).text == "Hi \U0001f600!"


def test_odd_metadata_is_stored_as_near_as_can_be(stack):
    handler = BehestCallbackHandler(stack.store, metadata=ODD)
    graph_of(model_of(ANSWERS)).invoke(QUESTION, {"callbacks": [handler]})
    run = the_recorded(stack.store)
    found = run.record.metadata
    assert (found["(empty)"], found["tiny"], found["long"], found["lone"]) == (1, "1e-200", str(10**39 + 1), "a\ufffd")
    assert found["much"].endswith("(cut, of 200000 bytes)")
    assert run.state.status is RunStatus.COMPLETED


def test_a_result_of_half_a_megabyte_is_cut_and_says_so(stack):
    handler = BehestCallbackHandler(stack.store, cut_at=None)
    graph = graph_of(model_of(ASKS, ANSWERS), weather_that(lambda: "x" * 500_000))
    graph.invoke(QUESTION, {"callbacks": [handler]})
    run = the_recorded(stack.store)
    output = run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["bytes"] == 500_002
    assert len(output["cut"]) > 300_000
    assert run.state.status is RunStatus.COMPLETED


def test_the_members_of_an_exception_group_are_told(stack, config):
    error = ExceptionGroup("both", [LookupError("a"), OSError("b")])
    with pytest.raises(ExceptionGroup):
        graph_of(model_of(error)).invoke(QUESTION, config)
    assert the_recorded(stack.store).state.last_error == (
        "ExceptionGroup: both (2 sub-exceptions)\n  member: LookupError: a\n  member: OSError: b"
    )


def test_a_tool_that_is_cancelled_has_an_end(stack, config):
    is_working = asyncio.Event()

    @tool("get_weather")
    async def wait(city: str) -> str:
        """Wait for ever."""
        is_working.set()
        await asyncio.Event().wait()

    async def cancel():
        task = asyncio.create_task(graph_of(model_of(ASKS), wait).ainvoke(QUESTION, config))
        await is_working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}


def test_a_tool_that_gave_nothing_has_no_text_as_its_output(stack, config):
    graph_of(model_of(ASKS, ANSWERS), weather_that(lambda: None)).invoke(QUESTION, config)
    assert the_recorded(stack.store).of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": None}}
