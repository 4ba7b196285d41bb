"""Agents that call agents."""

from behest_strands import BehestHooks
from strands import Agent
from strands.multiagent import GraphBuilder, Swarm
from strands_models import ASKS, MODEL, TOOL, StubModel, Turn, says

from behest_core.testing.recorded import all_recorded, the_recorded


def test_an_agent_that_is_a_tool_has_a_run_that_names_its_caller(stack):
    hooks = BehestHooks(stack.store)
    inner = Agent(name="forecaster", model=StubModel(says("Cold.")), hooks=[hooks], callback_handler=None)
    turns = Turn(tools=[("call-1", "forecaster", {"input": "?"})]), says("It is cold.")
    Agent(name="host", model=StubModel(*turns), tools=[inner], hooks=[hooks], callback_handler=None)("?")

    outer, called = all_recorded(stack.store)
    assert outer.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert called.types == ["RunStarted", *MODEL, "RunCompleted"]
    assert outer.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "Cold.\n"}}
    assert (outer.record.metadata["agent"], called.record.metadata["agent"]) == ("host", "forecaster")
    assert called.record.metadata["parent_run_id"] == outer.record.run_id
    assert "parent_run_id" not in outer.record.metadata
    assert called.record.session_id == outer.record.session_id


def test_an_agent_without_hooks_is_a_tool_as_any_other(stack, agent_of):
    inner = Agent(name="forecaster", model=StubModel(says("Cold.")), callback_handler=None)
    agent_of(Turn(tools=[("call-1", "forecaster", {"input": "?"})]), says("It is cold."), tools=[inner])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 24


def test_each_node_of_a_graph_is_a_run(stack):
    hooks = BehestHooks(stack.store, session_id="graph-1")
    graph = GraphBuilder().set_max_node_executions(2)
    for name in "ab":
        graph.add_node(Agent(name=name, model=StubModel(says(name)), hooks=[hooks], callback_handler=None), name)
    graph.add_edge("a", "b")
    graph.build()("?")
    runs = all_recorded(stack.store)
    assert [run.types for run in runs] == [["RunStarted", *MODEL, "RunCompleted"]] * 2
    assert [(run.record.metadata["agent"], run.record.session_id) for run in runs] == [
        ("a", "graph-1"),
        ("b", "graph-1"),
    ]


def test_each_turn_of_a_swarm_is_a_run(stack):
    hooks = BehestHooks(stack.store, session_id="swarm-1")
    hands_over = Turn(tools=[("call-1", "handoff_to_agent", {"agent_name": "b", "message": "yours"})])
    a = Agent(name="a", model=StubModel(hands_over, says("Handed over.")), hooks=[hooks], callback_handler=None)
    b = Agent(name="b", model=StubModel(says("Done.")), hooks=[hooks], callback_handler=None)
    Swarm([a, b])("?")
    first, second = all_recorded(stack.store)
    assert first.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert second.types == ["RunStarted", *MODEL, "RunCompleted"]
    assert [run.record.metadata["agent"] for run in (first, second)] == ["a", "b"]
