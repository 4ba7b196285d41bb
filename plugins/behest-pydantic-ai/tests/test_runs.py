"""What is one run: where it begins and ends, its id, session and metadata."""

# ruff: noqa: ARG002 (models and capabilities have the arguments that the framework calls them with)

import asyncio
from contextlib import suppress

import pytest
from behest_pydantic_ai import BehestRecording
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai_models import ALL_TOKENS, FIRST, LAST, WITH_A_TOOL, answer, scripted, with_model

from behest_core.model.state import FinishReason, RunStatus
from behest_core.recording.adapter import id_of
from behest_core.testing.recorded import all_recorded, recorded, the_recorded


def test_a_run_is_recorded_from_its_beginning_to_its_end(stack, agent):
    result = agent.run_sync("How is the weather in Oslo?")
    run = the_recorded(stack.store)
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


@pytest.mark.parametrize("use", [use_run, use_iter])
def test_every_way_to_run_an_agent_is_recorded_alike(stack, agent, use):
    assert asyncio.run(use(agent)) == "3 degrees."
    run = the_recorded(stack.store)
    assert run.types == WITH_A_TOOL
    assert run.state.total_usage == ALL_TOKENS


def test_a_run_that_a_capability_saves_is_completed(stack, recording):
    class Saves(AbstractCapability):
        async def wrap_tool_execute(self, ctx, *, call, tool_def, args, handler):
            with suppress(KeyError):
                return await handler(args)
            return "no idea"

    def weather(city: str) -> str:
        raise KeyError(city)

    Agent(scripted(FIRST, LAST), capabilities=[Saves(), recording], tools=[weather]).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert run.types == WITH_A_TOOL
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "no idea"}}


def test_run_and_conversation_have_their_ids_in_pydantic_ai(stack, agent):
    result = agent.run_sync("Oslo?", conversation_id="alice")
    run = recorded(stack.store, result.run_id)
    assert run.record.session_id == "alice"
    assert run.record.metadata == {
        "framework": "pydantic-ai",
        "framework_run_id": result.run_id,
        "agent_name": "forecaster",
    }


def test_runs_that_share_their_messages_share_a_session(stack, recording):
    agent = with_model(recording, answer("Hi."), answer("Yes."))
    first = agent.run_sync("Hi?")
    agent.run_sync("Really?", message_history=first.all_messages())
    runs = all_recorded(stack.store)
    assert len(runs) == 2
    assert {run.record.session_id for run in runs} == {first.conversation_id}


def test_session_and_metadata_can_be_given(stack):
    recording = BehestRecording(stack.store, session_id="alice", metadata={"stage": "test"})
    agent = Agent(scripted(LAST), metadata={"team": "maps"})
    agent.run_sync("Oslo?", capabilities=[recording])
    record = the_recorded(stack.store).record
    assert record.session_id == "alice"
    assert record.metadata["stage"] == "test"
    assert record.metadata["team"] == "maps"


def test_an_agent_with_two_recordings_is_recorded_once(stack, agent, caplog):
    agent.run_sync("Oslo?", capabilities=[BehestRecording(stack.store)])
    run = the_recorded(stack.store)
    assert run.types == WITH_A_TOOL
    assert run.state.total_usage == ALL_TOKENS
    assert caplog.text == ""


def test_a_conversation_id_beyond_the_limits_gives_a_session(stack, agent):
    agent.run_sync("Oslo?", conversation_id="x" * 300)
    assert the_recorded(stack.store).record.session_id == id_of("x" * 300)
