"""Tokens, of each model call."""

from pydantic_ai_models import answer, with_model

from behest_core.testing.recorded import the_recorded


def test_tokens_read_from_the_cache_and_written_to_it_are_told_apart(stack, recording):
    used = {"input_tokens": 1000, "output_tokens": 10, "cache_read_tokens": 600, "cache_write_tokens": 300}
    with_model(recording, answer("Hi.", **used)).run_sync("Hi?")
    assert [each["usage"] for each in the_recorded(stack.store).of("UsageRecorded")] == [
        {
            "input_tokens": 700,
            "output_tokens": 10,
            "total_tokens": 710,
            "cache_creation_input_tokens": 300,
            "cached_input_tokens": 600,
        }
    ]


def test_a_call_without_usage_records_none(stack, recording):
    with_model(recording, answer("Hi.", unmeasured_requests=1)).run_sync("Hi?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
