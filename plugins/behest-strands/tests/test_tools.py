"""Tools: asked for, executed, and what they returned."""

import pytest
from pydantic import BaseModel
from strands import tool
from strands.hooks import AfterModelCallEvent, AfterToolCallEvent, BeforeToolCallEvent
from strands_models import ASKS, MODEL, TOOL, Turn, asks, hook, once, says, weather

from behest_core.model.state import FinishReason
from behest_core.testing.recorded import the_recorded


def test_a_tool_call_is_told_with_its_arguments_its_output_and_its_duration(stack, agent_of):
    agent_of(asks(), says("."), tools=[weather])("?")

    run = the_recorded(stack.store)
    [asked], [began], [ended] = (
        run.of("ToolCallCompleted"),
        run.of("ToolExecutionStarted"),
        run.of("ToolExecutionFinished"),
    )
    assert asked["call"] == {"id": "call-1", "name": "weather", "arguments": {"city": "Oslo"}}
    assert (began["call_id"], began["tool_name"]) == (ended["call_id"], ended["tool_name"]) == ("call-1", "weather")
    assert ended["result"] == {"Success": {"output": "3 degrees in Oslo"}}
    assert isinstance(ended["duration_ms"], int)
    assert ended["duration_ms"] >= 0


def test_tools_at_once_are_kept_apart(stack, agent_of):
    calls = [(f"call-{number}", "weather", {"city": city}) for number, city in enumerate(["Oslo", "Rome"])]
    agent_of(Turn(tools=calls), says("."), tools=[weather])("?")
    outputs = {each["call_id"]: each["result"] for each in the_recorded(stack.store).of("ToolExecutionFinished")}
    assert outputs == {
        "call-0": {"Success": {"output": "3 degrees in Oslo"}},
        "call-1": {"Success": {"output": "3 degrees in Rome"}},
    }


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ([{"json": {"celsius": 3}}], {"celsius": 3}),
        ([{"text": "a"}, {"json": [1]}], ["a", [1]]),
        (
            [{"image": {"format": "png", "source": {"bytes": b"\x00"}}}],
            {"image": {"format": "png", "source": {"bytes": "AA=="}}},
        ),
        ([], []),
    ],
)
def test_whatever_a_tool_gives_is_recorded(stack, agent_of, content, output):
    @tool(name="weather")
    def give(city: str) -> dict:
        """Return it."""
        return {"status": "success", "content": content}

    agent_of(asks(), says("."), tools=[give])("?")
    assert the_recorded(stack.store).of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": output}}


def test_a_tool_call_that_is_discarded_is_refused(stack, agent_of):
    again = hook(AfterModelCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(asks(), says("Three."), hooks=[again], tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS[:-1], "agent.ToolRefused", *MODEL, "RunCompleted"]
    assert run.of("agent.ToolRefused")[0]["reason"] == "the model was asked again"


def test_a_tool_that_is_tried_again_is_executed_twice(stack, agent_of):
    again = hook(AfterToolCallEvent, once(lambda event: setattr(event, "retry", True)))
    agent_of(asks(), says("."), hooks=[again], tools=[weather])("?")
    assert the_recorded(stack.store).types == ["RunStarted", *ASKS, *TOOL, *TOOL, *MODEL, "RunCompleted"]


def test_structured_output_is_a_tool_call(stack, agent_of):
    class Weather(BaseModel):
        celsius: int

    turn = Turn(tools=[("call-1", "Weather", {"celsius": 3})])
    result = agent_of(turn)("?", structured_output_model=Weather)
    assert result.structured_output.celsius == 3
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "RunCompleted"]
    assert run.state.last_finish is FinishReason.TOOL_CALLS


def test_a_tool_says_which_call_asked_for_it(stack, agent_of):
    agent_of(asks(), asks(call_id="call-2"), says("."), tools=[weather])("?")
    run = the_recorded(stack.store)
    asked_by = {each["call"]["id"]: each["model_call_id"] for each in run.of("ToolCallCompleted")}
    assert len(set(asked_by.values())) == 2
    for kind in TOOL:
        assert {each["call_id"]: each["model_call_id"] for each in run.of(kind)} == asked_by


def test_an_id_that_comes_again_is_of_the_call_that_asks_now(stack, agent_of):
    agent_of(asks("Oslo"), asks("Rome"), says("."), tools=[weather])("?")
    run = the_recorded(stack.store)
    asked = [each["model_call_id"] for each in run.of("ToolCallCompleted")]
    assert len(set(asked)) == 2
    assert [each["model_call_id"] for each in run.of("ToolExecutionFinished")] == asked


def test_two_calls_of_one_id_in_one_answer_are_both_told(stack, agent_of):
    turn = Turn(tools=[("call-1", "weather", {"city": "Oslo"}), ("call-1", "weather", {"city": "Rome"})])
    agent_of(turn, says("."), tools=[weather])("?")
    run = the_recorded(stack.store)
    [[call], *_] = [{each["model_call_id"]} for each in run.of("ModelStarted")]
    assert [each["model_call_id"] for kind in TOOL for each in run.of(kind)] == [call] * 4
    outputs = [each["result"]["Success"]["output"] for each in run.of("ToolExecutionFinished")]
    assert sorted(outputs) == ["3 degrees in Oslo", "3 degrees in Rome"]


def test_a_tool_that_a_hook_holds_back_is_refused_with_what_the_model_is_told(stack, agent_of):
    denies = hook(BeforeToolCallEvent, lambda event: setattr(event, "cancel_tool", "not on Sundays"))
    agent_of(asks(), says("."), hooks=[denies], tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, "agent.ToolRefused", *MODEL, "RunCompleted"]
    [refused] = run.of("agent.ToolRefused")
    assert (refused["call_id"], refused["tool_name"], refused["reason"]) == ("call-1", "weather", "not on Sundays")
    assert refused["model_call_id"] == run.of("ToolCallCompleted")[0]["model_call_id"]
