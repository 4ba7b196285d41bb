"""Whatever goes wrong in the recording, the agent goes on."""

import pytest
from behest_pydantic_ai import BehestRecording
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai_models import FIRST, LAST, TEAPOT, with_model

from behest_core.recording.model_call import ModelCall
from behest_core.recording.recorder import RunRecorder
from behest_core.testing.recorded import all_recorded, refuse_writes


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, caplog):
    back = refuse_writes(stack)
    recording = BehestRecording(stack.store, give_up_after=0.0)
    assert with_model(recording, FIRST, LAST).run_sync("Oslo?").output == "3 degrees."
    back()
    assert "behest dropped" in caplog.text
    assert all_recorded(stack.store) == []


OF_THE_RUN = ["start", "model_call", "tool_started", "tool_finished", "completed", "close"]
OF_A_CALL = ["text", "tool_called", "usage", "finished", "message_committed"]


def breaks(monkeypatch, recorder, method):
    """Let a method of the recorder raise, when it has done its work."""
    works = getattr(recorder, method)

    def broken(*arguments, **named):
        works(*arguments, **named)
        raise LookupError(method)

    monkeypatch.setattr(recorder, method, broken)


@pytest.mark.parametrize("method", [*OF_THE_RUN, *OF_A_CALL])
def test_an_exception_in_the_recording_changes_nothing_for_the_agent(stack, agent, monkeypatch, caplog, method):
    breaks(monkeypatch, RunRecorder if method in OF_THE_RUN else ModelCall, method)
    assert agent.run_sync("Oslo?").output == "3 degrees."
    assert f"LookupError: '{method}'" in caplog.text or f"LookupError: {method}" in caplog.text


@pytest.mark.parametrize("recorder", [RunRecorder, ModelCall])
def test_an_exception_in_the_recording_of_a_failure_changes_nothing_either(stack, recording, monkeypatch, recorder):
    breaks(monkeypatch, recorder, "failed")
    with pytest.raises(ModelHTTPError):
        with_model(recording, TEAPOT).run_sync("Oslo?")
