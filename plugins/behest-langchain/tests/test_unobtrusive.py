"""Whatever goes wrong in the recording, the agent goes on."""

import behest_langchain
import pytest
from behest_langchain import BehestCallbackHandler
from behest_langchain.recorded_run import RecordedRun
from langchain_models import ANSWERS, ASKS, QUESTION, asking_graph, graph_of, model_of
from langgraph.types import Command

from behest_core.testing.recorded import all_recorded, refuse_writes


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, config):
    back = refuse_writes(stack)
    try:
        stubborn = BehestCallbackHandler(stack.store, give_up_after=0.0)
        said = graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, {**config, "callbacks": [stubborn]})
    finally:
        back()
    assert said["messages"][-1].text == "3 degrees."
    assert all_recorded(stack.store) == []


@pytest.mark.parametrize(
    "method", ["model_started", "token", "model_answered", "tool_started", "tool_returned", "ended", "interrupted"]
)
def test_an_error_within_the_handler_changes_nothing_for_the_agent(stack, config, monkeypatch, caplog, method):
    def fail(*_):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(RecordedRun, method, fail)
    graph = asking_graph()
    list(graph.stream(QUESTION, config, stream_mode="messages"))
    said = graph.invoke(Command(resume=4), config)
    assert said["messages"][-1].text == "3 degrees."
    assert {each.name for each in caplog.records} == {"behest_core"}


def test_an_error_at_the_beginning_changes_nothing_for_the_agent(stack, config, monkeypatch, caplog):
    monkeypatch.setattr(behest_langchain, "begin", None)
    said = graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, config)
    assert said["messages"][-1].text == "3 degrees."
    assert "behest could not record" in caplog.text
    assert all_recorded(stack.store) == []
