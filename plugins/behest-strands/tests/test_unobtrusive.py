"""Whatever goes wrong in the recording, the agent goes on."""

import logging

import behest_strands
import pytest
from behest_strands import agents, invocation, sent, translation
from strands_models import ASKS, MODEL, TOOL, asks, says, weather

from behest_core.recording.adapter import begin
from behest_core.testing.recorded import refuse_writes, the_recorded


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, agent_of, monkeypatch):
    runs = []

    def remember(*args, **more):
        runs.append(begin(*args, **more))
        return runs[0]

    monkeypatch.setattr(behest_strands, "begin", remember)
    monkeypatch.setattr(agents, "END_WAIT", 0.0)
    back = refuse_writes(stack)
    assert str(agent_of(asks(), says("Cold."), tools=[weather])("?")) == "Cold.\n"
    back()
    runs[0].flush()
    assert the_recorded(stack.store).types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]


@pytest.mark.parametrize(
    "broken",
    [
        (behest_strands, "begin"),
        (behest_strands, "provider_of"),
        (agents, "waiting"),
        (sent, "_sent"),
        (invocation, "as_json"),
        (invocation, "RunningTool"),
        *((translation, name) for name in ("provider_of", "parameters_of", "tokens_of", "reasoning_of", "outcome_of")),
    ],
)
def test_a_fault_in_here_changes_nothing_for_the_agent(stack, agent_of, monkeypatch, caplog, broken):
    def fail(*args, **kwargs):
        raise RuntimeError("a fault")

    monkeypatch.setattr(*broken, fail)
    agent = agent_of(asks(), says("Cold."), tools=[weather])
    assert str(agent("?")) == "Cold.\n"
    assert "could not record what an agent did" in caplog.text
    assert {each.name for each in caplog.records if each.levelno == logging.ERROR} == {"behest_core"}
