"""Runs that are cancelled, or whose reader goes away."""

import asyncio
import threading

import pytest
from strands import tool
from strands.hooks import AfterModelCallEvent, BeforeInvocationEvent
from strands_models import ASKS, BROKEN_OFF, KEPT, TOOL, asks, hook, says, weather

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded


def test_an_agent_that_is_cancelled_while_the_model_streams_is_cancelled(stack, agent_of):
    agent = agent_of(says("Let me", then=lambda: agent.cancel()))  # noqa: PLW0108 (it is made later)
    assert agent("?").stop_reason == "cancelled"
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, "TextDelta", *KEPT, "RunCancelled"]
    assert run.state.status is RunStatus.CANCELLED


def test_an_agent_that_is_cancelled_before_its_tools_executes_none(stack, agent_of):
    stop = hook(AfterModelCallEvent, lambda event: event.agent.cancel())
    agent_of(asks(), hooks=[stop], tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, "agent.ToolRefused", "RunCancelled"]
    assert run.of("agent.ToolRefused")[0]["reason"] == "Tool execution cancelled"
    assert run.state.total_usage.total_tokens == 12


def test_an_agent_that_is_cancelled_after_its_tools_is_cancelled(stack, agent_of):
    @tool(name="weather")
    def stop(city: str) -> str:
        """Stop the agent."""
        agent.cancel(after_current_tools=True, message="I was told to stop.")
        return "stopped"

    agent = agent_of(asks(), tools=[stop])
    agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "TextDelta", "AssistantMessageCommitted", "RunCancelled"]
    assert run.text == "I was told to stop."


def test_a_signal_of_the_user_cancels(stack, agent_of):
    signal = threading.Event()
    agent = agent_of(asks(then=signal.set), tools=[weather])
    agent("?", cancel_signal=signal)
    assert the_recorded(stack.store).types == ["RunStarted", *ASKS, "agent.ToolRefused", "RunCancelled"]


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
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *BROKEN_OFF, "RunCancelled"]
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
    assert the_recorded(stack.store).types == ["RunStarted", *ASKS, *TOOL, "RunCancelled"]


def test_a_stream_that_nobody_reads_to_its_end_is_cancelled(stack, agent_of):
    async def look():
        async for event in agent_of(says("Three ", "degrees")).stream_async("?"):
            if "data" in event:
                break

    asyncio.run(look())
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, "RunCancelled"]


def test_an_invocation_that_a_hook_denies_is_cancelled(stack, agent_of):
    denies = hook(BeforeInvocationEvent, lambda event: setattr(event, "cancel", "Not today."))
    assert str(agent_of(hooks=[denies])("?")) == "Not today.\n"
    assert the_recorded(stack.store).types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCancelled"]
