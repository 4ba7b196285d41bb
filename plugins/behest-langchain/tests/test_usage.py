"""Tokens, of each model call."""

import pytest
from behest_langchain.words import tokens
from langchain_core.caches import InMemoryCache
from langchain_models import ANSWERS, MODEL_ANSWERS, answer, model_of

from behest_core.testing.recorded import all_recorded, the_recorded


def usage_of(input_tokens, output_tokens, **details):
    total = input_tokens + output_tokens
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": total,
        "input_token_details": details,
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (usage_of(350, 40), {"input_tokens": 350}),
        (usage_of(350, 40, audio=10), {"input_tokens": 350}),
        (usage_of(350, 40, cache_read=None), {"input_tokens": 350}),
        (usage_of(350, 40, cache_read=100), {"input_tokens": 350, "cached_input_tokens": 100}),
        (usage_of(350, 40, priority_cache_read=100, priority=250), {"input_tokens": 350, "cached_input_tokens": 100}),
        (usage_of(350, 40, cache_creation=200), {"input_tokens": 150, "cache_creation_input_tokens": 200}),
        (
            usage_of(
                350,
                40,
                cache_read=100,
                cache_creation=0,
                ephemeral_5m_input_tokens=150,
                ephemeral_1h_input_tokens=50,
            ),
            {"input_tokens": 150, "cached_input_tokens": 100, "cache_creation_input_tokens": 200},
        ),
        (usage_of(100, 40, cache_creation=120), {"input_tokens": 0, "cache_creation_input_tokens": 120}),
    ],
)
def test_cached_tokens_are_counted_as_behest_counts_them(usage, expected):
    assert tokens(usage) == {"output_tokens": 40, **expected}


def test_the_tokens_of_a_call_with_a_cache_are_recorded(stack, handler):
    cached = answer("Hi", tokens=(350, 40), details={"cache_read": 100, "cache_creation": 200})
    model_of(cached).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack.store).of("UsageRecorded")[0]["usage"] == {
        "input_tokens": 150,
        "output_tokens": 40,
        "total_tokens": 190,
        "cached_input_tokens": 100,
        "cache_creation_input_tokens": 200,
    }


def test_an_answer_from_langchains_cache_used_no_tokens(stack, handler):
    model = model_of(ANSWERS, cache=InMemoryCache())
    for _ in range(2):
        model.invoke("Oslo?", {"callbacks": [handler]})
    first, second = all_recorded(stack.store)
    assert first.types == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert second.types == ["RunStarted", "ModelStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]


def test_a_call_that_tells_no_tokens_records_none(stack, handler):
    model_of(answer("Hi")).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack.store).of("UsageRecorded") == []
