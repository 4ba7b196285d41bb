"""Runs that wait for somebody, and go on as other runs."""

import pytest
from behest_strands import BehestHooks
from behest_strands.translation import answers_in
from strands import Agent, tool
from strands.hooks import BeforeModelCallEvent, BeforeToolCallEvent
from strands.interrupt import Interrupt, InterruptException
from strands.session.file_session_manager import FileSessionManager
from strands_models import ASKS, MODEL, TOOL, StubModel, Turn, asks, hook, once, says, weather

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded, when_answered


def approval(event):
    if event.interrupt("approval", reason="money") != "yes":
        event.cancel_tool = "denied"


def answer(result, response):
    return [{"interruptResponse": {"interruptId": each.id, "response": response}} for each in result.interrupts]


def test_a_run_that_waits_for_an_approval_is_not_over_and_has_executed_nothing(stack, agent_of):
    agent = agent_of(asks(), hooks=[hook(BeforeToolCallEvent, approval)], tools=[weather])
    result = agent("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == ("approval", [result.interrupts[0].id])
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CALLING_MODEL, 12)


def resumed_by(run):
    return [each["answers"] for each in run.of("agent.Resumed")]


@pytest.mark.parametrize(
    ("response", "said", "become"), [("yes", "granted", TOOL), ("no", "denied", ["agent.ToolRefused"])]
)
def test_the_answer_is_a_run_of_its_own_in_the_same_session(stack, agent_of, response, said, become):
    agent = agent_of(asks(), says("Done."), hooks=[hook(BeforeToolCallEvent, approval)], tools=[weather])
    result = agent("?")
    agent(answer(result, response))
    when_answered()
    asked, resumed = all_recorded(stack.store)
    answers = {result.interrupts[0].id: said}
    assert asked.types == ["RunStarted", *ASKS, "agent.Paused", "agent.Resumed", "RunCompleted"]
    assert resumed.types == ["RunStarted", "agent.Resumed", *become, *MODEL, "RunCompleted"]
    assert asked.of("agent.Resumed")[0]["answering_run_id"] == resumed.record.run_id
    assert resumed.of("agent.Resumed")[0]["paused_run_id"] == asked.record.run_id
    assert [*resumed_by(asked), *resumed_by(resumed)] == [answers, answers]
    assert asked.record.session_id == resumed.record.session_id == "s"


def test_a_tool_that_was_done_before_the_pause_is_not_told_again(stack, agent_of):
    def second_only(event):
        if event.tool_use["toolUseId"] == "call-2":
            approval(event)

    turn = Turn(tools=[("call-1", "weather", {"city": "Atlantis"}), ("call-2", "weather", {"city": "Oslo"})])
    agent = agent_of(turn, says("Done."), hooks=[hook(BeforeToolCallEvent, second_only)], tools=[weather])
    agent(answer(agent("?"), "no"))
    when_answered()
    asked, resumed = all_recorded(stack.store)
    assert [each["call_id"] for each in asked.of("ToolExecutionFinished")] == ["call-1"]
    assert [each["call_id"] for each in resumed.of("agent.ToolRefused")] == ["call-2"]
    assert resumed.of("agent.ToolRefused")[0]["reason"] == "denied"


def test_a_tool_that_asks_itself_has_begun(stack, agent_of):
    @tool(name="weather", context=True)
    def ask_first(city: str, tool_context) -> str:
        """Ask first."""
        return tool_context.interrupt("which_city")

    agent = agent_of(asks(), says("Done."), tools=[ask_first])
    agent(answer(agent("?"), "Oslo"))
    when_answered()
    asked, resumed = all_recorded(stack.store)
    waits = ["ToolExecutionStarted", "agent.Paused", "agent.Resumed", "RunCompleted"]
    assert asked.types == ["RunStarted", *ASKS, *waits]
    assert asked.of("agent.Paused")[0]["reason"] == "which_city"
    assert resumed.types == ["RunStarted", "agent.Resumed", *TOOL, *MODEL, "RunCompleted"]
    assert list(resumed_by(resumed)[0].values()) == ["answered"]


def test_a_model_that_waits_for_an_approval_has_not_been_called(stack, agent_of):
    def ask_first(event):
        raise InterruptException(Interrupt("budget-1", "budget"))

    agent = agent_of(says("Done."), hooks=[hook(BeforeModelCallEvent, once(ask_first))])
    agent(answer(agent("?"), "yes"))
    when_answered()
    asked, resumed = all_recorded(stack.store)
    assert asked.types == ["RunStarted", "agent.Paused", "agent.Resumed", "RunCompleted"]
    assert resumed.types == ["RunStarted", "agent.Resumed", *MODEL, "RunCompleted"]
    assert resumed_by(resumed) == [{"budget-1": "granted"}]


def test_an_agent_that_waits_is_found_by_another_process(stack, tmp_path):
    def agent(*turns, session="alice"):
        return Agent(
            agent_id="forecaster",
            model=StubModel(*turns),
            tools=[weather],
            hooks=[BehestHooks(stack.store), hook(BeforeToolCallEvent, approval)],
            session_manager=FileSessionManager(session_id=session, storage_dir=str(tmp_path)),
            callback_handler=None,
        )

    agent(asks(), session="bob")("?")
    result = agent(asks())("?")
    stack.deliver()
    agent(says("Done."))(answer(result, {"approved": True}))
    when_answered()
    bobs, asked, resumed = all_recorded(stack.store)
    assert [bobs.types[-1], asked.types[-1]] == ["agent.Paused", "RunCompleted"]
    assert asked.of("agent.Resumed")[0]["answering_run_id"] == resumed.record.run_id
    assert resumed_by(resumed) == [{result.interrupts[0].id: "granted"}]


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (True, "granted"),
        (False, "denied"),
        (" Approve ", "granted"),
        ("n", "denied"),
        ({"approved": True}, "granted"),
        ({"approved": "no"}, "denied"),
        ({"city": "Oslo"}, "answered"),
        ("Oslo", "answered"),
        (1, "answered"),
        (None, "answered"),
    ],
)
def test_an_answer_is_a_yes_or_a_no_where_it_says_so(response, said):
    assert answers_in([{"interruptResponse": {"interruptId": "i", "response": response}}]) == {"i": said}


def test_a_checkpoint_is_a_pause(stack, agent_of):
    agent = agent_of(asks(), tools=[weather], checkpointing=True)
    assert agent("?").stop_reason == "checkpoint"
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, "agent.Paused"]
    assert (run.events[-1]["reason"], run.events[-1]["pending"]) == ("checkpoint", [])


def test_going_on_from_a_checkpoint_answers_it(stack, agent_of):
    agent = agent_of(asks(), says("Done."), tools=[weather], checkpointing=True)
    result = agent("?")
    while result.stop_reason == "checkpoint":
        result = agent({"checkpointResume": {"checkpoint": result.checkpoint.to_dict()}})
    when_answered()
    runs = all_recorded(stack.store)
    assert [run.types[-1] for run in runs] == ["RunCompleted"] * 3
    assert [len(run.of("agent.Paused")) for run in runs] == [1, 1, 0]
    assert [run.of("agent.Resumed")[0]["paused_run_id"] for run in runs[1:]] == [run.record.run_id for run in runs[:-1]]
