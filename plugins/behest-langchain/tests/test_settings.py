"""What the user can set."""

import pytest
from behest_langchain import BehestCallbackHandler
from langchain_models import ANSWERS, ASKS, QUESTION, graph_of, model_of

from behest_core.testing.recorded import the_recorded


def test_settings_reach_the_recorder(stack, config):
    def redact(event):
        return None if event["type"] == "TextDelta" else event

    handler = BehestCallbackHandler(stack.store, redact=redact, cut_at=10)
    graph_of(model_of(ASKS, ANSWERS)).invoke(QUESTION, {**config, "callbacks": [handler]})
    run = the_recorded(stack.store)
    assert run.text == ""
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"cut": '{"city":"O', "bytes": 15}


def test_an_unknown_setting_is_refused_when_the_adapter_is_made():
    with pytest.raises(TypeError, match="intervall is no setting"):
        BehestCallbackHandler(None, intervall=1.0)
