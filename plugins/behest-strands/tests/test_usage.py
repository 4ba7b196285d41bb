"""Tokens, of each model call."""

import pytest
from strands_models import asks, says, tokens, weather

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


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            tokens(10, 2, read=500, stored=30),
            {"input_tokens": 10, "cache_read_input_tokens": 500, "cache_creation_input_tokens": 30},
        ),
        (
            tokens(540, 2, read=500, stored=30, beside=False),
            {"input_tokens": 510, "cached_input_tokens": 500, "cache_creation_input_tokens": 30},
        ),
        (tokens(540, 2, read=500, beside=False), {"input_tokens": 540, "cached_input_tokens": 500}),
        # Gemini's total has tokens that it names nowhere else
        (
            {**tokens(540, 2, read=500, beside=False), "totalTokens": 550},
            {"input_tokens": 540, "cached_input_tokens": 500},
        ),
        ({**tokens(10, 2), "cacheReadInputTokens": 0}, {"input_tokens": 10}),
    ],
)
def test_cached_tokens_are_counted_as_the_provider_counts_them(stack, agent_of, usage, expected):
    agent_of(says(".", usage=usage))("?")
    [recorded] = used(the_recorded(stack.store))
    assert recorded == {**expected, "output_tokens": 2, "total_tokens": expected["input_tokens"] + 2}


def test_a_call_without_usage_records_none(stack, agent_of):
    agent_of(says(".", usage=None))("?")
    assert the_recorded(stack.store).types == [
        "RunStarted",
        "ModelStarted",
        "TextDelta",
        "AssistantMessageCommitted",
        "RunCompleted",
    ]
