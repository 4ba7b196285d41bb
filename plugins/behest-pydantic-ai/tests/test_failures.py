"""What fails: tools, models, and with them the run."""

import asyncio

import pytest
from pydantic_ai import ModelRetry, UnexpectedModelBehavior, UsageLimitExceeded, UsageLimits
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai_models import (
    ASKED,
    BROKEN_OFF,
    CALLED,
    FINISHED,
    FIRST,
    FIRST_TOKENS,
    LAST,
    RAN,
    TEAPOT,
    WITH_A_TOOL,
    answer,
    use_run_stream_events,
    with_model,
)

from behest_core.model.state import RunStatus, TokenUsage
from behest_core.testing.recorded import the_recorded


def test_a_tool_that_asks_the_model_to_try_again_has_failed(stack, recording):
    def weather(city: str) -> str:
        raise ModelRetry("which Oslo?")

    with_model(recording, FIRST, LAST, tools=[weather]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == WITH_A_TOOL
    [finished] = run.of("ToolExecutionFinished")
    assert finished["result"] == {
        "Failure": {"error": "ToolRetryError: which Oslo?\ncaused by ModelRetry: which Oslo?"}
    }
    assert run.state.status is RunStatus.COMPLETED


def test_a_tool_that_raises_fails_its_run(stack, recording):
    def weather(city: str) -> str:
        raise KeyError(city)

    with pytest.raises(KeyError):
        with_model(recording, FIRST, LAST, tools=[weather]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKED, *RAN, "RunFailed"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "KeyError: 'Oslo'"}}
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "KeyError: 'Oslo'")
    assert run.state.total_usage == FIRST_TOKENS


def test_a_model_that_fails_keeps_the_tokens_of_the_calls_before(stack, recording):
    with pytest.raises(ModelHTTPError):
        with_model(recording, FIRST, TEAPOT).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKED, *RAN, *CALLED, "agent.ModelFailed", "RunFailed"]
    assert run.state.last_error.startswith("ModelHTTPError: status_code: 418")
    assert run.state.total_usage == FIRST_TOKENS


def test_a_model_that_fails_on_the_first_call(stack, recording):
    with pytest.raises(ModelHTTPError):
        with_model(recording, TEAPOT).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *CALLED, "agent.ModelFailed", "RunFailed"]
    assert run.state.total_usage == TokenUsage(0, 0)


def test_a_model_that_fails_in_the_middle_of_a_stream(stack, recording):
    agent = with_model(recording, TEAPOT)
    with pytest.raises(ModelHTTPError):
        asyncio.run(use_run_stream_events(agent))
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, "RunFailed"]
    assert run.text == "Well, "
    assert run.state.total_usage.output_tokens == 2


def test_a_run_over_its_limit_keeps_the_answer_that_went_over_it(stack, agent):
    with pytest.raises(UsageLimitExceeded):
        agent.run_sync("Oslo?", usage_limits=UsageLimits(total_tokens_limit=50))
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKED, "agent.ToolRefused", "RunFailed"]
    assert run.state.last_error.startswith("UsageLimitExceeded: ")
    assert run.state.total_usage == FIRST_TOKENS


def test_a_model_that_says_nothing_fails_its_run(stack, recording):
    nothing = answer("", input_tokens=7)
    with pytest.raises(UnexpectedModelBehavior):
        with_model(recording, *[nothing] * 5).run_sync("Oslo?")
    run = the_recorded(stack.store)
    called = [*CALLED, *FINISHED]
    assert run.types == ["RunStarted", *called, *called, "RunFailed"]
    assert run.state.total_usage == TokenUsage(14, 0, 14)
