"""Several runs at once."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from behest_strands import BehestHooks
from strands import Agent
from strands.types.agent import ConcurrentInvocationMode
from strands_models import ASKS, MODEL, TOOL, StubModel, asks, says, weather

from behest_core.testing.recorded import all_recorded


def test_agents_in_threads_share_the_hooks(stack):
    hooks = BehestHooks(stack.store)
    number = 4
    meet = threading.Barrier(number, timeout=60)

    def ask(text):
        turns = asks(text, then=meet.wait), says(text, then=meet.wait)
        return Agent(model=StubModel(*turns), tools=[weather], hooks=[hooks], callback_handler=None)("?")

    with ThreadPoolExecutor(number) as pool:
        list(pool.map(ask, "abcd"))
    runs = all_recorded(stack.store)
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
    runs = all_recorded(stack.store)
    assert [run.types for run in runs] == [["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]] * 4
    assert {run.text for run in runs} == set("abcd")


def test_an_agent_that_may_do_several_things_at_once_has_a_run_for_each(stack, agent_of):
    agent = agent_of(says("a"), says("b"), concurrent_invocation_mode=ConcurrentInvocationMode.UNSAFE_REENTRANT)

    async def ask_twice():
        await asyncio.gather(agent.invoke_async("?"), agent.invoke_async("?"))

    asyncio.run(ask_twice())
    runs = all_recorded(stack.store)
    assert [run.types for run in runs] == [["RunStarted", *MODEL, "RunCompleted"]] * 2
    assert {run.text for run in runs} == {"a", "b"}
    assert len({run.of("AssistantMessageCommitted")[0]["message_id"] for run in runs}) == 2
