"""What fails: tools, models, and with them the run."""

import asyncio

import pytest
from agents import (
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    RunHooks,
    UserError,
    function_tool,
    input_guardrail,
    output_guardrail,
)
from openai_agents_models import (
    ASKED,
    CALLED,
    SAID,
    USED,
    agent,
    answers,
    asks,
    read,
    says,
    settled_all,
    sorry,
    streams,
    tokens,
    work_of,
)

from behest_core.model.state import RunStatus, TokenUsage
from behest_core.testing.recorded import the_recorded


@function_tool
async def broken(city: str) -> str:
    """Never works."""
    raise ValueError("no such city")


@function_tool(failure_error_function=None)
async def fatal(city: str) -> str:
    """Brings the run down."""
    raise ValueError("no such city")


@pytest.mark.parametrize(
    ("tool", "tracing_disabled", "error"),
    [
        (broken, False, "An error occurred while running the tool. Please try again."),
        (broken, True, "An error occurred while running the tool. Please try again."),
        (sorry, False, "no such city, sorry"),
    ],
)
def test_a_tool_that_fails_is_recorded_as_the_model_is_told(stack, runner, tool, tracing_disabled, error):
    config = RunConfig(tracing_disabled=tracing_disabled)
    asyncio.run(runner.run(agent(*answers(tool.name), tools=[tool]), "Oslo?", run_config=config))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": error}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_tool_that_brings_the_run_down_is_recorded_with_the_error(stack, runner):
    with pytest.raises(UserError):
        asyncio.run(runner.run(agent(*answers("fatal"), tools=[fatal]), "Oslo?"))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *ASKED, *USED, "RunFailed"]
    error = "UserError: Error running tool fatal: no such city\ncaused by ValueError: no such city"
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": f"the run failed: {error}"}}
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, error)


def test_a_tool_that_the_model_made_up_fails_the_run_and_keeps_its_tokens(stack, runner):
    with pytest.raises(ModelBehaviorError):
        asyncio.run(runner.run(agent(asks("unheard_of", {}, tokens(10, 2))), "Oslo?"))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *ASKED, "RunFailed"]
    assert run.state.total_usage.total_tokens == 12


def test_a_model_that_fails_keeps_the_tokens_of_the_calls_before(stack, runner):
    with pytest.raises(ConnectionError):
        asyncio.run(runner.run(agent(answers()[0], ConnectionError("gone")), "Oslo?"))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *ASKED, *USED, *CALLED, "agent.ModelFailed", "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: gone")
    assert run.state.total_usage == TokenUsage(10, 2, 12)


def test_a_model_may_fail_on_the_first_call(stack, runner):
    with pytest.raises(ConnectionError):
        asyncio.run(runner.run(agent(ConnectionError("gone")), "Oslo?"))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "agent.ModelFailed", "RunFailed"]
    assert run.state.last_error == "ConnectionError: gone"


def test_too_many_turns_fail_the_run(stack, runner):
    with pytest.raises(MaxTurnsExceeded):
        asyncio.run(runner.run(agent(*answers()), "Oslo?", max_turns=1))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *ASKED, *USED, "RunFailed"]
    assert run.state.last_error == "MaxTurnsExceeded: Max turns (1) exceeded"


@input_guardrail(run_in_parallel=False)
async def nothing_goes_in(context, agent, question):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


@output_guardrail
async def nothing_comes_out(context, agent, output):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


def test_an_input_guardrail_fails_the_run_before_the_model_is_called(stack, runner):
    with pytest.raises(InputGuardrailTripwireTriggered):
        asyncio.run(runner.run(agent(says("Hi"), input_guardrails=[nothing_goes_in]), "Hi"))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", "RunFailed"]
    assert run.state.last_error.startswith("InputGuardrailTripwireTriggered: ")


def test_an_output_guardrail_fails_a_run_that_had_its_answer(stack, runner):
    with pytest.raises(OutputGuardrailTripwireTriggered):
        asyncio.run(runner.run(agent(says("Hi", tokens(5, 1)), output_guardrails=[nothing_comes_out]), "Hi"))
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *SAID, "RunFailed"]
    assert run.state.total_usage.total_tokens == 6


DISCARDED = ["agent.TextDiscarded", "agent.ModelFailed"]


def test_a_model_that_fails_in_the_middle_of_its_answer_leaves_what_was_read(stack, runner):
    async def main():
        result = runner.run_streamed(agent(streams("3 ", "deg", error=ConnectionError("gone"))), "Oslo?")
        with pytest.raises(ConnectionError):
            await read(result)

    asyncio.run(main())
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, "TextDelta", "TextDelta", *DISCARDED, "RunFailed"]
    assert (run.text, run.state.last_error) == ("3 deg", "ConnectionError: gone")


@pytest.mark.parametrize("is_read", [True, False])
def test_a_stream_fails_by_too_many_turns_whether_it_is_read_or_not(stack, runner, is_read):
    async def main():
        result = runner.run_streamed(agent(*answers()), "Oslo?", max_turns=1)
        if is_read:
            with pytest.raises(MaxTurnsExceeded):
                await read(result)
        else:
            await result.run_loop_task

    asyncio.run(main())
    settled_all(stack)
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *ASKED, *USED, "RunFailed"]
    assert run.state.last_error == "MaxTurnsExceeded: Max turns (1) exceeded"


def test_a_stream_fails_by_a_guardrail_that_raises_after_the_answer(stack, runner):
    answered = asyncio.Event()

    @input_guardrail
    async def late(context, agent, question):
        await answered.wait()
        raise LookupError("no verdict")

    class Hooks(RunHooks):
        async def on_agent_end(self, *_):
            answered.set()

    async def main():
        result = runner.run_streamed(agent(says("Hi"), input_guardrails=[late]), "Hi", hooks=Hooks())
        with pytest.raises(LookupError):
            await read(result)

    asyncio.run(main())
    run = the_recorded(stack.store)
    assert (run.types[-1], run.state.last_error) == ("RunFailed", "LookupError: no verdict")
