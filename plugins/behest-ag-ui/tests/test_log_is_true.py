"""The log is the truth about the agent: the adapter kit's scripts, played by an agent that speaks AG-UI.

The protocol tells no calls of a model. So of the kit's rules those hold that ask for none, and what a call gave is looked for
under its message.
"""

import asyncio
from contextlib import suppress

import pytest
from ag_ui.core import ResumeEntry
from ag_ui_models import asked, drained
from behest_ag_ui import record
from stage_agent import StageAgent

from behest_core.recording.adapter import as_json
from behest_core.testing.adapter_kit import SCENARIOS, Stage
from behest_core.testing.adapter_rules import begins_and_ends, end_of, says_nothing, starts_have_ends
from behest_core.testing.adapter_told import Told
from behest_core.testing.recorded import all_recorded, recorded, when_answered

PLAYED = [each for each in SCENARIOS if each.played in ("agent", "cancelled", "pause")]


def play(stack, scenario, *, content=True):
    stage = Stage(scenario.script, stack.store, {**scenario.settings, "content": content})
    asyncio.run(PLAYS[scenario.played](stage, scenario))
    when_answered()
    return Told(all_recorded(stack.store), stage)


async def ask(stage, scenario, agent=None, **about):
    agent = agent or StageAgent(stage)
    events = agent(asked(**about))
    await drained(record(events, stage.store, metadata=stage.script.metadata, **stage.settings))
    return agent


async def ask_and_cancel(stage, scenario):
    task = asyncio.create_task(ask(stage, scenario))
    await stage.hangs.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def ask_and_answer(stage, scenario):
    agent = await ask(stage, scenario)
    [call] = stage.calls[0].calls
    resume = [ResumeEntry(interrupt_id=call.id, status="resolved", payload={"approved": scenario.is_granted})]
    await ask(stage, scenario, agent, run_id="run-2", parent_run_id="run-1", resume=resume)


PLAYS = {"agent": ask, "cancelled": ask_and_cancel, "pause": ask_and_answer}


def joined(told, kind, name):
    """Return what the logs have of each message, put together, by the message."""
    found = {}
    for each in told.events(kind):
        found[each["model_call_id"]] = found.get(each["model_call_id"], "") + each.get(name, "")
    return found


@pytest.mark.parametrize("scenario", PLAYED, ids=str)
def test_the_log_tells_what_the_stage_counted(stack, scenario):
    told = play(stack, scenario)
    for run in told.runs:
        wrong = [*begins_and_ends(run), *starts_have_ends(run)]
        assert [
            each for each in wrong if not each.startswith("agent.ModelFinished")
        ] == []  # of a call that nobody told of
    if scenario.played != "pause":
        assert [end_of(run) for run in told.runs] == [scenario.ends]
    counted = {f"m-{number}": each for number, each in enumerate(told.stage.calls, 1)}
    assert joined(told, "TextDelta", "delta") == {name: each.text for name, each in counted.items() if each.text}
    thought = {f"{name}-thought": each.reasoning for name, each in counted.items() if each.reasoning}
    assert joined(told, "agent.ModelFinished", "reasoning") == thought
    calls = [(each["model_call_id"], each["call"]["id"]) for each in told.events("ToolCallCompleted")]
    assert calls == [(name, call.id) for name, each in counted.items() for call in each.calls]


@pytest.mark.parametrize("scenario", [each for each in PLAYED if each.played == "agent"], ids=str)
def test_the_log_has_the_tokens_and_the_results_that_the_stage_counted(stack, scenario):
    told = play(stack, scenario)
    used = [each.usage for each in told.stage.calls if each.usage is not None]
    [state] = [run.state.total_usage for run in told.runs]
    assert state.input_tokens == sum(each.given for each in used)
    assert state.output_tokens == sum(each.written for each in used)
    events = told.events("UsageRecorded")
    assert sum(each["usage"]["cache_read_input_tokens"] for each in events) == sum(each.read for each in used)
    assert sum(each["usage"]["cache_creation_input_tokens"] for each in events) == sum(each.stored for each in used)
    assert sum(each["reasoning_output_tokens"] for each in events) == sum(each.thought for each in used)
    assert {each["model"] for each in events} <= {each.model for each in told.stage.calls}
    assert len(told.events("ToolExecutionFinished")) == len(told.stage.tool_runs)
    whole = [each for each in told.events("ToolExecutionFinished") if "cut" not in each["result"]["Success"]["output"]]
    ran = [(each.name, as_json(each.text)) for each in told.stage.tool_runs if len(each.text) < 60_000]
    assert sorted((each["tool_name"], each["result"]["Success"]["output"]) for each in whole) == sorted(ran)


@pytest.mark.parametrize("scenario", PLAYED, ids=str)
def test_without_content_the_log_says_nothing(stack, scenario):
    assert list(says_nothing(play(stack, scenario, content=False))) == []


@pytest.mark.parametrize("scenario", [each for each in PLAYED if each.played == "pause"], ids=str)
def test_an_answer_is_told_in_both_logs(stack, scenario):
    told = play(stack, scenario)
    paused, going_on = recorded(stack.store, "run-1"), recorded(stack.store, "run-2")
    [waited], [said] = paused.of("agent.Resumed"), going_on.of("agent.Resumed")
    answers = {told.stage.calls[0].calls[0].id: "granted" if scenario.is_granted else "denied"}
    assert waited["answers"] == said["answers"] == answers
    assert (waited["answering_run_id"], said["paused_run_id"]) == ("run-2", "run-1")
    assert paused.types[-1] == "RunCompleted"
    assert "parent_run_id" not in going_on.record.metadata
