"""Model calls: provider and model, finish reasons, retries and fallbacks."""

import asyncio

import pytest
from agents import Agent, ModelRetrySettings, ModelSettings, RunConfig
from agents.testing import ModelStep
from behest_openai_agents import BehestRunner
from openai_agents_models import StubModel, agent, says

from behest_core.testing.recorded import the_recorded


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o", ("azure", "gpt-4o")),
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("litellm/anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("any-llm/openrouter/openai/gpt-4o", ("openrouter", "openai/gpt-4o")),
    ],
)
def test_a_model_is_named_as_its_provider_names_it(stack, name, expected):
    class Provider:
        def get_model(self, _name):
            return StubModel([says("Hi")])

        async def aclose(self):
            pass

    runner = BehestRunner(stack.store, provider="azure")
    asyncio.run(runner.run(Agent(name="a", model=name), "Hi", run_config=RunConfig(model_provider=Provider())))
    run = the_recorded(stack.store)
    [started] = run.of("ModelStarted")
    assert (run.record.provider, run.record.model) == (started["provider"], started["model"]) == expected


def test_the_configs_model_comes_before_the_agents(stack, runner):
    class Nameless(StubModel):
        model = property()  # reading it raises AttributeError

    config = RunConfig(model=Nameless([says("Hi")]))
    asyncio.run(runner.run(Agent(name="a", model="gpt-4o"), "Hi", run_config=config))
    assert the_recorded(stack.store).record.model == "Nameless"


def test_each_attempt_of_a_call_that_the_sdk_tries_again_is_a_call(stack, runner):
    failing = [ModelStep(error=ConnectionError("gone")) for _ in range(2)]
    retry = ModelRetrySettings(max_retries=2, policy=lambda _: True, backoff={"initial_delay": 0})
    tried = agent(*failing, says("3 degrees."), model_settings=ModelSettings(retry=retry))
    asyncio.run(runner.run(tried, "Oslo?"))
    run = the_recorded(stack.store)
    assert len(run.of("ModelStarted")) == 3
    assert [each["error"] for each in run.of("agent.ModelFailed")] == ["ConnectionError: gone"] * 2
    assert len(run.of("agent.ModelFinished")) == 1
