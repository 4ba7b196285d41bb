"""What the user can set."""

import json

import pytest
from behest_strands import BehestHooks
from strands_models import ANSWERED, ASKS, CALLED, KEPT, TOOL, asks, says, weather

from behest_core.testing.recorded import the_recorded


def test_the_settings_reach_the_recorder(stack, agent_of):
    def redact(event):
        return None if event["type"] == "TextDelta" else json.loads(json.dumps(event).replace("Oslo", "a city"))

    settings = {"redact": redact, "cut_at": 8, "metadata": {"a": 1}}
    agent_of(asks(), says("Cold."), settings=settings, tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *CALLED, *ANSWERED, *KEPT, "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": {"cut": '"3 degre', "bytes": 19}}}
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"cut": '{"city":', "bytes": 15}


def test_an_unknown_setting_is_refused_when_the_adapter_is_made():
    with pytest.raises(TypeError, match="intervall is no setting"):
        BehestHooks(None, intervall=1.0)
