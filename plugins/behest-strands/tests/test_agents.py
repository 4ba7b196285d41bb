"""Agents that call agents."""

import asyncio
from itertools import pairwise

import pytest
from behest_strands import BehestHooks
from strands import Agent
from strands.hooks import BeforeToolCallEvent
from strands.multiagent import GraphBuilder, Swarm
from strands.session.file_session_manager import FileSessionManager
from strands_models import ASKS, MODEL, TOOL, StubModel, Turn, asks, hook, says, weather

from behest_core.testing.adapter_rules import end_of
from behest_core.testing.recorded import all_recorded, the_recorded, when_answered


def test_an_agent_that_is_a_tool_has_a_run_that_names_its_caller(stack):
    hooks = BehestHooks(stack.store)
    inner = Agent(name="forecaster", model=StubModel(says("Cold.")), hooks=[hooks], callback_handler=None)
    turns = Turn(tools=[("call-1", "forecaster", {"input": "?"})]), says("It is cold.")
    Agent(name="host", model=StubModel(*turns), tools=[inner], hooks=[hooks], callback_handler=None)("?")

    outer, called = all_recorded(stack.store)
    assert outer.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert called.types == ["RunStarted", *MODEL, "RunCompleted"]
    assert outer.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "Cold.\n"}}
    assert (outer.record.metadata["agent_name"], called.record.metadata["agent_name"]) == ("host", "forecaster")
    assert called.record.metadata["parent_run_id"] == outer.record.run_id
    assert "parent_run_id" not in outer.record.metadata
    assert called.record.session_id == outer.record.session_id


def test_an_agent_without_hooks_is_a_tool_as_any_other(stack, agent_of):
    inner = Agent(name="forecaster", model=StubModel(says("Cold.")), callback_handler=None)
    agent_of(Turn(tools=[("call-1", "forecaster", {"input": "?"})]), says("It is cold."), tools=[inner])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 24


def member(hooks, name, *turns, **more):
    """Return an agent for a team."""
    return Agent(name=name, model=StubModel(*turns), hooks=hooks, callback_handler=None, **more)


def graph_of(hooks, *agents, team_hooks=()):
    """Return a graph of agents, one after the other."""
    graph = GraphBuilder().set_max_node_executions(10).set_hook_providers([*hooks, *team_hooks])
    for agent in agents:
        graph.add_node(agent, getattr(agent, "name", "inner"))
    for one, other in pairwise(agents):
        graph.add_edge(one.name, other.name)
    return graph.build()


def steps_of(run):
    return [(each["name"], each["kind"]) for each in run.of("agent.StepStarted")]


STEP = ["agent.StepStarted", "agent.StepFinished"]


def test_a_graph_is_a_run_whose_nodes_are_steps_and_their_agents_its_children(stack):
    hooks = [BehestHooks(stack.store, session_id="graph-1")]
    graph = graph_of(hooks, member(hooks, "a", says("a")), member(hooks, "b", says("b")))
    graph("?")
    team, a, b = all_recorded(stack.store)
    assert team.types == ["RunStarted", *STEP, *STEP, "RunCompleted"]
    assert steps_of(team) == [("a", "node"), ("b", "node")]
    assert (team.record.metadata["agent_name"], team.record.session_id) == (graph.id, "graph-1")
    for run, name in ((a, "a"), (b, "b")):
        assert run.types == ["RunStarted", *MODEL, "RunCompleted"]
        assert run.record.session_id == "graph-1"
        about = run.record.metadata
        assert (about["agent_name"], about["parent_run_id"], about["root_run_id"]) == (
            name,
            team.record.run_id,
            team.record.run_id,
        )


def test_a_node_that_fails_fails_its_step_and_the_graph(stack):
    hooks = [BehestHooks(stack.store)]
    graph = graph_of(hooks, member(hooks, "a", Turn(error=ConnectionError("away"))), member(hooks, "b", says("b")))
    with pytest.raises(ConnectionError):
        graph("?")
    team, a = all_recorded(stack.store)
    assert team.types == ["RunStarted", *STEP, "RunFailed"]
    assert team.of("agent.StepFinished")[0]["error"] == "ConnectionError: away"
    assert (team.state.last_error, a.state.last_error) == ("ConnectionError: away",) * 2


def test_a_swarm_that_is_cancelled_ends_its_steps(stack):
    async def ask():
        is_streaming = asyncio.Event()
        hooks = [BehestHooks(stack.store)]
        swarm = Swarm([member(hooks, "a", says("Let me", then=is_streaming.set, hangs=True))], hooks=hooks)
        task = asyncio.create_task(swarm.invoke_async("?"))
        await is_streaming.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    team, a = all_recorded(stack.store)
    assert team.types == ["RunStarted", *STEP, "RunCancelled"]
    assert a.types[-1] == "RunCancelled"


def test_a_graph_in_a_graph_is_its_child_in_the_same_session(stack):
    hooks = [BehestHooks(stack.store)]
    inner = graph_of(hooks, member(hooks, "a", says("a")))
    graph_of(hooks, inner)("?")
    runs = all_recorded(stack.store)
    root, child, agent = (run.record for run in runs)
    assert [run.types[-1] for run in runs] == ["RunCompleted"] * 3
    assert (child.metadata["parent_run_id"], agent.metadata["parent_run_id"]) == (root.run_id, child.run_id)
    assert agent.metadata["root_run_id"] == root.run_id
    assert root.session_id == child.session_id == agent.session_id


def test_a_graph_that_waits_and_the_agents_in_it_are_answered_each_by_its_own(stack):
    def approval(event):
        event.interrupt("approval")

    hooks = [BehestHooks(stack.store)]
    asking = member([*hooks, hook(BeforeToolCallEvent, approval)], "a", asks(), says("Done."), tools=[weather])
    graph = graph_of(hooks, asking)
    result = graph("?")
    graph([{"interruptResponse": {"interruptId": each.id, "response": "yes"}} for each in result.interrupts])
    when_answered()
    waited, agent_waited, went_on, agent_went_on = all_recorded(stack.store)
    ids = [each.id for each in result.interrupts]
    assert [run.of("agent.Paused")[0]["pending"] for run in (waited, agent_waited)] == [ids, ids]
    assert [run.types[-1] for run in (waited, agent_waited, went_on, agent_went_on)] == ["RunCompleted"] * 4
    for before, after in ((waited, went_on), (agent_waited, agent_went_on)):
        [resumed] = after.of("agent.Resumed")
        assert (resumed["paused_run_id"], resumed["answers"]) == (before.record.run_id, dict.fromkeys(ids, "granted"))
    assert len(waited.of("agent.StepStarted")) == len(waited.of("agent.StepFinished")) == 1


def test_each_turn_of_a_swarm_is_a_step(stack):
    hooks = [BehestHooks(stack.store, session_id="swarm-1")]
    hands_over = Turn(tools=[("call-1", "handoff_to_agent", {"agent_name": "b", "message": "yours"})])
    a, b = member(hooks, "a", hands_over, says("Handed over.")), member(hooks, "b", says("Done."))
    Swarm([a, b], hooks=hooks)("?")
    team, first, second = all_recorded(stack.store)
    assert team.types == ["RunStarted", *STEP, *STEP, "RunCompleted"]
    assert steps_of(team) == [("a", "node"), ("b", "node")]
    assert first.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert second.types == ["RunStarted", *MODEL, "RunCompleted"]
    assert [run.record.metadata["parent_run_id"] for run in (first, second)] == [team.record.run_id] * 2


def test_a_swarm_that_fails_without_raising_has_failed(stack):
    hooks = [BehestHooks(stack.store)]
    Swarm([member(hooks, "a", Turn(error=ConnectionError("away")))], hooks=hooks)("?")
    team, _ = all_recorded(stack.store)
    assert team.types == ["RunStarted", *STEP, "RunFailed"]
    assert team.state.last_error == "ConnectionError: away"


def test_a_swarm_that_goes_on_for_too_long_has_failed(stack):
    hooks = [BehestHooks(stack.store)]
    Swarm([member(hooks, "a", says("a"))], hooks=hooks, max_iterations=0)("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "RunFailed"]
    assert run.state.last_error == "TeamError: it failed without an exception"


def test_the_agents_of_a_team_without_hooks_are_runs_of_their_own(stack):
    hooks = [BehestHooks(stack.store, session_id="graph-1")]
    graph_of([], member(hooks, "a", says("a")))("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *MODEL, "RunCompleted"]
    assert "parent_run_id" not in run.record.metadata


def test_a_graph_that_waits_is_found_by_another_process(stack, tmp_path):
    def approval(event):
        if event.interrupt("approval") != "yes":
            event.cancel_tool = "denied"

    def graph(*turns):
        hooks = [BehestHooks(stack.store, session_id="alice")]
        asking = member([*hooks, hook(BeforeToolCallEvent, approval)], "a", *turns, tools=[weather])
        builder = GraphBuilder().set_max_node_executions(10).set_hook_providers(hooks).set_graph_id("team")
        builder.set_session_manager(FileSessionManager(session_id="alice", storage_dir=str(tmp_path)))
        builder.add_node(asking, "a")
        return builder.build()

    result = graph(asks())("?")
    stack.deliver()
    graph(says("Done."))(
        [{"interruptResponse": {"interruptId": each.id, "response": "no"}} for each in result.interrupts]
    )
    when_answered()
    waited, agent_waited, went_on, agent_went_on = all_recorded(stack.store)
    for before, after in ((waited, went_on), (agent_waited, agent_went_on)):
        [resumed] = after.of("agent.Resumed")
        assert (resumed["paused_run_id"], [*resumed["answers"].values()]) == (before.record.run_id, ["denied"])
        assert end_of(before) == end_of(after) == "RunCompleted"
    assert agent_went_on.of("agent.ToolRefused")[0]["reason"] == "denied"
