"""An agent that an adapter of ours records, in a step of a durable function: its run is there once, below the execution's."""

from __future__ import annotations

import pytest
from aws_durable_execution_sdk_python.config import Duration
from behest_durable import recorded
from behest_strands import BehestHooks
from durable_processes import Service
from strands import Agent
from strands_models import StubModel, Turn

from behest_core.testing.fixtures import stack, tables
from behest_core.testing.recorded import all_recorded

__all__ = ["stack", "tables"]


@pytest.fixture
def service():
    with Service() as running:
        yield running


def test_an_agent_of_strands_is_recorded_once_however_often_the_handler_runs(stack, service):
    def ask(step):
        agent = Agent(
            model=StubModel(Turn(["It is 3 degrees."])), hooks=[BehestHooks(stack.store)], callback_handler=None
        )
        return str(agent("How warm is it?"))

    @recorded(stack.store, provider="stub", model="stub-1")
    def handler(event, context):
        context.step(ask, name="ask")
        context.wait(Duration.from_seconds(60), name="a minute")
        return context.step(ask, name="again")

    assert service.run(handler).result == '"It is 3 degrees.\\n"'
    runs = all_recorded(stack.store)
    (execution,) = [run for run in runs if run.record.metadata["framework"] == "lambda-durable"]
    children = [run for run in runs if run is not execution]
    steps = {each["step_id"]: each["name"] for each in execution.of("agent.StepStarted")}
    assert [steps[run.record.metadata["parent_step_id"]] for run in children] == ["ask", "again"]
    for run in children:
        assert run.types.count("RunStarted") == run.types.count("ModelStarted") == run.types.count("RunCompleted") == 1
        assert run.record.metadata["parent_run_id"] == execution.record.run_id
