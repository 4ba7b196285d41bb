"""Whatever goes wrong in the recording, the agent goes on."""

import asyncio
from unittest.mock import ANY

import pytest
from ag_ui.core import EventType, ToolCallArgsEvent
from ag_ui_models import asked, drained, finished, run, started, text, weather_agent
from behest_ag_ui import record
from behest_ag_ui import recording as module

from behest_core.store import RunStore
from behest_core.testing.recorded import refuse_writes, the_recorded


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, monkeypatch):
    monkeypatch.setattr(module, "END_WAIT", 0)
    back = refuse_writes(stack)
    try:
        seen = asyncio.run(drained(record(weather_agent(asked()), stack.store)))
    finally:
        back()
    assert [each.type for each in seen][-1] is EventType.RUN_FINISHED


def test_a_table_that_is_missing_changes_nothing_for_the_agent(stack, caplog):
    missing = RunStore("no-such-table", stack.state_table, client=stack.dynamodb)
    seen = asyncio.run(drained(record(weather_agent(asked()), missing)))
    assert seen[-1].type is EventType.RUN_FINISHED
    assert "ResourceNotFoundException" in caplog.text


@pytest.mark.parametrize("broken", ["begin", "parsed", "Assembly"])
def test_a_mistake_of_the_adapter_changes_nothing_for_the_agent(stack, monkeypatch, caplog, broken):
    def mistake(*arguments, **how):
        raise ZeroDivisionError

    monkeypatch.setattr(
        module,
        broken,
        mistake
        if broken != "Assembly"
        else type("A", (), {"__init__": lambda *_, **__: None, "take": mistake, "end": mistake}),
    )
    events = [started(asked()), *text("m", "Hi"), finished(asked())]
    assert run(stack, *events) == events
    assert "ZeroDivisionError" in caplog.text


def test_an_event_that_is_none_changes_nothing_for_the_agent(stack, caplog):
    odd = [object(), {"type": ["x"]}, {"type": "TEXT_MESSAGE_END"}, ToolCallArgsEvent(tool_call_id="?", delta="")]
    assert run(stack, started(asked()), *odd, finished(asked())) == [ANY, *odd, ANY]
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]
