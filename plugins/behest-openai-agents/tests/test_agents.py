"""Agents that call agents."""

import asyncio

import pytest
from agents import Agent, GuardrailFunctionOutput, function_tool, input_guardrail
from openai_agents_models import ASKED, CALLED, SAID, USED, StubModel, agent, answers, asks, says, tokens, work_of

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded


def test_a_handoff_is_a_part_of_the_run_with_the_other_agents_model(stack, runner):
    other = StubModel([says("Hola", tokens(7, 1))])
    other.model = "anthropic/claude-sonnet-4-5"
    spanish = Agent(name="spanish", model=other)
    first = agent(asks("transfer_to_spanish", {}, tokens(10, 2)), handoffs=[spanish])
    result = asyncio.run(runner.run(first, "Hola"))
    run = the_recorded(stack.store)
    assert result.last_agent is spanish
    assert work_of(run) == ["RunStarted", *ASKED, *SAID, "RunCompleted"]
    models = [(each["provider"], each["model"], each["iteration"]) for each in run.of("ModelStarted")]
    assert models == [("openai", "gpt-4o", 1), ("anthropic", "claude-sonnet-4-5", 2)]


@pytest.mark.parametrize("ends_badly", [False, True])
def test_an_agent_used_as_a_tool_is_a_tool_whose_tokens_count(stack, runner, ends_badly):
    inner = agent(*answers(), name="inner").as_tool("ask_inner", "Asks.")
    last = ConnectionError("gone") if ends_badly else says("3 degrees.", tokens(40, 8))
    outer = agent(asks("ask_inner", {"input": "Oslo?"}, tokens(1, 1)), last, tools=[inner])
    try:
        asyncio.run(runner.run(outer, "Oslo?"))
    except ConnectionError:
        assert ends_badly
    run = the_recorded(stack.store)
    end = [*CALLED, "agent.ModelFailed", "RunFailed"] if ends_badly else [*SAID, "RunCompleted"]
    inside = [USED[0], *ASKED, *USED, *SAID, USED[1]]
    assert work_of(run) == ["RunStarted", *ASKED, *inside, *end]
    counts = [each["usage"]["total_tokens"] for each in run.of("UsageRecorded")]
    assert counts == [2, 12, 24, 48][: len(counts)]
    assert run.of("ToolExecutionFinished")[1]["result"] == {"Success": {"output": "3 degrees."}}


def test_a_run_that_a_tool_starts_has_a_log_of_its_own_and_its_parents_session(stack, runner):
    @function_tool
    async def ask_inner(question: str) -> str:
        """Asks."""
        result = await runner.run(agent(says("3 degrees.", tokens(5, 1)), name="inner"), question)
        return result.final_output

    outer = agent(asks("ask_inner", {"question": "Oslo?"}), says("3."), tools=[ask_inner])
    asyncio.run(runner.run(outer, "Oslo?"))
    asyncio.run(runner.run(agent(says("Bye")), "Bye"))
    parent, child, other = all_recorded(stack.store)
    assert child.record.metadata["parent_run_id"] == parent.record.run_id
    assert child.record.session_id == parent.record.session_id != other.record.session_id
    assert "parent_run_id" not in other.record.metadata
    assert [run.state.status for run in (parent, child, other)] == [RunStatus.COMPLETED] * 3
    assert (parent.state.total_usage.total_tokens, child.state.total_usage.total_tokens) == (0, 6)


def path_of(run, step_id):
    steps = {each["step_id"]: each for each in run.of("agent.StepStarted")}
    step = steps.get(step_id)
    return () if step is None else (*path_of(run, step.get("parent_step_id")), f"{step['kind']} {step['name']}")


@pytest.mark.parametrize("streams", [False, True])
def test_an_agent_used_as_a_tool_is_a_step_whose_calls_are_its_models(stack, runner, streams):
    """A million tokens each: 2.50 USD at the dear model's price for input, 0.15 at the cheap one's."""
    cheap = StubModel([says("3 degrees.", tokens(1_000_000, 0))])
    cheap.model = "gpt-4o-mini"
    how = {"on_stream": lambda _: None} if streams else {}
    inner = Agent(name="inner", model=cheap).as_tool("ask_inner", "Asks.", **how)
    outer = agent(asks("ask_inner", {"input": "Oslo?"}, tokens(1_000_000, 0)), says("3.", tokens(1, 0)), tools=[inner])
    asyncio.run(runner.run(outer, "Oslo?"))
    run = the_recorded(stack.store)
    called = {each["model_call_id"]: each["model"] for each in run.of("ModelStarted")}
    used = [(called[each["model_call_id"]], each["usage"]["input_tokens"]) for each in run.of("UsageRecorded")]
    assert used == [("gpt-4o", 1_000_000), ("gpt-4o-mini", 1_000_000), ("gpt-4o", 1)]
    outer_path = ("agent forecaster",)
    paths = [path_of(run, each["step_id"]) for each in run.of("ModelStarted")]
    assert paths == [outer_path, (*outer_path, "agent inner"), outer_path]
    assert len(run.of("agent.StepFinished")) == len(run.of("agent.StepStarted")) == 2


def test_after_a_handoff_the_other_agent_is_at_work(stack, runner):
    spanish = Agent(name="spanish", model=StubModel([says("Hola", tokens(7, 1))]))
    asyncio.run(runner.run(agent(asks("transfer_to_spanish", {}, tokens(10, 2)), handoffs=[spanish]), "Hola"))
    run = the_recorded(stack.store)
    steps = [(each["kind"], each["name"]) for each in run.of("agent.StepStarted")]
    assert steps == [("agent", "forecaster"), ("handoff", "forecaster to spanish"), ("agent", "spanish")]
    assert [path_of(run, each["step_id"]) for each in run.of("ModelStarted")] == [
        ("agent forecaster",),
        ("agent spanish",),
    ]
    assert run.of("agent.ToolRefused") == []


def test_guardrails_are_steps(stack, runner):
    @input_guardrail
    async def polite(*_):
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

    asyncio.run(runner.run(agent(says("Hi"), input_guardrails=[polite]), "Hi"))
    run = the_recorded(stack.store)
    assert ("guardrail", "polite") in [(each["kind"], each["name"]) for each in run.of("agent.StepStarted")]
    assert len(run.of("agent.StepFinished")) == len(run.of("agent.StepStarted"))
