"""What is one run: where it begins and ends, its id, session and metadata."""

import asyncio

import pytest
from behest_strands import BehestHooks
from pydantic import BaseModel
from strands import Agent
from strands.hooks import BeforeInvocationEvent
from strands.session.file_session_manager import FileSessionManager
from strands_models import ASKS, MODEL, TOOL, StubModel, asks, hook, says, tokens, weather

from behest_core.model.state import FinishReason, RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded


def test_text_and_tools_are_recorded_in_order(stack, agent_of):
    agent = agent_of(asks(usage=tokens(100, 7)), says("3 degrees."), tools=[weather])
    assert str(agent("How warm is it?")) == "3 degrees.\n"

    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert (run.state.status, run.state.last_finish) == (RunStatus.COMPLETED, FinishReason.STOP)
    assert (run.state.provider, run.state.model, run.state.iteration) == ("StubModel", "stub-1", 2)
    assert (run.state.total_usage.input_tokens, run.state.total_usage.output_tokens) == (110, 9)
    assert run.text == "3 degrees."


def test_a_hook_that_raises_before_the_invocation_leaves_no_run(stack, agent_of):
    def refuse(event):
        raise PermissionError("not now")

    with pytest.raises(PermissionError):
        agent_of(hooks=[hook(BeforeInvocationEvent, refuse)])("?")
    assert all_recorded(stack.store) == []


def test_an_agent_that_is_asked_while_its_user_handles_an_error_has_not_failed(stack, agent_of):
    async def ask():
        try:
            {}["the user's"]
        except KeyError:
            return await agent_of(says("Yes.")).invoke_async("?")

    asyncio.run(ask())
    assert the_recorded(stack.store).state.status is RunStatus.COMPLETED


@pytest.mark.filterwarnings("ignore:Agent.structured_output:DeprecationWarning")
def test_the_old_way_to_structured_output_is_a_run_too(stack, agent_of):
    class Anything(BaseModel):
        celsius: int = 3

    agent_of().structured_output(Anything, "?")
    assert the_recorded(stack.store).types == ["RunStarted", "RunCompleted"]


def test_each_invocation_is_a_run(stack, agent_of):
    agent = agent_of(says("One."), says("Two."))
    agent("?")
    agent("?")
    assert [run.text for run in all_recorded(stack.store)] == ["One.", "Two."]


def test_the_run_has_an_id_of_its_own_and_says_where_it_is_from(stack):
    agent = Agent(
        model=StubModel(says("."), model_id="stub-2"),
        hooks=[BehestHooks(stack.store, metadata={"team": "red"})],
        callback_handler=None,
    )
    agent("?")
    record = the_recorded(stack.store).record
    assert record.metadata == {
        "framework": "strands",
        "framework_run_id": record.run_id,
        "agent_name": "Strands Agents",
        "team": "red",
    }
    assert (record.session_id, record.model) == (agent.session_id, "stub-2")


def test_the_session_is_that_of_the_session_manager(stack, tmp_path):
    manager = FileSessionManager(session_id="alice-1", storage_dir=str(tmp_path))
    model = StubModel(says("."))
    Agent(model=model, session_manager=manager, hooks=[BehestHooks(stack.store)], callback_handler=None)("?")
    assert the_recorded(stack.store).record.session_id == "alice-1"


def test_who_it_is_for_and_its_tags_are_what_the_trace_says(stack, agent_of):
    agent_of(says("."), trace_attributes={"user.id": "alice", "tags": ["a", "b"], "session.id": "other"})("?")
    record = the_recorded(stack.store).record
    assert (record.metadata["user_id"], record.metadata["tags"]) == ("alice", ["a", "b"])


def test_an_agent_that_has_the_hooks_twice_is_recorded_once(stack, agent_of):
    agent_of(asks(), says("."), hooks=[BehestHooks(stack.store, session_id="another")], tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, *MODEL, "RunCompleted"]
    assert run.record.session_id == "s"
