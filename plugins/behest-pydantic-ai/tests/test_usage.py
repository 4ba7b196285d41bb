"""Tokens, of each model call."""

import asyncio

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import RequestUsage
from pydantic_ai_models import ANSWERED, FIRST, LAST, answer, scripted, use_run_stream_events, weather, with_model

from behest_core.testing.recorded import all_recorded, the_recorded


def test_tokens_read_from_the_cache_and_written_to_it_are_told_apart(stack, recording):
    used = {"input_tokens": 1000, "output_tokens": 10, "cache_read_tokens": 600, "cache_write_tokens": 300}
    with_model(recording, answer("Hi.", **used)).run_sync("Hi?")
    assert [each["usage"] for each in the_recorded(stack.store).of("UsageRecorded")] == [
        {
            "input_tokens": 1000,
            "output_tokens": 10,
            "total_tokens": 1010,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 600,
        }
    ]


def test_a_call_without_usage_records_none(stack, recording):
    with_model(recording, answer("Hi.", unmeasured_requests=1)).run_sync("Hi?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *[each for each in ANSWERED if each != "UsageRecorded"], "RunCompleted"]


@pytest.mark.parametrize(
    ("used", "input_tokens"),
    [
        ({"input_tokens": 1520, "cache_read_tokens": 1000, "cache_write_tokens": 500}, 1520),
        ({"input_tokens": 5, "cache_write_tokens": 500}, 505),
        ({"input_tokens": 500, "cache_write_tokens": 500}, 500),
        ({"input_tokens": 0, "cache_read_tokens": 7}, 7),
    ],
)
def test_input_tokens_are_all_that_the_model_was_given(stack, recording, used, input_tokens):
    with_model(recording, answer("Hi.", output_tokens=5, **used)).run_sync("Hi?")
    run = the_recorded(stack.store)
    [usage] = [each["usage"] for each in run.of("UsageRecorded")]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (input_tokens, 5, input_tokens + 5)
    assert run.state.total_usage.total_tokens == input_tokens + 5


def test_reasoning_and_what_is_kept_for_an_hour_are_parts_of_the_tokens(stack, recording):
    used = RequestUsage(
        input_tokens=600,
        output_tokens=50,
        cache_write_tokens=500,
        output_reasoning_tokens=40,
        details={"ephemeral_1h_input_tokens": 200},
    )
    said = ModelResponse([ThinkingPart("Hm."), TextPart("Hi.")], usage=used)
    with_model(recording, said).run_sync("Hi?")
    run = the_recorded(stack.store)
    [usage] = run.of("UsageRecorded")
    assert (usage["reasoning_output_tokens"], usage["cache_creation_1h_input_tokens"]) == (40, 200)
    assert usage["usage"]["output_tokens"] == 50
    assert run.of("agent.ModelFinished")[0]["reasoning"] == "Hm."


def test_two_models_at_once_have_each_its_own_tokens(stack, recording):
    million = {"input_tokens": 1_000_000}
    inner = Agent(scripted(answer("3.", **million), name="cheap"), capabilities=[recording])

    async def weather(city: str) -> str:
        return (await inner.run(city)).output

    outer = Agent(scripted(FIRST, answer("3.", **million), name="dear"), capabilities=[recording], tools=[weather])
    outer.run_sync("Oslo?")
    used = {
        (each["model"], each["usage"]["input_tokens"])
        for run in all_recorded(stack.store)
        for each in run.of("UsageRecorded")
    }
    assert used == {("dear", 100), ("dear", 1_000_000), ("cheap", 1_000_000)}


def test_each_usage_names_its_call_and_who_answered(stack, recording):
    with_model(recording, FIRST, LAST, tools=[weather]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert [each["model_call_id"] for each in run.of("UsageRecorded")] == [
        each["model_call_id"] for each in run.of("ModelStarted")
    ]
    assert {each["model"] for each in run.of("UsageRecorded")} == {"stub-1"}


def test_of_a_stream_that_breaks_off_the_latest_counts_are_recorded(stack, recording):
    """A stream's usage is that of all its chunks so far, never their sum."""
    gone = ConnectionError("gone")

    async def stream(messages, info):
        for _ in range(10):
            yield "word "
        raise gone

    agent = Agent(FunctionModel(stream_function=stream), capabilities=[recording])
    with pytest.raises(ConnectionError):
        asyncio.run(use_run_stream_events(agent))
    run = the_recorded(stack.store)
    assert [each["usage"]["output_tokens"] for each in run.of("UsageRecorded")] == [10]
    assert run.of("UsageRecorded")[0]["model_call_id"] == run.of("agent.ModelFailed")[0]["model_call_id"]
