"""Agents that call agents."""

from ag_ui.core import SubagentFinishedEvent, TextMessageChunkEvent
from ag_ui_models import assembled


def test_chunks_of_subagents_are_kept_apart_by_their_subagent_or_else_by_what_they_go_on_with():
    events = assembled(
        TextMessageChunkEvent(message_id="m-1", delta="1", subagent_run_id="s-1"),
        TextMessageChunkEvent(message_id="m-2", delta="2", subagent_run_id="s-2"),
        TextMessageChunkEvent(delta="1", subagent_run_id="s-1"),
        TextMessageChunkEvent(message_id="m-2", delta="2"),
        SubagentFinishedEvent(subagent_run_id="s-2"),
        TextMessageChunkEvent(delta="1"),
    )
    assert [each.get("delta", each.get("message_id", each["type"])) for each in events] == [
        "1",
        "2",
        "1",
        "2",
        "m-2",
        "ag_ui.SubagentFinished",
        "1",
        "m-1",
    ]
