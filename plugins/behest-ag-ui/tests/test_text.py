"""Text, whole and streamed, and the messages that it makes."""

from unittest.mock import ANY

import pytest
from ag_ui.core import (
    CustomEvent,
    RawEvent,
    ReasoningMessageContentEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    ToolCallChunkEvent,
)
from ag_ui_models import asked, assembled, finished, run, started, text

from behest_core.testing.recorded import the_recorded


def test_steps_subagents_and_custom_events_are_part_of_the_run():
    events = assembled(
        StepStartedEvent(step_name="plan"),
        SubagentStartedEvent(subagent_run_id="s", name="search"),
        TextMessageContentEvent(message_id="m", delta="Hi", subagent_run_id="s"),
        SubagentFinishedEvent(subagent_run_id="s", result=3),
        CustomEvent(name="cart", value=None),
        StepFinishedEvent(step_name="plan"),
    )
    assert [each["type"] for each in events] == [
        "ag_ui.StepStarted",
        "ag_ui.SubagentStarted",
        "TextDelta",
        "ag_ui.SubagentFinished",
        "ag_ui.Custom",
        "ag_ui.StepFinished",
    ]
    assert events[4] == {"type": "ag_ui.Custom", "name": "cart", "value": None, "timestamp": ANY}


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_what_the_model_did_not_write_is_left_out(role):
    chunks = [TextMessageChunkEvent(message_id="c", role=role, delta="Hi"), TextMessageChunkEvent(delta=" there")]
    assert assembled(*text("m", "Hi", role=role), *chunks) == []


def test_reasoning_and_empty_pieces_are_left_out():
    assert assembled(ReasoningMessageContentEvent(message_id="r", delta="Hm"), *text("m", "")) == [
        {"type": "AssistantMessageCommitted", "message_id": "m", "timestamp": ANY}
    ]


def test_chunks_of_a_message_are_text_and_the_message_is_committed_when_they_end():
    events = assembled(
        TextMessageChunkEvent(message_id="m-1", delta="3 "),
        RawEvent(event={}),
        TextMessageChunkEvent(delta="degrees"),
        TextMessageChunkEvent(message_id="m-1", delta="."),
        TextMessageChunkEvent(message_id="m-2", delta="Bye"),
    )
    assert [(each["type"], each.get("delta", each.get("message_id"))) for each in events] == [
        ("TextDelta", "3 "),
        ("TextDelta", "degrees"),
        ("TextDelta", "."),
        ("AssistantMessageCommitted", "m-1"),
        ("TextDelta", "Bye"),
        ("AssistantMessageCommitted", "m-2"),
    ]


def test_a_chunk_that_does_not_say_what_it_begins_is_logged_and_left_out(stack, caplog):
    odd = [TextMessageChunkEvent(delta="Hi"), ToolCallChunkEvent(tool_call_id="c")]
    assert run(stack, started(asked()), *odd, finished(asked()))[1:3] == odd
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]
    assert caplog.text.count("the agent goes on") == 2
