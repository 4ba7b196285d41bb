"""What is one run: where it begins and ends, its id, session and metadata."""

import asyncio

import pytest
from agents import RunConfig, SQLiteSession, gen_trace_id, trace
from behest_openai_agents import BehestRunner
from openai_agents_models import ASKED, SAID, USED, agent, answers, read, says, settled_all, work_of

from behest_core.model.state import RunStatus, TokenUsage
from behest_core.recording.process import unfinished
from behest_core.testing.recorded import all_recorded, the_recorded


def test_text_and_tools_are_recorded_in_order(stack, runner):
    result = asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    run = the_recorded(stack.store)
    assert result.final_output == "3 degrees."
    assert work_of(run) == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
    assert (run.state.status, run.state.iteration, run.text) == (RunStatus.COMPLETED, 2, "3 degrees.")
    assert run.state.total_usage == TokenUsage(30, 6, 36, cache_read_input_tokens=8)
    assert run.of("RunCompleted")[0]["finish_reason"] == "stop"


def test_it_runs_without_an_event_loop_too(stack, runner, loop):
    result = runner.run_sync(agent(*answers()), "Oslo?")
    run = the_recorded(stack.store)
    assert result.final_output == "3 degrees."
    assert work_of(run) == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
    assert run.state.status is RunStatus.COMPLETED


def test_a_run_that_ends_with_a_tools_output_says_so(stack, runner):
    result = asyncio.run(runner.run(agent(answers()[0], tool_use_behavior="stop_on_first_tool"), "Oslo?"))
    run = the_recorded(stack.store)
    assert result.final_output == "{'temp': 3}"
    assert work_of(run) == ["RunStarted", *ASKED, *USED, "RunCompleted"]
    assert run.of("RunCompleted")[0]["finish_reason"] == "tool_calls"


def test_a_mistake_of_the_callers_is_the_sdks_to_tell(stack, runner):
    with pytest.raises(TypeError, match="Run hooks must be instances of RunHooks"):
        asyncio.run(runner.run(agent(says("Hi")), "Hi", hooks="none"))
    with pytest.raises(TypeError, match="Run hooks must be instances of RunHooks"):
        runner.run_streamed(agent(says("Hi")), "Hi", hooks="none")
    settled_all(stack)
    assert [work_of(run) for run in all_recorded(stack.store)] == [["RunStarted", "RunFailed"]] * 2


def test_the_configs_trace_id_is_the_run_id(stack, runner):
    trace_id = gen_trace_id()
    asyncio.run(runner.run(agent(says("Hi")), "Hi", run_config=RunConfig(trace_id=trace_id)))
    record = the_recorded(stack.store).record
    assert (record.run_id, record.client_request_id) == (trace_id, f"openai-agents:{trace_id}")
    assert record.metadata == {
        "framework": "openai-agents",
        "framework_run_id": trace_id,
        "agent_name": "forecaster",
    }


def test_runs_inside_of_one_trace_are_several(stack, runner):
    async def main():
        with trace("both", trace_id="trace_1"):
            for _ in range(2):
                await runner.run(agent(says("Hi")), "Hi", run_config={"trace_id": "trace_1"})

    asyncio.run(main())
    runs = all_recorded(stack.store)
    assert [run.record.metadata["trace_id"] for run in runs] == ["trace_1", "trace_1"]
    assert [run.state.status for run in runs] == [RunStatus.COMPLETED] * 2


class Unready:
    """A session that has no id before it is used."""

    @property
    def session_id(self):
        raise ValueError("not yet")

    async def get_items(self, **_):
        return []

    async def add_items(self, items):
        pass


@pytest.mark.parametrize(
    ("options", "session_id"),
    [
        ({}, "mine"),
        ({"run_config": RunConfig(group_id="group")}, "group"),
        ({"run_config": {"group_id": "group"}}, "group"),
        ({"run_config": RunConfig(group_id="group"), "session": SQLiteSession("sqlite")}, "sqlite"),
        ({"run_config": RunConfig(group_id="group"), "session": Unready()}, "group"),
        ({"run_config": RunConfig(group_id="group"), "conversation_id": "conversation"}, "conversation"),
    ],
)
def test_a_session_is_what_the_sdk_groups_by_else_the_runners(stack, options, session_id):
    runner = BehestRunner(stack.store, session_id="mine", metadata={"team": "sky"})
    asyncio.run(runner.run(agent(says("Hi")), "Hi", **options))
    record = the_recorded(stack.store).record
    assert (record.session_id, record.metadata["team"]) == (session_id, "sky")


def test_no_recorder_outlives_its_run(stack, runner):
    async def main():
        await runner.run(agent(*answers()), "Oslo?")
        await read(runner.run_streamed(agent(*answers()), "Oslo?"))

    asyncio.run(main())
    assert unfinished(stack.store.event_log) == []
