"""Text, whole and streamed, and the messages that it makes."""

# ruff: noqa: ARG002 (models and capabilities have the arguments that the framework calls them with)

import asyncio

import pytest
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import SkipModelRequest
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai_models import (
    ANSWERED,
    ASKED,
    CALLED,
    FINISHED,
    LAST,
    RAN,
    WITH_A_TOOL,
    answer,
    calls,
    scripted,
    use_event_stream_handler,
    use_run_stream_events,
    with_model,
)

from behest_core.model.state import RunStatus, TokenUsage
from behest_core.testing.recorded import the_recorded


async def use_iter_streaming(agent):
    async with agent.iter("Oslo?") as run:
        async for node in run:
            if Agent.is_model_request_node(node) or Agent.is_call_tools_node(node):
                async with node.stream(run.ctx) as events:
                    async for _ in events:
                        pass
    return run.result.output


@pytest.mark.parametrize("use", [use_iter_streaming, use_event_stream_handler, use_run_stream_events])
def test_a_streamed_answer_is_recorded_piece_by_piece_and_only_once(stack, agent, use):
    asyncio.run(use(agent))
    run = the_recorded(stack.store)
    pieces = ["Let ", "me ", "see. ", "3 ", "degrees. "]
    assert [each["delta"] for each in run.of("TextDelta")] == pieces
    without_pieces = [kind for kind in run.types if kind != "TextDelta"]
    assert without_pieces == [kind for kind in WITH_A_TOOL if kind != "TextDelta"]
    assert run.state.status is RunStatus.COMPLETED


@pytest.mark.parametrize("wait", ["stream_text", "get_output"])
def test_a_run_whose_last_answer_is_streamed_is_recorded(stack, recording, wait):
    agent = with_model(recording, calls("weather"), LAST)

    async def use():
        async with agent.run_stream("Oslo?") as result:
            if wait == "stream_text":
                async for _ in result.stream_text(delta=True, debounce_by=None):
                    pass
            await result.get_output()
        return result

    result = asyncio.run(use())
    run = the_recorded(stack.store)
    asked = [kind for kind in ASKED if kind != "TextDelta"]
    answered = [*CALLED, "TextDelta", "TextDelta", *FINISHED, "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *asked, *RAN, *answered, "RunCompleted"]
    assert run.state.total_usage.input_tokens == result.usage.input_tokens
    assert run.state.total_usage.output_tokens == result.usage.output_tokens


def test_no_agent_streams_because_it_is_recorded(stack, recording):
    streamed = []

    def answer_at_once(messages, info):
        return answer("Hello.")

    async def stream(messages, info):
        streamed.append(info)
        yield "Hello."

    Agent(FunctionModel(answer_at_once, stream_function=stream), capabilities=[recording]).run_sync("Hello?")
    assert streamed == []


def test_a_message_has_the_id_that_the_provider_gave_it(stack, recording):
    named = ModelResponse([TextPart("Hi.")], provider_response_id="resp-1")
    with_model(recording, named).run_sync("Hi?")
    assert [each["message_id"] for each in the_recorded(stack.store).of("AssistantMessageCommitted")] == ["resp-1"]


def test_an_answer_that_a_capability_wants_repeated_is_recorded_once(stack, recording):
    class Again(AbstractCapability):
        async def after_model_request(self, ctx, *, request_context, response):
            if ctx.run_step == 1:
                raise ModelRetry("Again, please.")
            return response

    no = answer("No.", input_tokens=7, output_tokens=1)
    Agent(scripted(no, LAST), capabilities=[Again(), recording]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ANSWERED, *ANSWERED, "RunCompleted"]
    assert [each["delta"] for each in run.of("TextDelta")] == ["No.", "3 degrees."]
    assert run.state.total_usage == TokenUsage(127, 6, 133)


def test_an_answer_that_a_capability_gives_is_recorded_without_tokens(stack, recording):
    class Known(AbstractCapability):
        async def before_model_request(self, ctx, request_context):
            raise SkipModelRequest(ModelResponse([TextPart("As I said.")]))

    assert Agent(scripted(), capabilities=[Known(), recording]).run_sync("Oslo?").output == "As I said."
    run = the_recorded(stack.store)
    said = ["ModelStarted", "TextDelta", "agent.ModelFinished", "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *said, "RunCompleted"]
