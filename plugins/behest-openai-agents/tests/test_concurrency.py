"""Several runs at once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from openai_agents_models import ASKED, SAID, USED, agent, answers, asks, says, tokens, work_of

from behest_core.testing.recorded import all_recorded


def test_several_runs_at_once_keep_apart(stack, runner):
    async def main():
        cities = [f"city {number}" for number in range(5)]
        await asyncio.gather(*(runner.run(agent(*named(city)), city) for city in cities))
        return cities

    def named(city):
        return [asks("weather", {"city": city}, tokens(10, 2)), says(city, tokens(20, 4))]

    cities = asyncio.run(main())
    runs = all_recorded(stack.store)
    assert sorted(run.text for run in runs) == cities
    for run in runs:
        assert work_of(run) == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
        assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"city": run.text}
        assert run.state.total_usage.total_tokens == 36


def test_several_threads_can_share_a_runner(stack, runner):
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda city: asyncio.run(runner.run(agent(*answers()), city)), "abc"))
    assert [result.final_output for result in results] == ["3 degrees."] * 3
    assert [work_of(run) for run in all_recorded(stack.store)] == [
        ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
    ] * 3
