import asyncio
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import behest_strands
import pytest
from behest_strands import BehestHooks
from pydantic import BaseModel
from strands import Agent, tool
from strands.hooks import (
    AfterModelCallEvent,
    AfterToolCallEvent,
    AfterToolsEvent,
    BeforeInvocationEvent,
    BeforeModelCallEvent,
    BeforeToolCallEvent,
)
from strands.interrupt import Interrupt, InterruptException
from strands.middleware import InvokeModelStage
from strands.models.openai_responses import OpenAIResponsesModel
from strands.multiagent import GraphBuilder, Swarm
from strands.session.file_session_manager import FileSessionManager
from strands.types.agent import ConcurrentInvocationMode
from strands.types.exceptions import MaxTokensReachedException

from behest_core.model.state import FinishReason, RunStatus, UnknownFinishReason
from behest_core.recording.adapter import begin
from tests.agents.recorded import all_recorded, the_recorded
from tests.agents.strands_models import StubModel, Turn, tokens
from tests.aws.test_recorder import away

MODEL = ["ModelStarted", "TextDelta", "UsageRecorded", "AssistantMessageCommitted"]
ASKS = ["ModelStarted", "UsageRecorded", "ToolCallCompleted", "AssistantMessageCommitted"]
TOOL = ["ToolExecutionStarted", "ToolExecutionFinished"]


@pytest.fixture
def agent_of(stack):
    """Make an agent that is recorded, of the turns of its model."""

    def make(*turns, settings=None, hooks=(), **more):
        behest = BehestHooks(stack.store, session_id="s", **(settings or {}))
        return Agent(model=StubModel(*turns), hooks=[behest, *hooks], callback_handler=None, **more)

    return make


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"3 degrees in {city}"


def asks(city="Oslo", call_id="call-1", **more):
    return Turn(tools=[(call_id, "weather", {"city": city})], **more)


def says(*pieces, **more):
    return Turn(text=list(pieces), **more)


def hook(event_type, callback):
    """Return a hook provider with one callback."""

    class Hooks:
        def register_hooks(self, registry, **_):
            registry.add_callback(event_type, callback)

    return Hooks()


def once(change):
    """Return a callback that does something the first time only."""
    todo = [change]
    return lambda event: todo and todo.pop()(event)


# ---------------------------------------------------------------- text and tools


def test_text_and_tools_are_recorded_in_order(stack, agent_of):
    agent = agent_of(asks(usage=tokens(100, 7)), says("3 degrees."), tools=[weather])
    assert str(agent("How warm is it?")) == "3 degrees.\n"

    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert (run.state.status, run.state.last_finish) == (RunStatus.COMPLETED, FinishReason.STOP)
    assert (run.state.provider, run.state.model, run.state.iteration) == ("StubModel", "stub-1", 2)
    assert (run.state.total_usage.input_tokens, run.state.total_usage.output_tokens) == (110, 9)
    assert run.text == "3 degrees."


def test_a_tool_call_is_told_with_its_arguments_its_output_and_its_duration(stack, agent_of):
    agent_of(asks(), says("."), tools=[weather])("?")

    run = the_recorded(stack)
    [asked], [began], [ended] = (
        run.of("ToolCallCompleted"),
        run.of("ToolExecutionStarted"),
        run.of("ToolExecutionFinished"),
    )
    assert asked["call"] == {"id": "call-1", "name": "weather", "arguments": {"city": "Oslo"}}
    assert (began["call_id"], began["tool_name"]) == (ended["call_id"], ended["tool_name"]) == ("call-1", "weather")
    assert ended["result"] == {"Success": {"output": "3 degrees in Oslo"}}
    assert isinstance(ended["duration_ms"], int)
    assert ended["duration_ms"] >= 0


def test_text_is_recorded_piece_by_piece(stack, agent_of):
    agent = agent_of(says("Three ", "degrees", "."))

    async def stream():
        return "".join([event["data"] async for event in agent.stream_async("?") if "data" in event])

    assert asyncio.run(stream()) == "Three degrees."
    run = the_recorded(stack)
    assert [each["delta"] for each in run.of("TextDelta")] == ["Three ", "degrees", "."]
    assert run.types == ["RunStarted", "ModelStarted", *["TextDelta"] * 3, *MODEL[2:], "RunCompleted"]


def test_text_beside_a_tool_call_is_recorded_once(stack, agent_of):
    agent_of(Turn(["I look."], [("call-1", "weather", {"city": "Oslo"})]), says("Cold."), tools=[weather])("?")
    run = the_recorded(stack)
    assert run.text == "I look.Cold."
    assert run.types == ["RunStarted", *MODEL[:2], *ASKS[1:], *TOOL, *MODEL, "RunCompleted"]


def test_the_committed_messages_have_the_ids_of_the_framework(stack, agent_of):
    agent = agent_of(asks(), says("Cold."), tools=[weather])
    agent("?")
    ids = [each["message_id"] for each in the_recorded(stack).of("AssistantMessageCommitted")]
    assert ids == [each["tracking_id"] for each in agent.messages if each["role"] == "assistant"]


def test_tools_at_once_are_kept_apart(stack, agent_of):
    calls = [(f"call-{number}", "weather", {"city": city}) for number, city in enumerate(["Oslo", "Rome"])]
    agent_of(Turn(tools=calls), says("."), tools=[weather])("?")
    outputs = {each["call_id"]: each["result"] for each in the_recorded(stack).of("ToolExecutionFinished")}
    assert outputs == {
        "call-0": {"Success": {"output": "3 degrees in Oslo"}},
        "call-1": {"Success": {"output": "3 degrees in Rome"}},
    }


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ([{"json": {"celsius": 3}}], {"celsius": 3}),
        ([{"text": "a"}, {"json": [1]}], ["a", [1]]),
        (
            [{"image": {"format": "png", "source": {"bytes": b"\x00"}}}],
            {"image": {"format": "png", "source": {"bytes": "AA=="}}},
        ),
        ([], []),
    ],
)
def test_whatever_a_tool_gives_is_recorded(stack, agent_of, content, output):
    @tool(name="weather")
    def give(city: str) -> dict:
        """Return it."""
        return {"status": "success", "content": content}

    agent_of(asks(), says("."), tools=[give])("?")
    assert the_recorded(stack).of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": output}}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("content_filtered", FinishReason.CONTENT_FILTER),
        ("guardrail_intervened", FinishReason.CONTENT_FILTER),
        ("something_new", UnknownFinishReason("something_new")),
    ],
)
def test_finish_reasons_are_said_in_behests_words(stack, agent_of, reason, expected):
    agent_of(says(".", stop_reason=reason))("?")
    assert the_recorded(stack).state.last_finish == expected


def test_a_limit_is_a_finish_reason(stack, agent_of):
    agent_of(asks(), says("."), tools=[weather])("?", limits={"turns": 1})
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "RunCompleted"]
    assert run.state.last_finish == UnknownFinishReason("limit_turns")


# ---------------------------------------------------------------- tokens


def used(run):
    return [each["usage"] for each in run.of("UsageRecorded")]


def test_each_call_has_its_own_tokens(stack, agent_of):
    agent = agent_of(
        asks(usage=tokens(100, 7)), says(".", usage=tokens(200, 9)), says(".", usage=tokens(300, 11)), tools=[weather]
    )
    agent("?")
    agent("?")
    first, second = all_recorded(stack)
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
    [recorded] = used(the_recorded(stack))
    assert recorded == {**expected, "output_tokens": 2, "total_tokens": expected["input_tokens"] + 2}


def test_a_call_without_usage_records_none(stack, agent_of):
    agent_of(says(".", usage=None))("?")
    assert the_recorded(stack).types == [
        "RunStarted",
        "ModelStarted",
        "TextDelta",
        "AssistantMessageCommitted",
        "RunCompleted",
    ]


# ---------------------------------------------------------------- failures


def test_a_tool_that_fails_is_recorded_and_the_run_goes_on(stack, agent_of):
    agent_of(asks("Atlantis"), says("Nobody knows."), tools=[weather])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "Error: LookupError - no such city"}}
    assert run.state.status is RunStatus.COMPLETED


def test_a_tool_that_nobody_knows_fails(stack, agent_of):
    agent_of(asks(), says("."))("?")
    [ended] = the_recorded(stack).of("ToolExecutionFinished")
    assert ended["result"] == {"Failure": {"error": "Unknown tool: weather"}}


def test_a_model_that_fails_on_the_first_call_fails_the_run(stack, agent_of):
    agent = agent_of(says("I am", error=ConnectionError("the provider is away")))
    with pytest.raises(ConnectionError):
        agent("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: the provider is away")
    assert run.state.total_usage.total_tokens == 0


def test_a_model_that_fails_later_leaves_the_tokens_used_before(stack, agent_of):
    agent = agent_of(asks(usage=tokens(100, 7)), Turn(error=ConnectionError("away")), tools=[weather])
    with pytest.raises(Exception, match="away"):
        agent("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "ModelStarted", "RunFailed"]
    assert (run.state.last_error, run.state.total_usage.total_tokens) == ("ConnectionError: away", 107)


def test_a_response_that_is_too_long_fails_the_run_as_it_fails_the_agent(stack, agent_of):
    agent = agent_of(says("And so", stop_reason="max_tokens"))
    with pytest.raises(MaxTokensReachedException):
        agent("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL, "RunFailed"]
    assert run.state.last_error.startswith("MaxTokensReachedException: ")
    assert run.state.total_usage.total_tokens == 12


def test_a_hook_that_raises_after_the_model_loses_no_tokens(stack, agent_of):
    def refuse(event):
        raise PermissionError("too expensive")

    agent = agent_of(says("Yes."), hooks=[hook(AfterModelCallEvent, refuse)])
    with pytest.raises(PermissionError):
        agent("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL[:3], "RunFailed"]
    assert (run.state.last_error, run.state.total_usage.total_tokens) == ("PermissionError: too expensive", 12)


def test_a_hook_that_raises_before_the_invocation_leaves_no_run(stack, agent_of):
    def refuse(event):
        raise PermissionError("not now")

    with pytest.raises(PermissionError):
        agent_of(hooks=[hook(BeforeInvocationEvent, refuse)])("?")
    assert all_recorded(stack) == []


def test_an_agent_that_is_asked_while_its_user_handles_an_error_has_not_failed(stack, agent_of):
    async def ask():
        try:
            {}["the user's"]
        except KeyError:
            return await agent_of(says("Yes.")).invoke_async("?")

    asyncio.run(ask())
    assert the_recorded(stack).state.status is RunStatus.COMPLETED


# ---------------------------------------------------------------- retries


def test_a_call_that_fails_and_is_made_again_is_an_iteration_of_its_own(stack, agent_of):
    again = hook(AfterModelCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(says("Th", error=ConnectionError("away")), says("Three."), hooks=[again])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", *MODEL, "RunCompleted"]
    assert (run.state.iteration, run.state.total_usage.total_tokens) == (2, 12)


def test_a_response_that_is_discarded_has_used_tokens_and_is_not_committed(stack, agent_of):
    again = hook(AfterModelCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(says("Four."), says("Three."), hooks=[again])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL[:3], *MODEL, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 24


def test_a_tool_call_that_is_discarded_is_not_recorded(stack, agent_of):
    again = hook(AfterModelCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(asks(), says("Three."), hooks=[again], tools=[weather])("?")
    assert the_recorded(stack).types == ["RunStarted", *ASKS[:2], *MODEL, "RunCompleted"]


def test_a_tool_that_is_tried_again_is_executed_twice(stack, agent_of):
    again = hook(AfterToolCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(asks(), says("."), hooks=[again], tools=[weather])("?")
    assert the_recorded(stack).types == ["RunStarted", *ASKS, *TOOL, *TOOL, *MODEL, "RunCompleted"]


def test_each_call_of_a_middleware_that_retries_is_recorded(stack, agent_of):
    async def twice(context, next_fn):
        events = []
        for _ in range(2):
            events = [event async for event in next_fn(context)]
        for event in events:
            yield event

    agent = agent_of(says("Four."), says("Three."))
    agent.add_middleware(InvokeModelStage, twice)
    agent("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL[:3], *MODEL, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 24


# ---------------------------------------------------------------- messages that no model wrote


def test_a_model_call_that_a_hook_denies_is_none(stack, agent_of):
    denies = hook(BeforeModelCallEvent, lambda event: setattr(event, "cancel", "Not today."))
    agent_of(hooks=[denies])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert (run.text, run.state.iteration) == ("Not today.", 0)


def test_an_answer_from_a_cache_is_recorded_whole(stack, agent_of):
    kept = []

    async def from_cache(context, next_fn):
        if not kept:
            kept.extend([event async for event in next_fn(context)])
        yield kept[-1]

    agent = agent_of(says("Thr", "ee."))
    agent.add_middleware(InvokeModelStage, from_cache)
    agent("?")
    agent("?")
    first, second = all_recorded(stack)
    assert first.types == ["RunStarted", "ModelStarted", "TextDelta", "TextDelta", *MODEL[2:], "RunCompleted"]
    assert second.types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert (first.text, second.text) == ("Three.", "Three.")


def test_a_last_word_that_a_hook_says_is_recorded(stack, agent_of):
    ends = hook(AfterToolsEvent, lambda event: setattr(event, "end_turn", "That will do."))
    agent_of(asks(), hooks=[ends], tools=[weather])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert run.text == "That will do."


def test_structured_output_is_a_tool_call(stack, agent_of):
    class Weather(BaseModel):
        celsius: int

    turn = Turn(tools=[("call-1", "Weather", {"celsius": 3})])
    result = agent_of(turn)("?", structured_output_model=Weather)
    assert result.structured_output.celsius == 3
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "RunCompleted"]
    assert run.state.last_finish is FinishReason.TOOL_CALLS


@pytest.mark.filterwarnings("ignore:Agent.structured_output:DeprecationWarning")
def test_the_old_way_to_structured_output_is_a_run_too(stack, agent_of):
    class Anything(BaseModel):
        celsius: int = 3

    agent_of().structured_output(Anything, "?")
    assert the_recorded(stack).types == ["RunStarted", "RunCompleted"]


# ---------------------------------------------------------------- cancellation


def test_an_agent_that_is_cancelled_while_the_model_streams_is_cancelled(stack, agent_of):
    agent = agent_of(says("Let me", then=lambda: agent.cancel()))  # noqa: PLW0108 (it is made later)
    assert agent("?").stop_reason == "cancelled"
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *MODEL[:2], "AssistantMessageCommitted", "RunCancelled"]
    assert run.state.status is RunStatus.CANCELLED


def test_an_agent_that_is_cancelled_before_its_tools_executes_none(stack, agent_of):
    stop = hook(AfterModelCallEvent, lambda event: event.agent.cancel())
    agent_of(asks(), hooks=[stop], tools=[weather])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, "RunCancelled"]
    assert run.state.total_usage.total_tokens == 12


def test_an_agent_that_is_cancelled_after_its_tools_is_cancelled(stack, agent_of):
    @tool(name="weather")
    def stop(city: str) -> str:
        """Stop the agent."""
        agent.cancel(after_current_tools=True, message="I was told to stop.")
        return "stopped"

    agent = agent_of(asks(), tools=[stop])
    agent("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "TextDelta", "AssistantMessageCommitted", "RunCancelled"]
    assert run.text == "I was told to stop."


def test_a_signal_of_the_user_cancels(stack, agent_of):
    signal = threading.Event()
    agent = agent_of(asks(then=signal.set), tools=[weather])
    agent("?", cancel_signal=signal)
    assert the_recorded(stack).types == ["RunStarted", *ASKS, "RunCancelled"]


def test_a_task_that_is_cancelled_while_the_model_streams_goes_on_to_be_cancelled(stack, agent_of):
    async def ask():
        is_streaming = asyncio.Event()
        agent = agent_of(asks(), says("Let me", then=is_streaming.set, hangs=True), tools=[weather])
        task = asyncio.create_task(agent.invoke_async("?"))
        await is_streaming.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL[:2], "RunCancelled"]
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CANCELLED, 12)


def test_a_task_that_is_cancelled_while_a_tool_works_is_cancelled(stack, agent_of):
    async def ask():
        is_working = asyncio.Event()

        @tool(name="weather")
        async def wait(city: str) -> str:
            """Wait for ever."""
            is_working.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(agent_of(asks(), tools=[wait]).invoke_async("?"))
        await is_working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert the_recorded(stack).types == ["RunStarted", *ASKS, "ToolExecutionStarted", "RunCancelled"]


def test_a_stream_that_nobody_reads_to_its_end_is_cancelled(stack, agent_of):
    async def look():
        async for event in agent_of(says("Three ", "degrees")).stream_async("?"):
            if "data" in event:
                break

    asyncio.run(look())
    run = the_recorded(stack)
    assert (run.types[:3], run.types[-1]) == (["RunStarted", "ModelStarted", "TextDelta"], "RunCancelled")


def test_an_invocation_that_a_hook_denies_is_cancelled(stack, agent_of):
    denies = hook(BeforeInvocationEvent, lambda event: setattr(event, "cancel", "Not today."))
    assert str(agent_of(hooks=[denies])("?")) == "Not today.\n"
    assert the_recorded(stack).types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCancelled"]


# ---------------------------------------------------------------- pauses


def approval(event):
    if event.interrupt("approval", reason="money") != "yes":
        event.cancel_tool = "denied"


def answer(result, response):
    return [{"interruptResponse": {"interruptId": each.id, "response": response}} for each in result.interrupts]


def test_a_run_that_waits_for_an_approval_is_not_over_and_has_executed_nothing(stack, agent_of):
    agent = agent_of(asks(), hooks=[hook(BeforeToolCallEvent, approval)], tools=[weather])
    result = agent("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == ("approval", [result.interrupts[0].id])
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CALLING_MODEL, 12)


@pytest.mark.parametrize(("response", "executed"), [("yes", TOOL), ("no", [])])
def test_the_answer_is_a_run_of_its_own_in_the_same_session(stack, agent_of, response, executed):
    agent = agent_of(asks(), says("Done."), hooks=[hook(BeforeToolCallEvent, approval)], tools=[weather])
    agent(answer(agent("?"), response))
    asked, resumed = all_recorded(stack)
    assert resumed.types == ["RunStarted", *executed, *MODEL, "RunCompleted"]
    assert asked.record.session_id == resumed.record.session_id == "s"


def test_a_tool_that_asks_itself_has_begun(stack, agent_of):
    @tool(name="weather", context=True)
    def ask_first(city: str, tool_context) -> str:
        """Ask first."""
        return tool_context.interrupt("which_city")

    agent = agent_of(asks(), says("Done."), tools=[ask_first])
    agent(answer(agent("?"), "Oslo"))
    asked, resumed = all_recorded(stack)
    assert asked.types == ["RunStarted", *ASKS, "ToolExecutionStarted", "agent.Paused"]
    assert asked.events[-1]["reason"] == "which_city"
    assert resumed.types == ["RunStarted", *TOOL, *MODEL, "RunCompleted"]


def test_a_model_that_waits_for_an_approval_has_not_been_called(stack, agent_of):
    def ask_first(event):
        raise InterruptException(Interrupt("budget-1", "budget"))

    agent = agent_of(says("Done."), hooks=[hook(BeforeModelCallEvent, once(ask_first))])
    agent(answer(agent("?"), "yes"))
    asked, resumed = all_recorded(stack)
    assert asked.types == ["RunStarted", "agent.Paused"]
    assert resumed.types == ["RunStarted", *MODEL, "RunCompleted"]


def test_a_checkpoint_is_a_pause(stack, agent_of):
    agent = agent_of(asks(), tools=[weather], checkpointing=True)
    assert agent("?").stop_reason == "checkpoint"
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == ("checkpoint", [])


# ---------------------------------------------------------------- several runs


def test_each_invocation_is_a_run(stack, agent_of):
    agent = agent_of(says("One."), says("Two."))
    agent("?")
    agent("?")
    assert [run.text for run in all_recorded(stack)] == ["One.", "Two."]


def test_agents_in_threads_share_the_hooks(stack):
    hooks = BehestHooks(stack.store)
    number = 4
    meet = threading.Barrier(number, timeout=10)

    def ask(text):
        turns = asks(text, then=meet.wait), says(text, then=meet.wait)
        return Agent(model=StubModel(*turns), tools=[weather], hooks=[hooks], callback_handler=None)("?")

    with ThreadPoolExecutor(number) as pool:
        list(pool.map(ask, "abcd"))
    runs = all_recorded(stack)
    assert [run.types for run in runs] == [["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]] * number
    cities = {run.of("ToolCallCompleted")[0]["call"]["arguments"]["city"]: run.text for run in runs}
    assert cities == {text: text for text in "abcd"}
    assert len({run.record.session_id for run in runs}) == number


def test_agents_in_tasks_share_the_hooks_and_an_invocation_state(stack):
    hooks = BehestHooks(stack.store)
    shared = {}

    async def ask_all():
        agents = [
            Agent(model=StubModel(asks(text), says(text)), tools=[weather], hooks=[hooks], callback_handler=None)
            for text in "abcd"
        ]
        await asyncio.gather(*(agent.invoke_async("?", invocation_state=shared) for agent in agents))

    asyncio.run(ask_all())
    runs = all_recorded(stack)
    assert [run.types for run in runs] == [["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]] * 4
    assert {run.text for run in runs} == set("abcd")


def test_an_agent_that_may_do_several_things_at_once_has_a_run_for_each(stack, agent_of):
    agent = agent_of(says("a"), says("b"), concurrent_invocation_mode=ConcurrentInvocationMode.UNSAFE_REENTRANT)

    async def ask_twice():
        await asyncio.gather(agent.invoke_async("?"), agent.invoke_async("?"))

    asyncio.run(ask_twice())
    runs = all_recorded(stack)
    assert [run.types for run in runs] == [["RunStarted", *MODEL, "RunCompleted"]] * 2
    assert {run.text for run in runs} == {"a", "b"}
    assert len({run.of("AssistantMessageCommitted")[0]["message_id"] for run in runs}) == 2


# ---------------------------------------------------------------- several agents


def test_an_agent_that_is_a_tool_has_a_run_that_names_its_caller(stack):
    hooks = BehestHooks(stack.store)
    inner = Agent(name="forecaster", model=StubModel(says("Cold.")), hooks=[hooks], callback_handler=None)
    turns = Turn(tools=[("call-1", "forecaster", {"input": "?"})]), says("It is cold.")
    Agent(name="host", model=StubModel(*turns), tools=[inner], hooks=[hooks], callback_handler=None)("?")

    outer, called = all_recorded(stack)
    assert outer.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert called.types == ["RunStarted", *MODEL, "RunCompleted"]
    assert outer.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "Cold.\n"}}
    assert (outer.record.metadata["agent"], called.record.metadata["agent"]) == ("host", "forecaster")
    assert called.record.metadata["parent_run_id"] == outer.record.run_id
    assert "parent_run_id" not in outer.record.metadata
    assert called.record.session_id == outer.record.session_id


def test_an_agent_without_hooks_is_a_tool_as_any_other(stack, agent_of):
    inner = Agent(name="forecaster", model=StubModel(says("Cold.")), callback_handler=None)
    agent_of(Turn(tools=[("call-1", "forecaster", {"input": "?"})]), says("It is cold."), tools=[inner])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert run.state.total_usage.total_tokens == 24


def test_each_node_of_a_graph_is_a_run(stack):
    hooks = BehestHooks(stack.store, session_id="graph-1")
    graph = GraphBuilder().set_max_node_executions(2)
    for name in "ab":
        graph.add_node(Agent(name=name, model=StubModel(says(name)), hooks=[hooks], callback_handler=None), name)
    graph.add_edge("a", "b")
    graph.build()("?")
    runs = all_recorded(stack)
    assert [run.types for run in runs] == [["RunStarted", *MODEL, "RunCompleted"]] * 2
    assert [(run.record.metadata["agent"], run.record.session_id) for run in runs] == [
        ("a", "graph-1"),
        ("b", "graph-1"),
    ]


def test_each_turn_of_a_swarm_is_a_run(stack):
    hooks = BehestHooks(stack.store, session_id="swarm-1")
    hands_over = Turn(tools=[("call-1", "handoff_to_agent", {"agent_name": "b", "message": "yours"})])
    a = Agent(name="a", model=StubModel(hands_over, says("Handed over.")), hooks=[hooks], callback_handler=None)
    b = Agent(name="b", model=StubModel(says("Done.")), hooks=[hooks], callback_handler=None)
    Swarm([a, b])("?")
    first, second = all_recorded(stack)
    assert first.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert second.types == ["RunStarted", *MODEL, "RunCompleted"]
    assert [run.record.metadata["agent"] for run in (first, second)] == ["a", "b"]


# ---------------------------------------------------------------- ids, sessions, models


def test_the_run_has_an_id_of_its_own_and_says_where_it_is_from(stack):
    agent = Agent(
        model=StubModel(says("."), model_id="stub-2"),
        hooks=[BehestHooks(stack.store, metadata={"team": "red"})],
        callback_handler=None,
    )
    agent("?")
    record = the_recorded(stack).record
    assert record.metadata == {
        "framework": "strands",
        "framework_run_id": record.run_id,
        "agent": "Strands Agents",
        "team": "red",
    }
    assert (record.session_id, record.model) == (agent.session_id, "stub-2")


def test_the_session_is_that_of_the_session_manager(stack, tmp_path):
    manager = FileSessionManager(session_id="alice-1", storage_dir=str(tmp_path))
    model = StubModel(says("."))
    Agent(model=model, session_manager=manager, hooks=[BehestHooks(stack.store)], callback_handler=None)("?")
    assert the_recorded(stack).record.session_id == "alice-1"


def test_the_provider_is_told_by_the_class_of_the_model():
    class Ours(OpenAIResponsesModel):
        pass

    assert behest_strands._provider(Ours.__new__(Ours)) == "openai"
    assert behest_strands._provider(StubModel()) == "StubModel"


def test_a_model_without_a_configuration_is_named_by_its_class(stack):
    class Plain(StubModel):
        def get_config(self):
            return None

    Agent(model=Plain(says(".")), hooks=[BehestHooks(stack.store)], callback_handler=None)("?")
    assert the_recorded(stack).state.model == "Plain"


# ---------------------------------------------------------------- never in the way


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, agent_of, monkeypatch):
    runs = []

    def remember(*args, **more):
        runs.append(begin(*args, **more))
        return runs[0]

    monkeypatch.setattr(behest_strands, "begin", remember)
    monkeypatch.setattr(behest_strands, "END_WAIT", 0.0)
    back = away(stack)
    assert str(agent_of(asks(), says("Cold."), tools=[weather])("?")) == "Cold.\n"
    back()
    runs[0].flush()
    assert the_recorded(stack).types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]


@pytest.mark.parametrize("broken", ["begin", "_provider", "_model_id", "_tokens", "_tool_result", "as_json"])
def test_a_fault_in_here_changes_nothing_for_the_agent(stack, agent_of, monkeypatch, caplog, broken):
    def fail(*args, **kwargs):
        raise RuntimeError("a fault")

    monkeypatch.setattr(behest_strands, broken, fail)
    agent = agent_of(asks(), says("Cold."), tools=[weather])
    assert str(agent("?")) == "Cold.\n"
    assert "could not record what an agent did" in caplog.text
    assert {each.name for each in caplog.records if each.levelno == logging.ERROR} == {"behest_core"}


def test_the_settings_reach_the_recorder(stack, agent_of):
    def redact(event):
        return None if event["type"] == "TextDelta" else json.loads(json.dumps(event).replace("Oslo", "a city"))

    settings = {"redact": redact, "cut_at": 8, "metadata": {"a": 1}}
    agent_of(asks(), says("Cold."), settings=settings, tools=[weather])("?")
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "ModelStarted", *MODEL[2:], "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": {"cut": '"3 degre', "bytes": 19}}}
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"cut": '{"city":', "bytes": 15}
