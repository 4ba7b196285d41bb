"""Tokens, of each model call."""

import pytest
from behest_strands.translation import tokens_of
from strands_models import CALLED, KEPT, asks, says, tokens, weather

from behest_core.testing.recorded import all_recorded, the_recorded


def used(run):
    return [each["usage"] for each in run.of("UsageRecorded")]


def test_each_call_has_its_own_tokens(stack, agent_of):
    agent = agent_of(
        asks(usage=tokens(100, 7)), says(".", usage=tokens(200, 9)), says(".", usage=tokens(300, 11)), tools=[weather]
    )
    agent("?")
    agent("?")
    first, second = all_recorded(stack.store)
    assert [each["input_tokens"] for each in used(first)] == [100, 200]
    assert [each["input_tokens"] for each in used(second)] == [300]


CACHED = {"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 500}


@pytest.mark.parametrize(
    ("provider", "usage", "expected"),
    [
        # one call to Claude, as each of them tells it: 20 tokens that no cache had, 1,000 read, 500 written, 5 given back
        ("bedrock", tokens(20, 5, read=1000, stored=500), {"input_tokens": 1520, **CACHED}),
        ("anthropic", tokens(20, 5, read=1000, stored=500), {"input_tokens": 1520, **CACHED}),
        ("litellm", tokens(1520, 5, read=1000, stored=500, beside=False), {"input_tokens": 1520, **CACHED}),
        ("openai", tokens(1520, 5, read=1000, stored=500, beside=False), {"input_tokens": 1520, **CACHED}),
        # whatever the total says: it may leave the cache out, or have what was thought on top
        ("bedrock", tokens(20, 5, read=1000, stored=500, beside=False), {"input_tokens": 1520, **CACHED}),
        ("openai", {**tokens(1520, 5, read=1000, stored=500), "totalTokens": 9000}, {"input_tokens": 1520, **CACHED}),
        (
            "gemini",
            {**tokens(540, 5, read=500, beside=False), "totalTokens": 550},
            {"input_tokens": 540, "cache_read_input_tokens": 500},
        ),
        # parts that are more than the whole can't be within it
        ("openai", tokens(5, 5, stored=500), {"input_tokens": 505, "cache_creation_input_tokens": 500}),
        ("a model of one's own", tokens(5, 5, stored=500), {"input_tokens": 505, "cache_creation_input_tokens": 500}),
        ("openai", {**tokens(10, 5), "cacheReadInputTokens": 0}, {"input_tokens": 10}),
        ("openai", {**tokens(10, 5), "cacheReadInputTokens": None}, {"input_tokens": 10}),
    ],
)
def test_cached_tokens_are_counted_by_the_rule_of_the_provider(provider, usage, expected):
    assert tokens_of(usage, provider) == {**expected, "output_tokens": 5}


def test_the_provider_and_the_model_that_answered_are_told(stack, agent_of):
    agent_of(says("."))("?")
    [recorded] = the_recorded(stack.store).of("UsageRecorded")
    assert (recorded["provider"], recorded["model"]) == ("StubModel", "stub-1")


def test_a_call_without_usage_records_none(stack, agent_of):
    agent_of(says(".", usage=None))("?")
    expected = ["RunStarted", *CALLED, "TextDelta", "agent.ModelFinished", *KEPT, "RunCompleted"]
    assert the_recorded(stack.store).types == expected
