"""Agents that call agents."""

from langchain_core.tools import tool
from langchain_models import ANSWERS, ASKS, MODEL_ANSWERS, MODEL_ASKS, QUESTION, TOOL, answer, graph_of, model_of
from langgraph.graph import START, MessagesState, StateGraph

from behest_core.testing.recorded import the_recorded


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
    run = the_recorded(stack.store)
    asking = [TOOL[0], *MODEL_ANSWERS, TOOL[1]]
    assert run.types == ["RunStarted", *MODEL_ASKS, *asking, *MODEL_ANSWERS, "RunCompleted"]
    assert run.state.total_usage.input_tokens == 221
