"""What fails: tools, models, and with them the run."""

import pytest
from langchain_core.tools import ToolException, tool
from langchain_models import (
    ANSWERS,
    ASKS,
    CALLED,
    MODEL_ANSWERS,
    MODEL_ASKS,
    QUESTION,
    TOOL,
    Broken,
    graph_of,
    model_of,
    work_of,
)
from langgraph.errors import GraphRecursionError
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded

BROKEN_OFF = ["UsageRecorded", "agent.TextDiscarded", "agent.ModelFailed", "RunFailed"]


@tool("get_weather")
def broken_weather(city: str) -> str:
    """Fail."""
    raise LookupError(f"no station in {city}")


def test_a_tool_whose_error_the_graph_handles_does_not_end_the_run(stack, config):
    node = ToolNode([broken_weather], handle_tool_errors=True)
    graph_of(model_of(ASKS, ANSWERS), tool_node=node).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, *MODEL_ANSWERS, "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "LookupError: no station in Oslo"}}


def test_a_tool_that_tells_its_error_itself_has_failed(stack, config):
    @tool("get_weather")
    def careless(city: str) -> str:
        """Fail."""
        raise ToolException("no station")

    careless.handle_tool_error = True
    graph_of(model_of(ASKS, ANSWERS), careless).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "no station"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_tool_whose_error_nobody_handles_fails_the_run(stack, config):
    graph = graph_of(model_of(ASKS), tool_node=ToolNode([broken_weather], handle_tool_errors=False))
    with pytest.raises(LookupError):
        graph.invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "LookupError: no station in Oslo")
    assert run.state.total_usage.total_tokens == 110


def test_a_model_that_fails_fails_the_run_which_keeps_its_tokens(stack, config):
    with pytest.raises(ConnectionError):
        graph_of(model_of(ASKS, ConnectionError("reset"))).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, *CALLED, "agent.ModelFailed", "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: reset")
    assert run.state.total_usage.total_tokens == 110


@pytest.mark.parametrize("root", [graph_of, lambda model: model], ids=["graph", "model"])
def test_a_model_that_fails_at_once_fails_the_run(stack, config, root):
    with pytest.raises(ConnectionError):
        root(model_of(ConnectionError("reset"))).invoke(
            [("user", "Oslo?")] if root is not graph_of else QUESTION, config
        )
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "agent.ModelFailed", "RunFailed"]
    assert run.state.last_error == "ConnectionError: reset"


def test_a_stream_that_breaks_off_keeps_its_text_and_the_tokens_it_told(stack, config):
    graph = graph_of(model_of(Broken(ANSWERS, ConnectionError("reset"))))
    with pytest.raises(ConnectionError):
        list(graph.stream(QUESTION, config, stream_mode="messages"))
    run = the_recorded(stack.store)
    assert work_of(run) == [
        "RunStarted",
        *CALLED,
        "TextDelta",
        "UsageRecorded",
        "agent.TextDiscarded",
        "agent.ModelFailed",
        "RunFailed",
    ]
    assert (run.text, run.state.total_usage.input_tokens, run.state.total_usage.output_tokens) == ("3 ", 120, 0)


def test_a_node_that_is_tried_again_is_one_run(stack, config):
    retry = RetryPolicy(initial_interval=0, retry_on=ConnectionError)
    graph_of(model_of(ANSWERS, failures=[ConnectionError("reset")]), retry=retry).invoke(QUESTION, config)
    assert work_of(the_recorded(stack.store)) == [
        "RunStarted",
        *CALLED,
        "agent.ModelFailed",
        *MODEL_ANSWERS,
        "RunCompleted",
    ]


def test_a_graph_that_takes_too_many_steps_fails(stack, config):
    with pytest.raises(GraphRecursionError):
        graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, {**config, "recursion_limit": 2})
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, "RunFailed"]
    assert run.state.last_error.startswith("GraphRecursionError: ")
