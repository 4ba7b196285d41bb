"""What the user can set."""

import asyncio

import pytest
from behest_openai_agents import BehestRunner
from openai_agents_models import agent, asks, says

from behest_core.testing.recorded import the_recorded


def test_settings_reach_the_recorder(stack):
    def redact(event):
        return None if event["type"] == "TextDelta" else event

    runner = BehestRunner(stack.store, redact=redact, cut_at=20)
    asyncio.run(runner.run(agent(asks("weather", {"city": "x" * 100}), says("3 degrees.")), "Oslo?"))
    run = the_recorded(stack.store)
    assert run.text == ""
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"cut": '{"city":"xxxxxxxxxxx', "bytes": 111}


def test_an_unknown_setting_is_refused_when_the_adapter_is_made():
    with pytest.raises(TypeError, match="intervall is no setting"):
        BehestRunner(None, intervall=1.0)
