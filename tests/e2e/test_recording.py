"""Agents of frameworks, recorded by their adapters, are folded by the deployed function."""

from __future__ import annotations

import time

import pytest
from behest_langchain import BehestCallbackHandler
from behest_strands import BehestHooks
from langchain_models import weather_agent
from strands import Agent, tool
from strands_models import StubModel, Turn

from behest_core.model.state import RunStatus
from behest_core.store import RunStore
from tests.e2e.states import ARRIVAL_SECONDS

pytestmark = pytest.mark.e2e


@pytest.fixture
def store(deployed_stack):
    outputs = deployed_stack.outputs
    return RunStore(outputs["EventTableName"], outputs["StateTableName"], client=deployed_stack.client("dynamodb"))


def finished(store, session_id):
    """Return the state of the session's only run, once that has ended."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        states = list(store.states(session_id=session_id))
        if states and states[0].status.is_terminal:
            [state] = states
            return state
        assert time.monotonic() < deadline, f"the run has not come to its end: {states}"
        time.sleep(0.25)


def test_an_agent_of_strands(store):
    @tool
    def get_weather(city: str) -> str:
        """Tell the weather."""
        return f"3 degrees in {city}"

    turns = Turn(tools=[("call-1", "get_weather", {"city": "Oslo"})]), Turn(["It is ", "3 degrees."])
    hooks = BehestHooks(store, session_id="e2e-strands")
    agent = Agent(model=StubModel(*turns), tools=[get_weather], hooks=[hooks], callback_handler=None)
    assert agent("How warm is it in Oslo?").stop_reason == "end_turn"
    state = finished(store, "e2e-strands")
    assert (state.status, state.iteration, state.total_usage.total_tokens) == (RunStatus.COMPLETED, 2, 24)


def test_an_agent_of_langgraph(store):
    config = {"callbacks": [BehestCallbackHandler(store)], "configurable": {"thread_id": "e2e-langgraph"}}
    weather_agent().invoke({"messages": [("user", "How warm is it in Oslo?")]}, config)
    state = finished(store, "e2e-langgraph")
    assert (state.status, state.iteration, state.total_usage.total_tokens) == (RunStatus.COMPLETED, 2, 235)
