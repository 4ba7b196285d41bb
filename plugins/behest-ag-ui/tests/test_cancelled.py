"""Runs that are cancelled, or whose reader goes away."""

import asyncio

import pytest
from ag_ui.core import EventType, RunFinishedCancelledOutcome, TextMessageContentEvent, TextMessageEndEvent
from ag_ui_models import asked, drained, finished, run, started, text, weather_agent
from behest_ag_ui import record

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded


def test_a_run_that_the_agent_stopped_is_cancelled(stack):
    run(stack, started(asked()), finished(asked(), outcome=RunFinishedCancelledOutcome()))
    assert the_recorded(stack.store).types == ["RunStarted", "RunCancelled"]


class Waiting:
    """An agent that wrote a word, and waits for ever; it says how it was closed."""

    def __init__(self):
        self.is_waiting = asyncio.Event()
        self.closed_by = None

    async def __call__(self, run_input):
        try:
            yield started(run_input)
            for each in text("m", "Hi"):
                yield each
            self.is_waiting.set()
            await asyncio.Event().wait()
        except BaseException as error:
            self.closed_by = type(error)
            raise


STOPPED = ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCancelled"]


def test_a_cancelled_task_is_a_cancelled_run(stack):
    agent = Waiting()

    async def cancel():
        task = asyncio.create_task(drained(record(agent(asked()), stack.store)))
        await agent.is_waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert the_recorded(stack.store).types == STOPPED
    assert agent.closed_by is asyncio.CancelledError


def test_a_timeout_is_a_cancelled_run(stack):
    agent = Waiting()

    async def give_up():
        async with asyncio.timeout(None) as limit:
            async for each in record(agent(asked()), stack.store):
                if isinstance(each, TextMessageEndEvent):
                    limit.reschedule(0)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert the_recorded(stack.store).types == STOPPED


def test_a_consumer_that_closes_the_stream_cancels_the_run_and_closes_the_agent(stack):
    agent = Waiting()

    async def close():
        events = record(agent(asked()), stack.store)
        while not isinstance(await anext(events), TextMessageEndEvent):
            pass
        await events.aclose()

    asyncio.run(close())
    assert the_recorded(stack.store).types == STOPPED
    assert agent.closed_by is GeneratorExit


def test_a_consumer_that_breaks_off_cancels_the_run(stack):
    async def break_off():
        async for each in record(Waiting()(asked()), stack.store):
            if isinstance(each, TextMessageEndEvent):
                break

    asyncio.run(break_off())
    assert the_recorded(stack.store).types == STOPPED


def test_a_consumer_that_leaves_with_the_last_event_leaves_a_completed_run(stack):
    async def leave():
        async for each in record(weather_agent(asked()), stack.store):
            if each.type is EventType.RUN_FINISHED:
                break

    asyncio.run(leave())
    assert the_recorded(stack.store).state.status is RunStatus.COMPLETED


def test_an_exception_of_the_consumer_cancels_the_run(stack):
    async def consume():
        async for each in record(weather_agent(asked()), stack.store):
            if isinstance(each, TextMessageContentEvent):
                raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(consume())
    assert the_recorded(stack.store).types[-1] == "RunCancelled"


def test_an_iterator_that_can_not_be_closed_is_recorded_too(stack):
    class Events:
        def __init__(self):
            self.left = [started(asked()), finished(asked())]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    asyncio.run(drained(record(Events(), stack.store)))
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]
