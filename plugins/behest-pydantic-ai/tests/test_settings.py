"""What the user can set."""

import pytest
from behest_pydantic_ai import BehestRecording
from pydantic import BaseModel
from pydantic_ai import NativeOutput
from pydantic_ai.messages import ToolCallPart
from pydantic_ai_models import FIRST, LAST, WITH_A_TOOL, answer, with_model

from behest_core.testing.recorded import the_recorded


def test_the_settings_of_the_recorder_can_be_given(stack):
    def without_text(event):
        return None if event["type"] == "TextDelta" else event

    recording = BehestRecording(stack.store, redact=without_text, cut_at=5)
    with_model(recording, FIRST, LAST).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == [kind for kind in WITH_A_TOOL if kind != "TextDelta"]
    assert run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"] == {"cut": '"3 de', "bytes": 19}


SECRET = "the-secret"


class Secret(BaseModel):
    """the-secret"""

    name: str


@pytest.mark.parametrize("content", [True, False])
def test_without_content_nothing_that_was_said_is_in_the_log(stack, content):
    def weather(city: str) -> str:
        raise KeyError(SECRET)

    asked = ToolCallPart("weather", {"city": SECRET}, "1")
    recording = BehestRecording(stack.store, content=content)
    agent = with_model(
        recording, answer(SECRET, asked), tools=[weather], instructions=SECRET, output_type=[NativeOutput(Secret)]
    )
    with pytest.raises(KeyError):
        agent.run_sync(SECRET)
    run = the_recorded(stack.store)
    raw = b"".join(each.raw for each in stack.store.events(run.record.run_id)).decode()
    assert (SECRET in raw) is content
    assert len(run.of("agent.ModelRequested")) == len(run.of("ToolCallCompleted")) == 1


def test_an_unknown_setting_is_refused_when_the_adapter_is_made():
    with pytest.raises(TypeError, match="intervall is no setting"):
        BehestRecording(None, intervall=1.0)
