"""Runs that wait for somebody, and go on as other runs."""

import asyncio

import pytest
from behest_langchain import BehestCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_models import (
    ANSWERS,
    ASKS,
    MODEL_ANSWERS,
    MODEL_ASKS,
    QUESTION,
    TOOL,
    asking_graph,
    careful_weather,
    graph_of,
    model_of,
    work_of,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, interrupt

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded, when_answered


def ask(state):
    return {"messages": [("user", interrupt("?"))]}


PAUSED = ["RunStarted", *MODEL_ASKS, "ToolExecutionStarted", "agent.Paused"]
RESUMED = ["RunStarted", *TOOL, *MODEL_ANSWERS, "RunCompleted"]


def test_a_run_that_waits_for_an_answer_is_paused_and_its_resumption_another_run(stack, config):
    graph = asking_graph()
    [asked] = graph.invoke(QUESTION, config)["__interrupt__"]
    paused = the_recorded(stack.store)
    assert work_of(paused) == PAUSED
    assert (paused.events[-1]["reason"], paused.events[-1]["pending"]) == ("interrupt", [asked.id])
    assert paused.state.status is RunStatus.CALLING_MODEL
    assert paused.state.total_usage.total_tokens == 110

    graph.invoke(Command(resume=4), config)
    first, resumed = all_recorded(stack.store)
    assert (work_of(first), work_of(resumed)) == (PAUSED, RESUMED)
    assert resumed.state.status is RunStatus.COMPLETED
    assert first.record.session_id == resumed.record.session_id == "thread-1"
    assert resumed.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "4 degrees"}}


def test_asynchronous_code_pauses_and_resumes_alike(stack, config):
    async def pause_and_resume():
        graph = asking_graph()
        await graph.ainvoke(QUESTION, config)
        await graph.ainvoke(Command(resume=4), config)

    asyncio.run(pause_and_resume())
    assert [work_of(run) for run in all_recorded(stack.store)] == [PAUSED, RESUMED]


def test_a_stream_that_is_closed_at_the_interrupt_is_paused(stack, config):
    for update in asking_graph().stream(QUESTION, config):
        if "__interrupt__" in update:
            break
    del update
    assert work_of(the_recorded(stack.store)) == PAUSED


@pytest.mark.parametrize(("when", "tool_events"), [("interrupt_before", []), ("interrupt_after", TOOL)])
def test_a_graph_that_stops_before_or_after_a_node_is_paused(stack, config, when, tool_events):
    graph_of(model_of(ASKS, ANSWERS), checkpointer=InMemorySaver(), **{when: ["tools"]}).invoke(QUESTION, config)
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *tool_events, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == (when, [])


def test_a_subgraph_that_waits_pauses_the_run(stack, config):
    outer = StateGraph(MessagesState)
    outer.add_node("agent", graph_of(model_of(ASKS, ANSWERS), careful_weather))
    outer.add_edge(START, "agent")
    graph = outer.compile(checkpointer=InMemorySaver())
    graph.invoke(QUESTION, config)
    graph.invoke(Command(resume=4), config)
    assert [work_of(run) for run in all_recorded(stack.store)] == [PAUSED, RESUMED]


def test_a_graph_within_a_chain_that_waits_pauses_the_run(stack, config):
    (asking_graph() | RunnableLambda(len)).invoke(QUESTION, config)
    assert work_of(the_recorded(stack.store)) == PAUSED


def test_two_nodes_that_wait_are_pending_once_each(stack, config):
    graph = StateGraph(MessagesState)
    for name in "ab":
        graph.add_node(name, ask)
        graph.add_edge(START, name)
    asked = graph.compile(checkpointer=InMemorySaver()).invoke(QUESTION, config)["__interrupt__"]
    assert sorted(the_recorded(stack.store).events[-1]["pending"]) == sorted(each.id for each in asked)


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
    assert work_of(the_recorded(stack.store)) == ["RunStarted", "RunFailed"]


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
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *MODEL_ASKS, *TOOL, "agent.Paused"]
    assert run.events[-1]["reason"] == "Graph drained: deploy"


def answers_of(stack):
    """Let an agent wait, and another, as another process has it, go on. Return what both logs say of the answer."""
    when_answered()
    first, second = all_recorded(stack.store)
    return first.of("agent.Resumed"), second.of("agent.Resumed")


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (True, "granted"),
        (False, "denied"),
        (4, "answered"),
        ({"decisions": [{"type": "approve"}]}, "granted"),
        ({"decisions": [{"type": "approve"}, {"type": "reject"}]}, "denied"),
    ],
)
@pytest.mark.parametrize("by_id", [True, False])
def test_another_process_that_answers_is_told_in_both_logs(stack, given, answered, by_id):
    saver = InMemorySaver()

    def of_a_process():
        config = {"callbacks": [BehestCallbackHandler(stack.store)], "configurable": {"thread_id": "thread-1"}}
        return graph_of(model_of(ASKS, ANSWERS), careful_weather, checkpointer=saver), config

    graph, config = of_a_process()
    [asked] = graph.invoke(QUESTION, config)["__interrupt__"]
    stack.deliver()
    graph, config = of_a_process()
    graph.invoke(Command(resume={asked.id: given} if by_id else given), config)
    [told], [said] = answers_of(stack)
    first, second = all_recorded(stack.store)
    assert told["answers"] == said["answers"] == {asked.id: answered}
    assert told["answering_run_id"] == second.record.run_id
    assert said["paused_run_id"] == first.record.run_id
    assert first.state.status is RunStatus.COMPLETED


def test_a_graph_that_stopped_before_a_node_is_answered_by_going_on(stack, config):
    graph = graph_of(model_of(ASKS, ANSWERS), checkpointer=InMemorySaver(), interrupt_before=["tools"])
    graph.invoke(QUESTION, config)
    stack.deliver()
    graph.invoke(None, config)
    [told], [said] = answers_of(stack)
    assert told["answers"] == said["answers"] == {}


def test_a_graph_that_goes_on_after_a_failure_answers_nobody(stack, config):
    model = model_of(ASKS, ANSWERS, failures=[ConnectionError("reset")])
    graph = graph_of(model, checkpointer=InMemorySaver())
    with pytest.raises(ConnectionError):
        graph.invoke(QUESTION, config)
    stack.deliver()
    graph.invoke(None, config)
    assert answers_of(stack) == ([], [])
