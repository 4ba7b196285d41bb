"""Model calls: provider and model, finish reasons, retries and fallbacks."""

import asyncio

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import ModelFallback
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai_models import (
    ANSWERED,
    CALLED,
    FINISHED,
    LAST,
    TEAPOT,
    answer,
    scripted,
    use_run_stream_events,
    with_model,
)

from behest_core.model.state import FinishReason, TokenUsage
from behest_core.testing.recorded import the_recorded


def test_each_model_of_a_fallback_is_a_model_call(stack, recording):
    tried = scripted(TEAPOT, name="first")
    agent = Agent(FallbackModel(tried, scripted(LAST, name="second")), capabilities=[recording])
    agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *CALLED, "agent.ModelFailed", *ANSWERED, "RunCompleted"]
    first, second = [each["model_call_id"] for each in run.of("ModelStarted")]
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    [failed] = run.of("agent.ModelFailed")
    assert (failed["model_call_id"], failed["error_type"]) == (first, "ModelHTTPError")
    assert [each["model_call_id"] for each in run.of("TextDelta")] == [second]
    assert [(each["model"], each["model_call_id"]) for each in run.of("UsageRecorded")] == [("second", second)]
    assert run.state.total_usage == TokenUsage(120, 5, 125)


NO = answer("No.", input_tokens=7, output_tokens=1)


def rejects(response: ModelResponse) -> bool:
    return response.text == "No."


def test_an_answer_that_a_fallback_rejects_has_used_its_tokens_and_its_text_is_discarded(stack, recording):
    fallback = FallbackModel(scripted(NO, name="first"), scripted(LAST, name="second"), fallback_on=rejects)
    Agent(fallback, capabilities=[recording]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    said = [*CALLED, "TextDelta", *FINISHED]
    committed = ["agent.TextDiscarded", "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *said, *said, *committed, "RunCompleted"]
    first, second = [each["model_call_id"] for each in run.of("ModelStarted")]
    assert [each["usage"]["input_tokens"] for each in run.of("UsageRecorded")] == [7, 120]
    assert {each["model_call_id"]: each["delta"] for each in run.of("TextDelta")} == {
        first: "No.",
        second: "3 degrees.",
    }
    assert run.of("agent.TextDiscarded")[0]["model_call_id"] == first
    assert run.of("AssistantMessageCommitted")[0]["model_call_id"] == second


def test_a_fallback_inside_of_another_model_is_a_call_for_each_model_that_it_tells_of(stack, recording):
    tried = [scripted(TEAPOT, name="first"), scripted(NO, name="second")]
    fallback = FallbackModel(*tried, scripted(LAST, name="third"), fallback_on=[ModelHTTPError, rejects])
    Agent(WrapperModel(fallback), capabilities=[recording]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    answering, first, second = [each["model_call_id"] for each in run.of("ModelStarted")]
    assert [each["model"] for each in run.of("ModelStarted")[1:]] == ["first", "second"]
    assert [(each["model_call_id"], each["error_type"]) for each in run.of("agent.ModelFailed")] == [
        (first, "ModelHTTPError")
    ]
    used = {each["model_call_id"]: (each["model"], each["usage"]["input_tokens"]) for each in run.of("UsageRecorded")}
    assert used == {answering: ("third", 120), second: ("second", 7)}
    finished = {each["model_call_id"]: each["model"] for each in run.of("agent.ModelFinished")}
    assert finished == {answering: "third", second: "second"}


async def refuse(messages, info):
    raise TEAPOT


async def refuse_to_stream(messages, info):
    raise TEAPOT
    yield


REFUSES = FunctionModel(refuse, stream_function=refuse_to_stream, model_name="first")


def test_the_text_of_a_fallback_that_streams_is_under_the_model_that_wrote_it(stack, recording):
    fallback = FallbackModel(REFUSES, scripted(LAST, name="second"))
    asyncio.run(use_run_stream_events(Agent(fallback, capabilities=[recording])))
    run = the_recorded(stack.store)
    _, second = [each["model_call_id"] for each in run.of("ModelStarted")]
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    assert run.types[:6] == ["RunStarted", *CALLED, "agent.ModelFailed", *CALLED]
    assert run.types[6:] == ["TextDelta", "TextDelta", *FINISHED, "AssistantMessageCommitted", "RunCompleted"]
    assert {each["model_call_id"] for each in run.of("TextDelta")} == {second}


def test_when_every_model_of_a_fallback_fails_each_is_recorded(stack, recording):
    agent = Agent(FallbackModel(*[scripted(TEAPOT, name=name) for name in "abc"]), capabilities=[recording])
    with pytest.raises(ExceptionGroup):
        agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert [each["model"] for each in run.of("ModelStarted")] == ["a", "b", "c"]
    assert run.types == ["RunStarted", *[*CALLED, "agent.ModelFailed"] * 3, "RunFailed"]


@pytest.mark.parametrize("streams", [False, True])
def test_each_model_of_a_capability_that_falls_back_is_a_model_call(stack, recording, streams):
    fallback = ModelFallback(REFUSES, scripted(LAST, name="second"))
    agent = Agent(capabilities=[fallback, recording])
    asyncio.run(use_run_stream_events(agent) if streams else agent.run("Oslo?"))
    run = the_recorded(stack.store)
    _, second = [each["model_call_id"] for each in run.of("ModelStarted")]
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    assert len(run.of("agent.ModelFailed")) == 1
    assert {each["model_call_id"] for each in [*run.of("UsageRecorded"), *run.of("AssistantMessageCommitted")]} == {
        second
    }


@pytest.mark.parametrize(
    ("reason", "expected"), [("tool_call", FinishReason.TOOL_CALLS), ("length", FinishReason.LENGTH), (None, "stop")]
)
def test_finish_reasons_are_those_of_behest(stack, recording, reason, expected):
    with_model(recording, answer("Hi.", finish_reason=reason)).run_sync("Hi?")
    assert the_recorded(stack.store).state.last_finish == expected
