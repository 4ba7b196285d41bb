"""Text, whole and streamed, and the messages that it makes."""

from unittest.mock import ANY

import pytest
from ag_ui.core import (
    CustomEvent,
    RawEvent,
    ReasoningMessageChunkEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    ToolCallChunkEvent,
)
from ag_ui_models import asked, assembled, call, finished, result, run, started, text

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
        "agent.StepStarted",
        "agent.StepStarted",
        "TextDelta",
        "agent.StepFinished",
        "ag_ui.Custom",
        "agent.StepFinished",
    ]
    assert events[4] == {"type": "ag_ui.Custom", "name": "cart", "value": None, "timestamp": ANY}


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_what_the_model_did_not_write_is_left_out(role):
    chunks = [TextMessageChunkEvent(message_id="c", role=role, delta="Hi"), TextMessageChunkEvent(delta=" there")]
    assert assembled(*text("m", "Hi", role=role), *chunks) == []


def test_empty_pieces_are_left_out():
    assert assembled(*text("m", "")) == [
        {"type": "AssistantMessageCommitted", "message_id": "m", "model_call_id": "m", "timestamp": ANY}
    ]


def test_what_the_model_thought_is_told_when_its_message_ends_or_the_run():
    events = assembled(
        ReasoningMessageStartEvent(message_id="r-1"),
        ReasoningMessageContentEvent(message_id="r-1", delta="Hm, "),
        ReasoningMessageContentEvent(message_id="r-1", delta="Oslo."),
        ReasoningMessageEndEvent(message_id="r-1"),
        ReasoningMessageChunkEvent(message_id="r-2", delta="And "),
        ReasoningMessageChunkEvent(delta="Rome.", subagent_run_id=None),
        *text("m", "3"),
        ReasoningMessageContentEvent(message_id="r-3", delta="Or"),
    )
    thought = [(each["model_call_id"], each["reasoning"]) for each in events if each["type"] == "agent.ModelFinished"]
    assert thought == [("r-1", "Hm, Oslo."), ("r-2", "And Rome."), ("r-3", "Or")]


def test_what_is_said_belongs_to_its_message():
    events = assembled(*text("m-1", "a"), *call("c", "f", of="m-1"), result("c", "x"), *text("m-2", "b"))
    belongs = {each["type"] + str(each.get("delta", "")): each.get("model_call_id") for each in events}
    assert belongs == {
        "TextDeltaa": "m-1",
        "TextDeltab": "m-2",
        "AssistantMessageCommitted": "m-2",
        "ToolCallCompleted": "m-1",
        "ToolExecutionStarted": "m-1",
        "ToolExecutionFinished": "m-1",
        "ToolMessageCommitted": None,
    }


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
