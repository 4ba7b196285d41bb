"""Agents that call agents."""

from ag_ui.core import (
    RunErrorEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
)
from ag_ui_models import NOON, asked, assembled, run, started, text

from behest_core.testing.adapter_rules import starts_have_ends
from behest_core.testing.recorded import the_recorded


def test_chunks_of_subagents_are_kept_apart_by_their_subagent_or_else_by_what_they_go_on_with():
    events = assembled(
        TextMessageChunkEvent(message_id="m-1", delta="1", subagent_run_id="s-1"),
        TextMessageChunkEvent(message_id="m-2", delta="2", subagent_run_id="s-2"),
        TextMessageChunkEvent(delta="1", subagent_run_id="s-1"),
        TextMessageChunkEvent(message_id="m-2", delta="2"),
        SubagentFinishedEvent(subagent_run_id="s-2"),
        TextMessageChunkEvent(delta="1"),
    )
    events = [each for each in events if not each["type"].startswith("agent.")]
    assert [each.get("delta", each.get("message_id", each["type"])) for each in events] == [
        "1",
        "2",
        "1",
        "2",
        "m-2",
        "1",
        "m-1",
    ]


def about(events, kind, *names):
    return [tuple(each.get(name) for name in names) for each in events if each["type"] == kind]


def test_steps_with_one_name_are_told_apart_and_have_ends():
    events = assembled(
        StepStartedEvent(step_name="plan", timestamp=NOON),
        StepFinishedEvent(step_name="plan", timestamp=NOON + 7),
        StepStartedEvent(step_name="plan"),
        StepStartedEvent(step_name="plan"),
        StepFinishedEvent(step_name="plan"),
        StepFinishedEvent(step_name="never began"),
    )
    assert about(events, "agent.StepStarted", "step_id", "name", "kind") == [
        ("plan", "plan", "step"),
        ("plan#2", "plan", "step"),
        ("plan#3", "plan", "step"),
    ]
    assert about(events, "agent.StepFinished", "step_id") == [("plan",), ("plan#3",), ("plan#2",)]
    assert about(events, "agent.StepFinished", "duration_ms")[0] == (7,)


def test_what_a_subagent_does_is_in_its_step():
    events = assembled(
        SubagentStartedEvent(subagent_run_id="s", name="search", parent_subagent_run_id="r"),
        StepStartedEvent(step_name="plan", subagent_run_id="s"),
        TextMessageContentEvent(message_id="m", delta="Hi", subagent_run_id="s"),
        ToolCallStartEvent(tool_call_id="c", tool_call_name="f", subagent_run_id="s"),
        ToolCallEndEvent(tool_call_id="c"),
        SubagentErrorEvent(subagent_run_id="s", message="no", code="E1"),
        SubagentFinishedEvent(subagent_run_id="s"),
    )
    assert about(events, "agent.StepStarted", "step_id", "name", "kind", "parent_step_id") == [
        ("r", "r", "agent", None),
        ("s", "search", "agent", "r"),
        ("plan", "plan", "step", "s"),
    ]
    assert about(events, "TextDelta", "step_id") == about(events, "ToolCallCompleted", "step_id") == [("s",)]
    assert about(events, "agent.StepFinished", "step_id", "error") == [("s", "E1: no"), ("plan", None), ("r", None)]


def test_steps_that_are_open_end_with_their_run_however_that_ends(stack):
    opened = [started(asked()), SubagentStartedEvent(subagent_run_id="s", name="search"), *text("m", "Hi")]
    run(stack, *opened, RunErrorEvent(message="overloaded"))
    seen = the_recorded(stack.store)
    assert seen.types[-2:] == ["agent.StepFinished", "RunFailed"]
    assert seen.of("agent.StepFinished")[0]["error"] == "overloaded"
    assert list(starts_have_ends(seen)) == []


def test_steps_that_are_open_end_where_the_stream_just_ends(stack):
    run(stack, started(asked()), StepStartedEvent(step_name="plan"))
    seen = the_recorded(stack.store)
    assert seen.types == ["RunStarted", "agent.StepStarted", "agent.StepFinished", "RunFailed"]
