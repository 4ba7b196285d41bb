"""What the user can set."""

import asyncio
import json

import pytest
from ag_ui.core import (
    CustomEvent,
    ReasoningMessageContentEvent,
    RunErrorEvent,
    SubagentErrorEvent,
    SubagentStartedEvent,
)
from ag_ui_models import asked, call, drained, finished, result, run, started, stream, text
from behest_ag_ui import record

from behest_core.testing.recorded import the_recorded


def test_settings_reach_the_recorder(stack):
    def redact(event):
        return None if event["type"] == "TextDelta" else event

    events = [started(asked()), *text("m", "secret"), *call("c", "f", json.dumps("x" * 100)), finished(asked())]
    run(stack, *events, redact=redact, cut_at=20)
    seen = the_recorded(stack.store)
    assert seen.types == ["RunStarted", "AssistantMessageCommitted", "ToolCallCompleted", "RunCompleted"]
    assert seen.events[2]["call"]["arguments"] == {"cut": '"' + "x" * 19, "bytes": 102}


@pytest.mark.parametrize("content", [True, False])
def test_without_content_nothing_that_was_said_is_in_the_log(stack, content):
    events = [
        started(asked()),
        *text("m", "secret"),
        ReasoningMessageContentEvent(message_id="r", delta="secret"),
        *call("c", "f", json.dumps("secret")),
        result("c", "secret"),
        CustomEvent(name="cart", value="secret"),
        SubagentStartedEvent(subagent_run_id="s", name="search"),
        SubagentErrorEvent(subagent_run_id="s", message="secret"),
        SubagentStartedEvent(subagent_run_id="t", name="search"),
        RunErrorEvent(message="secret", code="E1"),
    ]
    run(stack, *events, content=content)
    seen = the_recorded(stack.store)
    assert ("secret" in json.dumps(seen.events)) is content
    assert seen.of("RunFailed")[0]["error"] == ("E1: secret" if content else "E1")
    assert len(seen.of("ag_ui.Custom")) == 1


def test_an_unknown_setting_is_refused_when_a_stream_is_wrapped():
    with pytest.raises(TypeError, match="intervall is no setting"):
        asyncio.run(drained(record(stream(), None, intervall=1.0)))
