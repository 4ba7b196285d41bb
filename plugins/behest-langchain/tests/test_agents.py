"""Agents that call agents."""

from langchain_core.tools import tool
from langchain_models import (
    ANSWERS,
    ASKS,
    MODEL_ANSWERS,
    MODEL_ASKS,
    QUESTION,
    TOOL,
    answer,
    graph_of,
    model_of,
    work_of,
)
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
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *asking, *MODEL_ANSWERS, "RunCompleted"]
    assert run.state.total_usage.input_tokens == 221


def test_nodes_and_subgraphs_are_steps_and_what_happens_in_them_says_so(stack, config):
    inner = graph_of(model_of(answer("inner", tokens=(1, 1))), name="researcher")

    @tool("get_weather")
    def ask_agent(city: str) -> str:
        """Ask another agent."""
        return inner.invoke({"messages": [("user", city)]})["messages"][-1].text

    outer = StateGraph(MessagesState)
    outer.add_node("agent", graph_of(model_of(ASKS, ANSWERS), ask_agent, name="forecaster"))
    outer.add_edge(START, "agent")
    outer.compile(name="desk").invoke(QUESTION, config)
    run = the_recorded(stack.store)
    steps = {each["step_id"]: each for each in run.of("agent.StepStarted")}

    def path_of(step_id):
        step = steps.get(step_id)
        return () if step is None else (*path_of(step.get("parent_step_id")), f"{step['kind']} {step['name']}")

    around = ("node agent", "subgraph forecaster")
    assert [path_of(each["step_id"]) for each in run.of("ModelStarted")] == [
        (*around, "node model"),
        (*around, "node tools", "subgraph researcher", "node model"),
        (*around, "node model"),
    ]
    [executed] = run.of("ToolExecutionFinished")
    assert path_of(executed["step_id"]) == (*around, "node tools")
    assert executed["model_call_id"] == run.of("ModelStarted")[0]["model_call_id"]
    assert {each["step_id"] for each in run.of("agent.StepFinished")} == set(steps)
    assert run.record.metadata["agent_name"] == "desk"


def test_an_agent_says_its_name_and_its_run_its_tags_and_its_user(stack, handler):
    config = {"callbacks": [handler], "tags": ["blue"], "metadata": {"lc_agent_name": "forecaster", "user_id": "u-1"}}
    graph_of(model_of(ANSWERS)).invoke(QUESTION, config)
    about = the_recorded(stack.store).record.metadata
    assert (about["agent_name"], about["tags"], about["user_id"]) == ("forecaster", ["blue"], "u-1")
