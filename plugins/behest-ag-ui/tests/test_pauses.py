"""Runs that wait for somebody, and go on as other runs."""

from unittest.mock import ANY

from ag_ui.core import Interrupt, RunFinishedInterruptOutcome
from ag_ui_models import asked, call, finished, result, run, started, text

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import recorded


def test_a_run_that_waits_is_not_over_and_goes_on_as_another_run_of_its_session(stack):
    interrupt = Interrupt(id="int-1", reason="tool_call", tool_call_id="c")
    paused = finished(asked("r-1"), outcome=RunFinishedInterruptOutcome(interrupts=[interrupt]))
    run(stack, started(asked("r-1")), *call("c", "delete"), paused)
    run(stack, started(asked("r-2")), result("c", "deleted"), *text("m", "Done."), finished(asked("r-2")))
    first, second = recorded(stack.store, "r-1"), recorded(stack.store, "r-2")
    assert first.types == ["RunStarted", "ToolCallCompleted", "agent.Paused"]
    assert first.events[-1] == {
        "type": "agent.Paused",
        "timestamp": ANY,
        "reason": "tool_call",
        "pending": ["int-1"],
    }
    assert first.state.status is RunStatus.SESSION_LOADED
    assert second.state.status is RunStatus.COMPLETED
    assert first.record.session_id == second.record.session_id == "thread-1"
