"""Runs that are cancelled, or whose reader goes away."""

import asyncio
from contextlib import suppress

import pytest
from agents import RunHooks, function_tool
from agents.testing import ModelStep
from openai_agents_models import ASKED, CALLED, USED, agent, answers, read, settled, work_of

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded


def waiting_tool(entered):
    @function_tool
    async def wait(city: str) -> str:
        """Waits for ever."""
        entered.set()
        await asyncio.Event().wait()
        return "never"

    return wait


def test_a_cancelled_task_is_cancelled_and_recorded_so(stack, runner):
    async def main():
        entered = asyncio.Event()
        cancelled = agent(*answers("wait"), tools=[waiting_tool(entered)])
        task = asyncio.create_task(runner.run(cancelled, "Oslo?"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    run = settled(stack)
    assert work_of(run) == ["RunStarted", *ASKED, *USED, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CANCELLED, 12)


def test_a_tool_that_outlives_its_cancelled_run_is_recorded_no_more(stack, runner, caplog):
    entered, ended, returned = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @function_tool
    async def stubborn(city: str) -> str:
        """Does not let itself be cancelled."""
        entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await ended.wait()
        return "late"

    class Hooks(RunHooks):
        async def on_tool_end(self, *_):
            returned.set()

    async def main():
        task = asyncio.create_task(runner.run(agent(*answers("stubborn"), tools=[stubborn]), "Oslo?", hooks=Hooks()))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.set()
        await returned.wait()

    asyncio.run(main())
    assert work_of(settled(stack)) == ["RunStarted", *ASKED, *USED, "RunCancelled"]
    assert caplog.text == ""


def test_a_cancelled_run_is_in_the_log_when_its_task_is_done(stack, runner):
    def interrupt(_call):
        raise asyncio.CancelledError

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await runner.run(agent(ModelStep.respond(interrupt)), "Oslo?")
        assert the_recorded(stack.store).state.status is RunStatus.CANCELLED

    asyncio.run(main())


def test_a_timeout_around_a_run_cancels_it(stack, runner):
    async def main():
        async def expire(_call):
            timeout.reschedule(asyncio.get_running_loop().time())
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                await runner.run(agent(ModelStep.respond(expire)), "Oslo?")

    asyncio.run(main())
    assert work_of(settled(stack)) == ["RunStarted", *CALLED, "agent.ModelFailed", "RunCancelled"]


def test_ctrl_c_cancels_a_run_without_event_loop(stack, runner, loop):
    def interrupt(_call):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run_sync(agent(ModelStep.respond(interrupt)), "Oslo?")
    assert settled(stack).state.status is RunStatus.CANCELLED


@pytest.mark.parametrize("mode", ["immediate", "after_turn"])
def test_a_stream_can_be_cancelled(stack, runner, mode):
    async def main():
        result = runner.run_streamed(agent(*answers()), "Oslo?")
        async for event in result.stream_events():
            if event.type == "run_item_stream_event":
                result.cancel(mode=mode)
        return the_recorded(stack.store)  # nobody waits: reading the stream to its end did

    run = asyncio.run(main())
    assert run.types[-1] == "RunCancelled"
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CANCELLED, 12)


def test_cancelling_the_reader_cancels_the_run(stack, runner):
    async def main():
        entered = asyncio.Event()
        result = runner.run_streamed(agent(*answers("wait"), tools=[waiting_tool(entered)]), "Oslo?")
        task = asyncio.create_task(read(result))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return the_recorded(stack.store)

    assert work_of(asyncio.run(main())) == ["RunStarted", *ASKED, *USED, "RunCancelled"]


def test_a_stream_that_the_end_of_the_loop_stops_is_cancelled(stack, runner):
    async def main():
        entered = asyncio.Event()
        runner.run_streamed(agent(*answers("wait"), tools=[waiting_tool(entered)]), "Oslo?")
        await entered.wait()

    asyncio.run(main())  # the end of the loop waits
    assert the_recorded(stack.store).types[-1] == "RunCancelled"
