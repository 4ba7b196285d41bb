"""Tools: asked for, executed, and what they returned."""

from dataclasses import dataclass

from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_models import ANSWERS, ASKS, QUESTION, TOOL, answer, graph_of, model_of

from behest_core.testing.recorded import the_recorded


def test_a_tool_is_recorded_with_what_it_gave_and_how_long_it_took(stack, config):
    graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
    started, finished = (the_recorded(stack.store).of(kind)[0] for kind in TOOL)
    assert (started["call_id"], started["tool_name"]) == ("call-1", "get_weather")
    assert (finished["call_id"], finished["tool_name"]) == ("call-1", "get_weather")
    assert finished["result"] == {"Success": {"output": '{"city": "Oslo", "degrees": 3}'}}
    assert isinstance(finished["duration_ms"], int)
    assert finished["duration_ms"] >= 0


def test_tools_that_run_at_the_same_time_are_told_apart(stack, config):
    asks = answer("", *((f"call-{city}", "get_weather", {"city": city}) for city in ("Oslo", "Rome")))
    graph_of(model_of(asks, ANSWERS)).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    outputs = {each["call_id"]: each["result"]["Success"]["output"] for each in run.of("ToolExecutionFinished")}
    assert outputs == {f"call-{city}": f'{{"city": "{city}", "degrees": 3}}' for city in ("Oslo", "Rome")}


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
    output = the_recorded(stack.store).of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["degrees"] == 3.5


def test_calls_with_one_id_in_one_answer_are_told_apart(stack, config):
    asks = answer("", *(("call-1", "get_weather", {"city": city}) for city in ("Oslo", "Rome")))
    graph_of(model_of(asks, ANSWERS)).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    [call] = {each["model_call_id"] for each in run.of("ToolCallCompleted")}
    finished = run.of("ToolExecutionFinished")
    assert [(each["call_id"], each["model_call_id"]) for each in finished] == [("call-1", call)] * 2
    outputs = {each["result"]["Success"]["output"] for each in finished}
    assert outputs == {f'{{"city": "{city}", "degrees": 3}}' for city in ("Oslo", "Rome")}


def test_a_tool_that_there_is_not_is_refused(stack, config):
    asks = answer("", ("call-1", "get_news", {}))
    graph_of(model_of(asks, ANSWERS)).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    [refused] = run.of("agent.ToolRefused")
    assert (refused["call_id"], refused["tool_name"]) == ("call-1", "get_news")
    assert "get_news is not a valid tool" in refused["reason"]
    assert refused["model_call_id"] == run.of("ModelStarted")[0]["model_call_id"]
    assert run.of("ToolExecutionStarted") == []


def test_a_tool_call_whose_arguments_cannot_be_read_is_refused(stack, handler):
    message = answer("Hi")
    message.invalid_tool_calls = [{"id": "call-1", "name": "get_weather", "args": "{", "error": "no JSON"}]
    model_of(message).invoke("Oslo?", {"callbacks": [handler]})
    run = the_recorded(stack.store)
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == "{"
    assert run.of("agent.ToolRefused")[0]["reason"] == "no JSON"
