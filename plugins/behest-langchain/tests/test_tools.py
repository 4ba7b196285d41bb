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
