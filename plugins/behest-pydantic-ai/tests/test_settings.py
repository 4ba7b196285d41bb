"""What the user can set."""

import pytest
from behest_pydantic_ai import BehestRecording
from pydantic_ai_models import FIRST, LAST, WITH_A_TOOL, with_model

from behest_core.testing.recorded import the_recorded


def test_the_settings_of_the_recorder_can_be_given(stack):
    def without_text(event):
        return None if event["type"] == "TextDelta" else event

    recording = BehestRecording(stack.store, redact=without_text, cut_at=5)
    with_model(recording, FIRST, LAST).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == [kind for kind in WITH_A_TOOL if kind != "TextDelta"]
    assert run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"] == {"cut": '"3 de', "bytes": 19}


def test_an_unknown_setting_is_refused_when_the_adapter_is_made():
    with pytest.raises(TypeError, match="intervall is no setting"):
        BehestRecording(None, intervall=1.0)
