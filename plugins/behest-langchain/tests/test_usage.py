"""Tokens, of each model call."""

import pytest
from behest_langchain.usage import StreamedUsage, reported, tokens
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_models import ANSWERS, CALLED, MODEL_ANSWERS, PROMPT, USED, StubChatModel, answer, model_of, work_of

from behest_core.testing.recorded import all_recorded, the_recorded


def usage_of(input_tokens, output_tokens, reasoning=0, **details):
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "input_token_details": details,
        "output_token_details": {"reasoning": reasoning},
    }


CLAUDE = {
    "input_tokens": 1520,
    "output_tokens": 5,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 500,
}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (usage_of(350, 40), {"input_tokens": 350}),
        (usage_of(350, 40, audio=10), {"input_tokens": 350}),
        (usage_of(350, 40, cache_read=None), {"input_tokens": 350}),
        (usage_of(350, 40, cache_read=100), {"input_tokens": 350, "cache_read_input_tokens": 100}),
        (
            usage_of(350, 40, priority_cache_read=100, priority=250),
            {"input_tokens": 350, "cache_read_input_tokens": 100},
        ),
        (usage_of(350, 40, cache_creation=200), {"input_tokens": 350, "cache_creation_input_tokens": 200}),
        (
            usage_of(
                350,
                40,
                cache_read=100,
                cache_creation=0,
                ephemeral_5m_input_tokens=150,
                ephemeral_1h_input_tokens=50,
            ),
            {
                "input_tokens": 350,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 200,
                "cache_creation_1h_input_tokens": 50,
            },
        ),
        (
            usage_of(1520, 40, cache_read=1000, cache_creation=500, ephemeral_5m_input_tokens=500),
            {"input_tokens": 1520, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 500},
        ),
        (
            usage_of(20, 40, cache_read=1000, cache_creation=500),
            {"input_tokens": 1520, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 500},
        ),
        (usage_of(5, 40, cache_creation=500), {"input_tokens": 505, "cache_creation_input_tokens": 500}),
        (usage_of(350, 40, 30), {"input_tokens": 350, "reasoning_output_tokens": 30}),
    ],
)
def test_what_a_cache_gave_and_was_given_is_a_part_of_the_input(usage, expected):
    assert tokens(usage) == {"output_tokens": 40, **expected}


@pytest.mark.parametrize(("provider", "output_tokens"), [("openai", 100), ("xai", 170)])
def test_what_was_thought_is_a_part_of_the_output_by_the_providers_rule(provider, output_tokens):
    assert tokens(usage_of(10, 100, 70), provider)["output_tokens"] == output_tokens


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}, (1000, 50)),
        (
            {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 900}},
            (1000, 50),
        ),
        ({**CLAUDE, "input_tokens": 20}, (1520, 5)),
        (
            {"inputTokens": 20, "outputTokens": 5, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 500},
            (1520, 5),
        ),
        ({"prompt_token_count": 1000, "candidates_token_count": 30, "thoughts_token_count": 20}, (1000, 50)),
        ({"input_tokens": 1000, "output_tokens": 50, "input_tokens_details": {"cached_tokens": 900}}, (1000, 50)),
    ],
)
def test_what_a_provider_reports_is_read_by_its_own_rule(report, expected):
    found = reported({"token_usage": report})
    assert (found["input_tokens"], found["output_tokens"]) == expected


@pytest.mark.parametrize("told", [{}, {"token_usage": {}}, {"usage": None}, {"token_usage": {"prompt_tokens": None}}])
def test_a_report_without_tokens_tells_none(told):
    assert reported(told) is None


REPORT = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}


class ReportingModel(GenericFakeChatModel):
    """Tells its tokens only in its provider's own words."""

    in_message: bool

    def _generate(self, *_, **__):
        told = {"token_usage": REPORT}
        message = AIMessage("Hi", response_metadata=told if self.in_message else {})
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output={} if self.in_message else told)


@pytest.mark.parametrize("in_message", [True, False])
def test_tokens_that_only_the_provider_tells_are_recorded(stack, handler, in_message):
    ReportingModel(messages=iter(()), in_message=in_message).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack.store).state.total_usage.total_tokens == 1050


def test_a_cached_call_has_the_providers_total(stack, handler):
    cached = answer("Hi", tokens=(1520, 5), details={"cache_read": 1000, "cache_creation": 500})
    model_of(cached).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack.store).of("UsageRecorded")[0]["usage"] == {
        "input_tokens": 1520,
        "output_tokens": 5,
        "total_tokens": 1525,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 500,
    }


def test_two_models_at_once_have_each_its_own_tokens(stack, handler):
    both = {
        name: model_of(answer("Hi", tokens=(1_000_000, 0)), name_of_model=name) for name in ("gpt-4o", "gpt-4o-mini")
    }
    (RunnableLambda(lambda question: question) | both).invoke("Oslo?", {"callbacks": [handler]})
    run = the_recorded(stack.store)
    model_of_call = {each["model_call_id"]: each["model"] for each in run.of("ModelStarted")}
    used = {model_of_call[each["model_call_id"]]: each["usage"]["input_tokens"] for each in run.of("UsageRecorded")}
    assert used == {"gpt-4o": 1_000_000, "gpt-4o-mini": 1_000_000}


class CountingModel(StubChatModel):
    """Tells in each chunk what was used so far, and breaks off."""

    breaks: bool

    def _stream(self, *_, **__):
        for number in range(1, 11):
            used = {"input_tokens": 1000, "output_tokens": number, "total_tokens": 1000 + number}
            yield ChatGenerationChunk(message=AIMessageChunk("word ", usage_metadata=used))
        if self.breaks:
            raise ConnectionError("reset")


@pytest.mark.parametrize("breaks", [True, False])
def test_what_a_stream_tells_again_and_again_is_counted_once(stack, handler, breaks):
    try:
        list((PROMPT | CountingModel(answers=[], breaks=breaks)).stream({"question": "?"}, {"callbacks": [handler]}))
    except ConnectionError:
        assert breaks
    usage = the_recorded(stack.store).state.total_usage
    assert (usage.input_tokens, usage.output_tokens) == (1000, 10)


def test_what_chunks_tell_in_parts_adds_up():
    streamed = StreamedUsage()
    for given, written in ((100, 1), (0, 2), (0, 3)):
        streamed.add(usage_of(given, written))
    assert (streamed.latest["input_tokens"], streamed.latest["output_tokens"]) == (100, 6)


def test_an_answer_from_langchains_cache_used_no_tokens(stack, handler):
    model = model_of(ANSWERS, cache=InMemoryCache())
    for _ in range(2):
        model.invoke("Oslo?", {"callbacks": [handler]})
    first, second = all_recorded(stack.store)
    assert work_of(first) == ["RunStarted", *MODEL_ANSWERS, "RunCompleted"]
    assert work_of(second) == ["RunStarted", *CALLED, "TextDelta", *USED[1:], "RunCompleted"]


def test_a_call_that_tells_no_tokens_records_none(stack, handler):
    model_of(answer("Hi")).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack.store).of("UsageRecorded") == []
