"""Tokens, of each model call."""

import asyncio

from agents import Agent
from openai_agents_models import StubModel, asks, says, tokens, weather

from behest_core.testing.recorded import the_recorded


def test_a_model_call_is_recorded_with_its_own_tokens(stack, runner):
    model = StubModel(
        [
            asks("weather", {"city": "Oslo"}, tokens(100, 5, cached=60, cache_written=30)),
            asks("weather", {"city": "Bergen"}, call_id="call-2"),  # the provider told no usage
            says("3 degrees.", tokens(200, 7, cached=150)),
        ]
    )
    asyncio.run(runner.run(Agent(name="forecaster", model=model, tools=[weather]), "Oslo?"))
    assert [each["usage"] for each in the_recorded(stack.store).of("UsageRecorded")] == [
        {
            "input_tokens": 100,
            "output_tokens": 5,
            "total_tokens": 105,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 60,
        },
        {"input_tokens": 200, "output_tokens": 7, "total_tokens": 207, "cache_read_input_tokens": 150},
    ]
