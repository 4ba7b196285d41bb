"""What the user can set."""

import asyncio
import json

import pytest
from ag_ui_models import asked, call, drained, finished, run, started, stream, text
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


def test_an_unknown_setting_is_refused_when_a_stream_is_wrapped():
    with pytest.raises(TypeError, match="intervall is no setting"):
        asyncio.run(drained(record(stream(), None, intervall=1.0)))
