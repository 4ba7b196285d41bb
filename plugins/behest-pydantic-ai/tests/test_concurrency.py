"""Several runs at once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pydantic_ai_models import WITH_A_TOOL

from behest_core.testing.recorded import all_recorded


def test_several_runs_at_once_are_told_apart(stack, agent):
    async def use():
        await asyncio.gather(*[agent.run("Oslo?", conversation_id=f"user-{number}") for number in range(5)])

    asyncio.run(use())
    runs = all_recorded(stack.store)
    assert [run.types for run in runs] == [WITH_A_TOOL] * 5
    assert {run.record.session_id for run in runs} == {f"user-{number}" for number in range(5)}


def test_runs_in_several_threads_are_told_apart(stack, agent):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(asyncio.run, [agent.run("Oslo?") for _ in range(3)]))
    assert [run.types for run in all_recorded(stack.store)] == [WITH_A_TOOL] * 3
