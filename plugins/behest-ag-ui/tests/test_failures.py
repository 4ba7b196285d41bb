"""What fails: tools, models, and with them the run."""

import pytest
from ag_ui.core import RunErrorEvent, TokenUsage
from ag_ui_models import asked, finished, run, started, text

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded


def test_a_run_that_failed_keeps_its_tokens(stack):
    run(stack, started(asked()), RunErrorEvent(message="overloaded", code="529", usage=[TokenUsage(input_tokens=7)]))
    seen = the_recorded(stack.store)
    assert seen.types == ["RunStarted", "UsageRecorded", "RunFailed"]
    assert (seen.state.last_error, seen.state.total_usage.total_tokens) == ("529: overloaded", 7)


def test_an_exception_of_the_agent_is_recorded_and_goes_on(stack):
    with pytest.raises(ValueError, match="no tool"):
        run(stack, started(asked()), *text("m", "Hi"), ValueError("no tool"))
    seen = the_recorded(stack.store)
    assert seen.types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunFailed"]
    assert seen.state.last_error == "ValueError: no tool"


def test_an_exception_before_any_event_is_a_run_that_failed(stack):
    with pytest.raises(ValueError, match="no agent"):
        run(stack, ValueError("no agent"))
    assert the_recorded(stack.store).types == ["RunStarted", "RunFailed"]


def test_an_exception_after_the_end_changes_nothing_of_it(stack):
    with pytest.raises(ValueError, match="late"):
        run(stack, started(asked()), finished(asked()), ValueError("late"))
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]


def test_a_stream_that_just_ends_has_failed(stack):
    run(stack, started(asked()), *text("m", "Hi"))
    seen = the_recorded(stack.store)
    assert (seen.types[-1], seen.state.last_error) == (
        "RunFailed",
        "the stream ended without RUN_FINISHED or RUN_ERROR",
    )


def test_an_error_before_any_run_is_a_run_that_failed(stack):
    run(stack, RunErrorEvent(message="no agent"))
    seen = the_recorded(stack.store)
    assert (seen.types, seen.state.last_error) == (["RunStarted", "RunFailed"], "no agent")


def test_an_error_that_comes_after_the_end_lets_the_run_fail(stack):
    run(stack, started(asked()), finished(asked()), RunErrorEvent(message="late"), provider="p", model="m")
    seen = the_recorded(stack.store)
    assert seen.types == ["RunStarted", "RunCompleted", "RunStarted", "RunFailed"]
    assert (seen.state.status, seen.state.last_error, seen.state.model) == (RunStatus.FAILED, "late", "m")
