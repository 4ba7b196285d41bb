"""Agents of Pydantic AI, run by the framework itself with models that say what they are told to."""

# ruff: noqa: ARG002, ARG005 (models and capabilities have the arguments that the framework calls them with)

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import anyio
import pytest
from behest_pydantic_ai import BehestRecording
from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelRetry,
    RunContext,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UsageLimits,
    models,
)
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import (
    CallDeferred,
    ModelHTTPError,
    RunCancelled,
    RunTimedOut,
    SkipModelRequest,
    SkipToolExecution,
)
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturn
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.output import PendingModelResponse

from behest_core.model.state import FinishReason, RunStatus, TokenUsage
from behest_core.recording.adapter import id_of
from behest_core.recording.recorder import RunRecorder
from tests.agents.pydantic_ai_models import answer, calls, scripted
from tests.agents.recorded import all_recorded, recorded, the_recorded
from tests.aws.test_recorder import away

models.ALLOW_MODEL_REQUESTS = False

ASKED = ["ModelStarted", "TextDelta", "ToolCallCompleted", "UsageRecorded", "AssistantMessageCommitted"]
RAN = ["ToolExecutionStarted", "ToolExecutionFinished"]
ANSWERED = ["ModelStarted", "TextDelta", "UsageRecorded", "AssistantMessageCommitted"]
WITH_A_TOOL = ["RunStarted", *ASKED, *RAN, *ANSWERED, "RunCompleted"]

TEAPOT = ModelHTTPError(418, "stub-1", "I'm a teapot")
FIRST = calls("weather", text="Let me see.", input_tokens=100, output_tokens=10)
LAST = answer("3 degrees.", input_tokens=120, output_tokens=5)
FIRST_TOKENS, ALL_TOKENS = TokenUsage(100, 10, 110), TokenUsage(220, 15, 235)


@pytest.fixture(autouse=True)
def _event_loop():
    """Return `run_sync` a loop that is closed in the end."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def recording(stack):
    return BehestRecording(stack.store)


def weather(city: str) -> str:
    """Tell the weather."""
    return f"3 degrees in {city}"


@pytest.fixture
def agent(recording):
    return Agent(scripted(FIRST, LAST), capabilities=[recording], tools=[weather], name="forecaster")


def with_model(recording, *answers, tools=(weather,), **settings):
    return Agent(scripted(*answers), capabilities=[recording], tools=tools, **settings)


# ---------------------------------------------------------------- text and tools


def test_a_run_is_recorded_from_its_beginning_to_its_end(stack, agent):
    result = agent.run_sync("How is the weather in Oslo?")
    run = the_recorded(stack)
    assert result.output == "3 degrees."
    assert run.types == WITH_A_TOOL
    assert run.state.status is RunStatus.COMPLETED
    assert run.state.last_finish is FinishReason.STOP
    assert (run.state.provider, run.state.model, run.state.iteration) == ("function", "stub-1", 2)
    assert run.state.total_usage == ALL_TOKENS
    assert [each["delta"] for each in run.of("TextDelta")] == ["Let me see.", "3 degrees."]
    assert run.of("ToolCallCompleted")[0]["call"] == {
        "id": "call-1",
        "name": "weather",
        "arguments": {"city": "Oslo"},
    }
    [finished] = run.of("ToolExecutionFinished")
    assert (finished["call_id"], finished["tool_name"]) == ("call-1", "weather")
    assert finished["result"] == {"Success": {"output": "3 degrees in Oslo"}}
    assert isinstance(finished["duration_ms"], int)
    assert finished["duration_ms"] >= 0


async def use_run(agent):
    return (await agent.run("Oslo?")).output


async def use_iter(agent):
    async with agent.iter("Oslo?") as run:
        async for _ in run:
            pass
    return run.result.output


async def use_iter_streaming(agent):
    async with agent.iter("Oslo?") as run:
        async for node in run:
            if Agent.is_model_request_node(node) or Agent.is_call_tools_node(node):
                async with node.stream(run.ctx) as events:
                    async for _ in events:
                        pass
    return run.result.output


async def use_event_stream_handler(agent):
    async def handle(ctx, events):
        async for _ in events:
            pass

    return (await agent.run("Oslo?", event_stream_handler=handle)).output


async def use_run_stream_events(agent):
    async with agent.run_stream_events("Oslo?") as events:
        *_, last = [event async for event in events]
    return last.result.output


@pytest.mark.parametrize("use", [use_run, use_iter])
def test_every_way_to_run_an_agent_is_recorded_alike(stack, agent, use):
    assert asyncio.run(use(agent)) == "3 degrees."
    run = the_recorded(stack)
    assert run.types == WITH_A_TOOL
    assert run.state.total_usage == ALL_TOKENS


@pytest.mark.parametrize("use", [use_iter_streaming, use_event_stream_handler, use_run_stream_events])
def test_a_streamed_answer_is_recorded_piece_by_piece_and_only_once(stack, agent, use):
    asyncio.run(use(agent))
    run = the_recorded(stack)
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
    run = the_recorded(stack)
    asked = [kind for kind in ASKED if kind != "TextDelta"]
    answered = ["ModelStarted", "TextDelta", "TextDelta", "UsageRecorded", "AssistantMessageCommitted"]
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


def test_the_tools_of_a_streamed_answer_are_asked_for_before_they_run(stack, agent):
    async def use():
        async with agent.run_stream("Oslo?") as result:  # takes the first text for the result
            return await result.get_output()

    asyncio.run(use())
    run = the_recorded(stack)
    assert run.types == [
        "RunStarted",
        "ModelStarted",
        *["TextDelta"] * 3,
        "ToolCallCompleted",
        *RAN,
        "UsageRecorded",
        "AssistantMessageCommitted",
        "RunCompleted",
    ]


def test_tools_that_run_at_once_are_each_recorded(stack, recording):
    def forecast(city: str) -> dict[str, str]:
        return {"tomorrow": city}

    agent = with_model(recording, calls("weather", "forecast"), answer("Mild."), tools=[weather, forecast])
    agent.run_sync("Oslo?")
    run = the_recorded(stack)
    finished = {each["call_id"]: each["result"]["Success"]["output"] for each in run.of("ToolExecutionFinished")}
    assert finished == {"call-1": "3 degrees in Oslo", "call-2": {"tomorrow": "Oslo"}}
    assert [each["call"]["id"] for each in run.of("ToolCallCompleted")] == ["call-1", "call-2"]


def test_of_a_tool_that_returns_more_than_its_value_the_value_is_recorded(stack, recording):
    def weather(city: str) -> ToolReturn:
        return ToolReturn(return_value={"degrees": 3}, content="See the picture.", metadata={"source": "satellite"})

    with_model(recording, calls("weather"), LAST, tools=[weather]).run_sync("Oslo?")
    [finished] = the_recorded(stack).of("ToolExecutionFinished")
    assert finished["result"] == {"Success": {"output": {"degrees": 3}}}


def test_a_call_that_never_runs_has_no_execution(stack, recording):
    asked = [
        ToolCallPart("unknown", {}, "1"),
        ToolCallPart("weather", {"town": "Oslo"}, "2"),
        ToolCallPart("weather", "{no json", "3"),
    ]
    with_model(recording, answer("", *asked), LAST, retries=3).run_sync("Oslo?")
    run = the_recorded(stack)
    assert [each["call"]["arguments"] for each in run.of("ToolCallCompleted")] == [
        {},
        {"town": "Oslo"},
        {"INVALID_JSON": "{no json"},
    ]
    assert run.of("ToolExecutionStarted") == []
    assert run.state.status is RunStatus.COMPLETED


# ---------------------------------------------------------------- structured output


class City(BaseModel):
    name: str


def test_structured_output_is_a_tool_call_that_nothing_runs(stack, recording):
    agent = Agent(TestModel(call_tools=[]), capabilities=[recording], output_type=City)
    assert agent.run_sync("Where?").output == City(name="a")
    run = the_recorded(stack)
    asked = ["ModelStarted", "ToolCallCompleted", "UsageRecorded", "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *asked, "RunCompleted"]
    call = run.of("ToolCallCompleted")[0]["call"]
    assert (call["name"], call["arguments"]) == ("final_result", {"name": "a"})


def test_an_output_function_runs_as_a_tool(stack, recording):
    def shout(name: str) -> str:
        if not seen.append(name) and len(seen) == 1:
            raise ModelRetry("louder")
        return name.upper()

    seen = []
    agent = Agent(TestModel(call_tools=[]), capabilities=[recording], output_type=shout)
    assert agent.run_sync("Where?").output == "A"
    run = the_recorded(stack)
    asked = ["ModelStarted", "ToolCallCompleted", "UsageRecorded", "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *[*asked, *RAN] * 2, "RunCompleted"]
    assert [each["result"] for each in run.of("ToolExecutionFinished")] == [
        {"Failure": {"error": "ModelRetry: louder"}},
        {"Success": {"output": "A"}},
    ]


# ---------------------------------------------------------------- failures


def test_a_tool_that_asks_the_model_to_try_again_has_failed(stack, recording):
    def weather(city: str) -> str:
        raise ModelRetry("which Oslo?")

    with_model(recording, FIRST, LAST, tools=[weather]).run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == WITH_A_TOOL
    [finished] = run.of("ToolExecutionFinished")
    assert finished["result"] == {"Failure": {"error": "ToolRetryError: which Oslo?"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_tool_that_raises_fails_its_run(stack, recording):
    def weather(city: str) -> str:
        raise KeyError(city)

    with pytest.raises(KeyError):
        with_model(recording, FIRST, LAST, tools=[weather]).run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *RAN, "RunFailed"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "KeyError: 'Oslo'"}}
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "KeyError: 'Oslo'")
    assert run.state.total_usage == FIRST_TOKENS


def test_a_model_that_fails_keeps_the_tokens_of_the_calls_before(stack, recording):
    with pytest.raises(ModelHTTPError):
        with_model(recording, FIRST, TEAPOT).run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *RAN, "ModelStarted", "RunFailed"]
    assert run.state.last_error.startswith("ModelHTTPError: status_code: 418")
    assert run.state.total_usage == FIRST_TOKENS


def test_a_model_that_fails_on_the_first_call(stack, recording):
    with pytest.raises(ModelHTTPError):
        with_model(recording, TEAPOT).run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "RunFailed"]
    assert run.state.total_usage == TokenUsage(0, 0)


def test_a_model_that_fails_in_the_middle_of_a_stream(stack, recording):
    agent = with_model(recording, TEAPOT)
    with pytest.raises(ModelHTTPError):
        asyncio.run(use_run_stream_events(agent))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ANSWERED, "RunFailed"]
    assert run.text == "Well, "
    assert run.state.total_usage.output_tokens == 2


def test_a_run_over_its_limit_keeps_the_answer_that_went_over_it(stack, agent):
    with pytest.raises(UsageLimitExceeded):
        agent.run_sync("Oslo?", usage_limits=UsageLimits(total_tokens_limit=50))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, "RunFailed"]
    assert run.state.last_error.startswith("UsageLimitExceeded: ")
    assert run.state.total_usage == FIRST_TOKENS


def test_a_model_that_says_nothing_fails_its_run(stack, recording):
    nothing = answer("", input_tokens=7)
    with pytest.raises(UnexpectedModelBehavior):
        with_model(recording, *[nothing] * 5).run_sync("Oslo?")
    run = the_recorded(stack)
    called = ["ModelStarted", "UsageRecorded"]
    assert run.types == ["RunStarted", *called, *called, "RunFailed"]
    assert run.state.total_usage == TokenUsage(14, 0, 14)


# ---------------------------------------------------------------- models and tokens


def test_tokens_read_from_the_cache_and_written_to_it_are_told_apart(stack, recording):
    used = {"input_tokens": 1000, "output_tokens": 10, "cache_read_tokens": 600, "cache_write_tokens": 300}
    with_model(recording, answer("Hi.", **used)).run_sync("Hi?")
    assert [each["usage"] for each in the_recorded(stack).of("UsageRecorded")] == [
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
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]


def test_each_model_of_a_fallback_is_a_model_call(stack, recording):
    tried = scripted(TEAPOT, name="first")
    agent = Agent(FallbackModel(tried, scripted(LAST, name="second")), capabilities=[recording])
    agent.run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", *ANSWERED, "RunCompleted"]
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    assert run.state.total_usage == TokenUsage(120, 5, 125)


def test_an_answer_that_a_fallback_rejects_has_used_its_tokens(stack, recording):
    def rejects(response: ModelResponse) -> bool:
        return response.text == "No."

    no = answer("No.", input_tokens=7, output_tokens=1)
    fallback = FallbackModel(scripted(no, name="first"), scripted(LAST, name="second"), fallback_on=rejects)
    Agent(WrapperModel(fallback), capabilities=[recording]).run_sync("Oslo?")
    run = the_recorded(stack)
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
    run = the_recorded(stack)
    assert [each["model"] for each in run.of("ModelStarted")] == ["first", "second"]
    assert run.types[:5] == ["RunStarted", "ModelStarted", "TextDelta", "TextDelta", "ModelStarted"]
    assert run.types[5:] == ["UsageRecorded", "AssistantMessageCommitted", "RunCompleted"]


def test_when_every_model_of_a_fallback_fails_each_is_recorded(stack, recording):
    agent = Agent(FallbackModel(*[scripted(TEAPOT, name=name) for name in "abc"]), capabilities=[recording])
    with pytest.raises(ExceptionGroup):
        agent.run_sync("Oslo?")
    run = the_recorded(stack)
    assert [each["model"] for each in run.of("ModelStarted")] == ["a", "b", "c"]
    assert run.types == ["RunStarted", *["ModelStarted"] * 3, "RunFailed"]


@pytest.mark.parametrize(
    ("reason", "expected"), [("tool_call", FinishReason.TOOL_CALLS), ("length", FinishReason.LENGTH), (None, "stop")]
)
def test_finish_reasons_are_those_of_behest(stack, recording, reason, expected):
    with_model(recording, answer("Hi.", finish_reason=reason)).run_sync("Hi?")
    assert the_recorded(stack).state.last_finish == expected


def test_a_message_has_the_id_that_the_provider_gave_it(stack, recording):
    named = ModelResponse([TextPart("Hi.")], provider_response_id="resp-1")
    with_model(recording, named).run_sync("Hi?")
    assert [each["message_id"] for each in the_recorded(stack).of("AssistantMessageCommitted")] == ["resp-1"]


# ---------------------------------------------------------------- beside other capabilities


def test_an_answer_that_a_capability_wants_repeated_is_recorded_once(stack, recording):
    class Again(AbstractCapability):
        async def after_model_request(self, ctx, *, request_context, response):
            if ctx.run_step == 1:
                raise ModelRetry("Again, please.")
            return response

    no = answer("No.", input_tokens=7, output_tokens=1)
    Agent(scripted(no, LAST), capabilities=[Again(), recording]).run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ANSWERED, *ANSWERED, "RunCompleted"]
    assert [each["delta"] for each in run.of("TextDelta")] == ["No.", "3 degrees."]
    assert run.state.total_usage == TokenUsage(127, 6, 133)


def test_an_answer_that_a_capability_gives_is_recorded_without_tokens(stack, recording):
    class Known(AbstractCapability):
        async def before_model_request(self, ctx, request_context):
            raise SkipModelRequest(ModelResponse([TextPart("As I said.")]))

    assert Agent(scripted(), capabilities=[Known(), recording]).run_sync("Oslo?").output == "As I said."
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]


def test_a_result_that_a_capability_gives_is_recorded(stack, recording):
    class Cached(AbstractCapability):
        async def before_tool_execute(self, ctx, *, call, tool_def, args):
            raise SkipToolExecution("4 degrees")

    Agent(scripted(FIRST, LAST), capabilities=[Cached(), recording], tools=[weather]).run_sync("Oslo?")
    [finished] = the_recorded(stack).of("ToolExecutionFinished")
    assert finished["result"] == {"Success": {"output": "4 degrees"}}


def test_a_run_that_a_capability_saves_is_completed(stack, recording):
    class Saves(AbstractCapability):
        async def wrap_tool_execute(self, ctx, *, call, tool_def, args, handler):
            with suppress(KeyError):
                return await handler(args)
            return "no idea"

    def weather(city: str) -> str:
        raise KeyError(city)

    Agent(scripted(FIRST, LAST), capabilities=[Saves(), recording], tools=[weather]).run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == WITH_A_TOOL
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "no idea"}}


# ---------------------------------------------------------------- cancellation


class Hanging:
    """A tool or model that never comes back."""

    def __init__(self):
        self.is_hanging = asyncio.Event()

    async def hang(self):
        self.is_hanging.set()
        await asyncio.Event().wait()

    async def weather(self, city: str) -> str:
        await self.hang()

    async def answer(self, messages, info):
        await self.hang()

    async def stream(self, messages, info):
        yield "Well, "
        await self.hang()


@pytest.fixture
def hanging():
    return Hanging()


async def cancel_when(hanging, coroutine):
    task = asyncio.create_task(coroutine)
    await hanging.is_hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_task_that_is_cancelled_while_a_tool_runs(stack, recording, hanging):
    agent = with_model(recording, FIRST, LAST, tools=[hanging.weather])
    asyncio.run(cancel_when(hanging, agent.run("Oslo?")))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *RAN, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "CancelledError"}}
    assert run.state.status is RunStatus.CANCELLED
    assert run.state.total_usage == FIRST_TOKENS


def test_a_tool_that_raises_stops_the_one_beside_it(stack, recording, hanging):
    async def fail(city: str) -> str:
        await hanging.is_hanging.wait()
        raise KeyError(city)

    agent = with_model(recording, calls("weather", "fail"), tools=[hanging.weather, fail])
    with pytest.raises(KeyError):
        asyncio.run(agent.run("Oslo?"))
    run = the_recorded(stack)
    errors = {each["tool_name"]: each["result"]["Failure"]["error"] for each in run.of("ToolExecutionFinished")}
    assert errors == {"fail": "KeyError: 'Oslo'", "weather": "CancelledError"}
    assert run.state.last_error == "KeyError: 'Oslo'"


def test_a_task_that_is_cancelled_while_the_model_is_called(stack, recording, hanging):
    agent = Agent(FunctionModel(hanging.answer), capabilities=[recording])
    asyncio.run(cancel_when(hanging, agent.run("Oslo?")))
    assert the_recorded(stack).types == ["RunStarted", "ModelStarted", "RunCancelled"]


def test_a_task_that_is_cancelled_while_the_model_streams(stack, recording, hanging):
    agent = Agent(FunctionModel(stream_function=hanging.stream), capabilities=[recording])
    asyncio.run(cancel_when(hanging, use_event_stream_handler(agent)))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ANSWERED, "RunCancelled"]
    assert run.state.total_usage.output_tokens == 2


def test_a_scope_around_the_run_that_is_cancelled(stack, recording, hanging):
    agent = with_model(recording, FIRST, LAST, tools=[hanging.weather])

    async def use():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.run, "Oslo?")
            await hanging.is_hanging.wait()
            tasks.cancel_scope.cancel()

    asyncio.run(use())
    assert the_recorded(stack).types == ["RunStarted", *ASKED, *RAN, "RunCancelled"]


def test_a_run_that_takes_too_long(stack, hanging, recording):
    agent = Agent(FunctionModel(hanging.answer), capabilities=[recording])
    with pytest.raises(RunTimedOut):
        agent.run_sync("Oslo?", timeout=0.01)
    assert the_recorded(stack).state.status is RunStatus.CANCELLED


def test_a_run_that_is_cancelled_from_outside(stack, agent):
    async def use():
        async with agent.iter("Oslo?") as run:
            async for node in run:
                if Agent.is_call_tools_node(node):
                    run.cancel()

    with pytest.raises(RunCancelled):
        asyncio.run(use())
    assert the_recorded(stack).types == ["RunStarted", *ASKED, "RunCancelled"]


def test_a_run_that_a_tool_cancels(stack, recording):
    async def weather(ctx: RunContext, city: str) -> str:
        ctx.cancel()
        await asyncio.sleep(0)
        return "never"

    agent = with_model(recording, FIRST, LAST, tools=[weather])
    with pytest.raises(RunCancelled):
        agent.run_sync("Oslo?")
    assert the_recorded(stack).types == ["RunStarted", *ASKED, *RAN, "RunCancelled"]


def test_a_stream_that_is_left_early_is_cancelled_and_keeps_what_came(stack, recording):
    agent = with_model(recording, answer("One two three."))

    async def use():
        async with agent.run_stream("Count.") as result:
            async for _ in result.stream_text(delta=True, debounce_by=None):
                break

    asyncio.run(use())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ANSWERED, "RunCancelled"]
    assert run.text == "One "
    assert run.state.total_usage.output_tokens == 1


def test_events_that_are_left_early_cancel_the_run(stack, recording):
    agent = with_model(recording, answer("One two three."))

    async def use():
        async with agent.run_stream_events("Count.") as events:
            async for _ in events:
                break

    asyncio.run(use())
    assert the_recorded(stack).state.status is RunStatus.CANCELLED


def test_an_iteration_that_is_left_early_is_cancelled(stack, agent):
    async def use():
        async with agent.iter("Oslo?") as run:
            async for node in run:
                if Agent.is_call_tools_node(node):
                    break

    asyncio.run(use())
    assert the_recorded(stack).types == ["RunStarted", *ASKED, "RunCancelled"]


# ---------------------------------------------------------------- pauses


def test_a_run_that_waits_for_an_approval_is_paused_and_resumed_as_another(stack, recording):
    agent = Agent(scripted(FIRST, LAST), capabilities=[recording], output_type=[str, DeferredToolRequests])
    agent.tool_plain(requires_approval=True)(weather)
    waiting = agent.run_sync("Oslo?")
    paused = the_recorded(stack)
    assert paused.types == ["RunStarted", *ASKED, "agent.Paused"]
    [pause] = paused.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("approval", ["call-1"])
    assert paused.state.status is RunStatus.CALLING_MODEL

    approved = DeferredToolResults(approvals={"call-1": True})
    result = agent.run_sync(message_history=waiting.all_messages(), deferred_tool_results=approved)
    resumed = recorded(stack, result.run_id)
    assert resumed.types == ["RunStarted", *RAN, *ANSWERED, "RunCompleted"]
    assert resumed.record.run_id != paused.record.run_id
    assert resumed.record.session_id == paused.record.session_id


def test_a_tool_that_puts_its_call_off_has_begun_and_not_ended(stack, recording):
    def forecast(city: str) -> str:
        raise CallDeferred

    agent = Agent(
        scripted(calls("weather", "forecast", text="Let me see."), LAST),
        capabilities=[recording],
        output_type=[str, DeferredToolRequests],
        tools=[forecast],
    )
    agent.tool_plain(requires_approval=True)(weather)
    agent.run_sync("Oslo?")
    run = the_recorded(stack)
    [pause] = run.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("approval and external result", ["call-1", "call-2"])
    assert run.types[-2:] == ["ToolExecutionStarted", "agent.Paused"]


def test_a_run_that_ends_while_the_model_still_works_is_paused(stack, recording):
    class Batch(FunctionModel):
        def continuation_delay(self, response):
            return 60.0

    submitted = ModelResponse([], state="suspended", provider_response_id="batch-1")
    model = Batch(lambda messages, info: submitted, model_name="stub-1")
    agent = Agent(model, capabilities=[recording], output_type=[str, PendingModelResponse])
    agent.run_sync("Oslo?")
    run = the_recorded(stack)
    [pause] = run.of("agent.Paused")
    assert (pause["reason"], pause["pending"]) == ("model response", ["batch-1"])
    assert run.types[-1] == "agent.Paused"


# ---------------------------------------------------------------- ids, sessions and several at once


def test_run_and_conversation_have_their_ids_in_pydantic_ai(stack, agent):
    result = agent.run_sync("Oslo?", conversation_id="alice")
    run = recorded(stack, result.run_id)
    assert run.record.session_id == "alice"
    assert run.record.metadata == {
        "framework": "pydantic-ai",
        "framework_run_id": result.run_id,
        "agent": "forecaster",
    }


def test_runs_that_share_their_messages_share_a_session(stack, recording):
    agent = with_model(recording, answer("Hi."), answer("Yes."))
    first = agent.run_sync("Hi?")
    agent.run_sync("Really?", message_history=first.all_messages())
    runs = all_recorded(stack)
    assert len(runs) == 2
    assert {run.record.session_id for run in runs} == {first.conversation_id}


def test_session_and_metadata_can_be_given(stack):
    recording = BehestRecording(stack.store, session_id="alice", metadata={"stage": "test"})
    agent = Agent(scripted(LAST), metadata={"team": "maps"})
    agent.run_sync("Oslo?", capabilities=[recording])
    record = the_recorded(stack).record
    assert record.session_id == "alice"
    assert record.metadata["stage"] == "test"
    assert record.metadata["team"] == "maps"


def test_a_conversation_id_beyond_the_limits_gives_a_session(stack, agent):
    agent.run_sync("Oslo?", conversation_id="x" * 300)
    assert the_recorded(stack).record.session_id == id_of("x" * 300)


def test_several_runs_at_once_are_told_apart(stack, agent):
    async def use():
        await asyncio.gather(*[agent.run("Oslo?", conversation_id=f"user-{number}") for number in range(5)])

    asyncio.run(use())
    runs = all_recorded(stack)
    assert [run.types for run in runs] == [WITH_A_TOOL] * 5
    assert {run.record.session_id for run in runs} == {f"user-{number}" for number in range(5)}


def test_runs_in_several_threads_are_told_apart(stack, agent):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(asyncio.run, [agent.run("Oslo?") for _ in range(3)]))
    assert [run.types for run in all_recorded(stack)] == [WITH_A_TOOL] * 3


def test_an_agent_that_a_tool_asks_has_a_run_of_its_own(stack, recording):
    inner = Agent(scripted(answer("3 degrees.", input_tokens=7, output_tokens=1)), capabilities=[recording])

    async def weather(ctx: RunContext, city: str) -> str:
        return (await inner.run(city, usage=ctx.usage)).output

    outer = with_model(recording, FIRST, LAST, tools=[weather])
    outer.run_sync("Oslo?")
    one, other = all_recorded(stack)
    assert one.types == WITH_A_TOOL
    assert one.state.total_usage == ALL_TOKENS
    assert other.types == ["RunStarted", *ANSWERED, "RunCompleted"]
    assert other.state.total_usage == TokenUsage(7, 1, 8)
    assert other.record.metadata["parent_run_id"] == one.record.run_id
    assert "parent_run_id" not in one.record.metadata


# ---------------------------------------------------------------- never in the way


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, caplog):
    back = away(stack)
    recording = BehestRecording(stack.store, give_up_after=0.0)
    assert with_model(recording, FIRST, LAST).run_sync("Oslo?").output == "3 degrees."
    back()
    assert "behest dropped" in caplog.text
    assert all_recorded(stack) == []


RECORDED_WITH = ["model_started", "text", "tool_called", "usage", "message_committed", "tool_started", "tool_finished"]


def breaks(monkeypatch, method):
    """Let a method of the recorder raise, when it has done its work."""
    works = getattr(RunRecorder, method)

    def broken(*arguments, **named):
        works(*arguments, **named)
        raise LookupError(method)

    monkeypatch.setattr(RunRecorder, method, broken)


@pytest.mark.parametrize("method", ["start", *RECORDED_WITH, "completed", "close"])
def test_an_exception_in_the_recording_changes_nothing_for_the_agent(stack, agent, monkeypatch, caplog, method):
    breaks(monkeypatch, method)
    assert agent.run_sync("Oslo?").output == "3 degrees."
    assert f"LookupError: '{method}'" in caplog.text or f"LookupError: {method}" in caplog.text


def test_an_exception_in_the_recording_of_a_failure_changes_nothing_either(stack, recording, monkeypatch):
    breaks(monkeypatch, "failed")
    with pytest.raises(ModelHTTPError):
        with_model(recording, TEAPOT).run_sync("Oslo?")


def test_the_settings_of_the_recorder_can_be_given(stack):
    def without_text(event):
        return None if event["type"] == "TextDelta" else event

    recording = BehestRecording(stack.store, redact=without_text, cut_at=5)
    with_model(recording, FIRST, LAST).run_sync("Oslo?")
    run = the_recorded(stack)
    assert run.types == [kind for kind in WITH_A_TOOL if kind != "TextDelta"]
    assert run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"] == {"cut": '"3 de', "bytes": 19}
