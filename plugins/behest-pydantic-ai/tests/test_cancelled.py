"""Runs that are cancelled, or whose reader goes away."""

# ruff: noqa: ARG002 (models and capabilities have the arguments that the framework calls them with)

import asyncio

import anyio
import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.models.function import FunctionModel
from pydantic_ai_models import (
    ASKED,
    BROKEN_OFF,
    CALLED,
    FIRST,
    FIRST_TOKENS,
    LAST,
    RAN,
    answer,
    calls,
    use_event_stream_handler,
    with_model,
)

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded


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
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKED, *RAN, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}
    assert run.state.status is RunStatus.CANCELLED
    assert run.state.total_usage == FIRST_TOKENS


def test_a_tool_that_raises_stops_the_one_beside_it(stack, recording, hanging):
    async def fail(city: str) -> str:
        await hanging.is_hanging.wait()
        raise KeyError(city)

    agent = with_model(recording, calls("weather", "fail"), tools=[hanging.weather, fail])
    with pytest.raises(KeyError):
        asyncio.run(agent.run("Oslo?"))
    run = the_recorded(stack.store)
    errors = {each["tool_name"]: each["result"]["Failure"]["error"] for each in run.of("ToolExecutionFinished")}
    assert errors == {"fail": "KeyError: 'Oslo'", "weather": "cancelled"}
    assert run.state.last_error == "KeyError: 'Oslo'"


def test_a_task_that_is_cancelled_while_the_model_is_called(stack, recording, hanging):
    agent = Agent(FunctionModel(hanging.answer), capabilities=[recording])
    asyncio.run(cancel_when(hanging, agent.run("Oslo?")))
    assert the_recorded(stack.store).types == ["RunStarted", *CALLED, "agent.ModelFailed", "RunCancelled"]


def test_a_task_that_is_cancelled_while_the_model_streams(stack, recording, hanging):
    agent = Agent(FunctionModel(stream_function=hanging.stream), capabilities=[recording])
    asyncio.run(cancel_when(hanging, use_event_stream_handler(agent)))
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, "RunCancelled"]
    assert run.state.total_usage.output_tokens == 2


def test_a_scope_around_the_run_that_is_cancelled(stack, recording, hanging):
    agent = with_model(recording, FIRST, LAST, tools=[hanging.weather])

    async def use():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.run, "Oslo?")
            await hanging.is_hanging.wait()
            tasks.cancel_scope.cancel()

    asyncio.run(use())
    assert the_recorded(stack.store).types == ["RunStarted", *ASKED, *RAN, "RunCancelled"]


def test_a_run_that_takes_too_long(stack, hanging, recording, monkeypatch):
    agent = Agent(FunctionModel(hanging.answer), capabilities=[recording])

    async def use():
        run = asyncio.create_task(agent.run("Oslo?", timeout=3600))
        await hanging.is_hanging.wait()
        loop = asyncio.get_running_loop()
        time_of_day = loop.time
        monkeypatch.setattr(loop, "time", lambda: time_of_day() + 3600)
        await run

    with pytest.raises(RunTimedOut):
        asyncio.run(use())
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "ModelStarted", "agent.ModelRequested", "agent.ModelFailed", "RunCancelled"]
    assert run.state.status is RunStatus.CANCELLED


def test_a_run_that_is_cancelled_from_outside(stack, agent):
    async def use():
        async with agent.iter("Oslo?") as run:
            async for node in run:
                if Agent.is_call_tools_node(node):
                    run.cancel()

    with pytest.raises(RunCancelled):
        asyncio.run(use())
    assert the_recorded(stack.store).types == ["RunStarted", *ASKED, "RunCancelled"]


def test_a_run_that_a_tool_cancels(stack, recording):
    async def weather(ctx: RunContext, city: str) -> str:
        ctx.cancel()
        await asyncio.sleep(0)
        return "never"

    agent = with_model(recording, FIRST, LAST, tools=[weather])
    with pytest.raises(RunCancelled):
        agent.run_sync("Oslo?")
    assert the_recorded(stack.store).types == ["RunStarted", *ASKED, *RAN, "RunCancelled"]


def test_a_stream_that_is_left_early_is_cancelled_and_keeps_what_came(stack, recording):
    agent = with_model(recording, answer("One two three."))

    async def use():
        async with agent.run_stream("Count.") as result:
            async for _ in result.stream_text(delta=True, debounce_by=None):
                break

    asyncio.run(use())
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *BROKEN_OFF, "RunCancelled"]
    assert run.text == "One "
    assert run.state.total_usage.output_tokens == 1


def test_events_that_are_left_early_cancel_the_run(stack, recording):
    agent = with_model(recording, answer("One two three."))

    async def use():
        async with agent.run_stream_events("Count.") as events:
            async for _ in events:
                break

    asyncio.run(use())
    assert the_recorded(stack.store).state.status is RunStatus.CANCELLED


def test_an_iteration_that_is_left_early_is_cancelled(stack, agent):
    async def use():
        async with agent.iter("Oslo?") as run:
            async for node in run:
                if Agent.is_call_tools_node(node):
                    break

    asyncio.run(use())
    assert the_recorded(stack.store).types == ["RunStarted", *ASKED, "RunCancelled"]
