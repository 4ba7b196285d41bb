"""Model calls: provider and model, finish reasons, retries and fallbacks."""

import asyncio

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai_models import ANSWERED, LAST, TEAPOT, answer, scripted, use_run_stream_events, with_model

from behest_core.model.state import FinishReason, TokenUsage
from behest_core.testing.recorded import the_recorded


def test_each_model_of_a_fallback_is_a_model_call(stack, recording):
    tried = scripted(TEAPOT, name="first")
    agent = Agent(FallbackModel(tried, scripted(LAST, name="second")), capabilities=[recording])
    agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "ModelStarted", *ANSWERED, "RunCompleted"]
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    assert run.state.total_usage == TokenUsage(120, 5, 125)


def test_an_answer_that_a_fallback_rejects_has_used_its_tokens(stack, recording):
    def rejects(response: ModelResponse) -> bool:
        return response.text == "No."

    no = answer("No.", input_tokens=7, output_tokens=1)
    fallback = FallbackModel(scripted(no, name="first"), scripted(LAST, name="second"), fallback_on=rejects)
    Agent(WrapperModel(fallback), capabilities=[recording]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "ModelStarted", "UsageRecorded", *ANSWERED, "RunCompleted"]
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    assert [each["usage"]["input_tokens"] for each in run.of("UsageRecorded")] == [7, 120]
    assert run.text == "3 degrees."


def test_a_fallback_that_streams_has_its_models_behind_the_pieces(stack, recording):
    async def refuse(messages, info):
        raise TEAPOT
        yield

    fallback = FallbackModel(FunctionModel(stream_function=refuse, model_name="first"), scripted(LAST, name="second"))
    asyncio.run(use_run_stream_events(Agent(fallback, capabilities=[recording])))
    run = the_recorded(stack.store)
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    assert run.types[:5] == ["RunStarted", "ModelStarted", "TextDelta", "TextDelta", "ModelStarted"]
    assert run.types[5:] == ["UsageRecorded", "AssistantMessageCommitted", "RunCompleted"]


def test_when_every_model_of_a_fallback_fails_each_is_recorded(stack, recording):
    agent = Agent(FallbackModel(*[scripted(TEAPOT, name=name) for name in "abc"]), capabilities=[recording])
    with pytest.raises(ExceptionGroup):
        agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert [each["model"] for each in run.of("ModelStarted")] == ["a", "b", "c"]
    assert run.types == ["RunStarted", *["ModelStarted"] * 3, "RunFailed"]


@pytest.mark.parametrize(
    ("reason", "expected"), [("tool_call", FinishReason.TOOL_CALLS), ("length", FinishReason.LENGTH), (None, "stop")]
)
def test_finish_reasons_are_those_of_behest(stack, recording, reason, expected):
    with_model(recording, answer("Hi.", finish_reason=reason)).run_sync("Hi?")
    assert the_recorded(stack.store).state.last_finish == expected
