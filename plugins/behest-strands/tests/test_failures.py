"""What fails: tools, models, and with them the run."""

import pytest
from strands.hooks import AfterModelCallEvent
from strands.types.exceptions import MaxTokensReachedException
from strands_models import (
    ASKS,
    BROKEN_OFF,
    CALLED,
    DISCARDED,
    KEPT,
    MODEL,
    TOOL,
    Turn,
    asks,
    hook,
    says,
    tokens,
    weather,
)

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded


def test_a_tool_that_fails_is_recorded_and_the_run_goes_on(stack, agent_of):
    agent_of(asks("Atlantis"), says("Nobody knows."), tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "Error: LookupError - no such city"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_tool_that_nobody_knows_is_refused(stack, agent_of):
    agent_of(asks(), says("."))("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, "agent.ToolRefused", *MODEL, "RunCompleted"]
    assert run.of("agent.ToolRefused")[0]["reason"] == "Unknown tool: weather"


def test_a_model_that_fails_on_the_first_call_fails_the_run(stack, agent_of):
    agent = agent_of(says("I am", error=ConnectionError("the provider is away")))
    with pytest.raises(ConnectionError):
        agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: the provider is away")
    assert run.state.total_usage.total_tokens == 0


def test_a_model_that_fails_later_leaves_the_tokens_used_before(stack, agent_of):
    agent = agent_of(asks(usage=tokens(100, 7)), Turn(error=ConnectionError("away")), tools=[weather])
    with pytest.raises(Exception, match="away"):
        agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *CALLED, "agent.ModelFailed", "RunFailed"]
    assert (run.state.last_error, run.state.total_usage.total_tokens) == ("ConnectionError: away", 107)


def test_a_response_that_is_too_long_fails_the_run_as_it_fails_the_agent(stack, agent_of):
    agent = agent_of(says("And so", stop_reason="max_tokens"))
    with pytest.raises(MaxTokensReachedException):
        agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *MODEL, "RunFailed"]
    assert run.state.last_error.startswith("MaxTokensReachedException: ")
    assert run.state.total_usage.total_tokens == 12


def test_a_hook_that_raises_after_the_model_loses_no_tokens(stack, agent_of):
    def refuse(event):
        raise PermissionError("too expensive")

    agent = agent_of(says("Yes."), hooks=[hook(AfterModelCallEvent, refuse)])
    with pytest.raises(PermissionError):
        agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *DISCARDED, "RunFailed"]
    assert (run.state.last_error, run.state.total_usage.total_tokens) == ("PermissionError: too expensive", 12)


def test_a_tool_call_that_is_cut_off_is_refused(stack, agent_of):
    agent = agent_of(asks(stop_reason="max_tokens"), tools=[weather])
    with pytest.raises(MaxTokensReachedException):
        agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS[:-1], "agent.ToolRefused", *KEPT, "RunFailed"]
