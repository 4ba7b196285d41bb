"""Tools: asked for, executed, and what they returned."""

# ruff: noqa: ARG002 (models and capabilities have the arguments that the framework calls them with)

import asyncio

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, UnexpectedModelBehavior, UsageLimitExceeded, UsageLimits
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import SkipToolExecution
from pydantic_ai.messages import ToolCallPart, ToolReturn
from pydantic_ai.models.test import TestModel
from pydantic_ai_models import (
    CALLED,
    FINISHED,
    FIRST,
    LAST,
    RAN,
    answer,
    calls,
    scripted,
    weather,
    with_model,
)

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import the_recorded


def test_the_tools_of_a_streamed_answer_are_asked_for_before_they_run(stack, agent):
    async def use():
        async with agent.run_stream("Oslo?") as result:  # takes the first text for the result
            return await result.get_output()

    asyncio.run(use())
    run = the_recorded(stack.store)
    assert run.types == [
        "RunStarted",
        *CALLED,
        *["TextDelta"] * 3,
        "ToolCallCompleted",
        *FINISHED,
        *RAN,
        "AssistantMessageCommitted",
        "RunCompleted",
    ]


def test_tools_that_run_at_once_are_each_recorded(stack, recording):
    def forecast(city: str) -> dict[str, str]:
        return {"tomorrow": city}

    agent = with_model(recording, calls("weather", "forecast"), answer("Mild."), tools=[weather, forecast])
    agent.run_sync("Oslo?")
    run = the_recorded(stack.store)
    finished = {each["call_id"]: each["result"]["Success"]["output"] for each in run.of("ToolExecutionFinished")}
    assert finished == {"call-1": "3 degrees in Oslo", "call-2": {"tomorrow": "Oslo"}}
    assert [each["call"]["id"] for each in run.of("ToolCallCompleted")] == ["call-1", "call-2"]


def test_of_a_tool_that_returns_more_than_its_value_the_value_is_recorded(stack, recording):
    def weather(city: str) -> ToolReturn:
        return ToolReturn(return_value={"degrees": 3}, content="See the picture.", metadata={"source": "satellite"})

    with_model(recording, calls("weather"), LAST, tools=[weather]).run_sync("Oslo?")
    [finished] = the_recorded(stack.store).of("ToolExecutionFinished")
    assert finished["result"] == {"Success": {"output": {"degrees": 3}}}


def test_a_call_that_never_runs_is_refused_with_what_the_model_is_told(stack, recording):
    asked = [
        ToolCallPart("unknown", {}, "1"),
        ToolCallPart("weather", {"town": "Oslo"}, "2"),
        ToolCallPart("weather", "{no json", "3"),
    ]
    with_model(recording, answer("", *asked), LAST, retries=3).run_sync("Oslo?")
    run = the_recorded(stack.store)
    assert [each["call"]["arguments"] for each in run.of("ToolCallCompleted")] == [
        {},
        {"town": "Oslo"},
        {"INVALID_JSON": "{no json"},
    ]
    assert run.of("ToolExecutionStarted") == []
    refused = {each["call_id"]: each for each in run.of("agent.ToolRefused")}
    assert [refused[call_id]["tool_name"] for call_id in ("1", "2", "3")] == ["unknown", "weather", "weather"]
    assert "Unknown tool name: 'unknown'" in refused["1"]["reason"]
    assert "city" in refused["2"]["reason"]
    first = run.of("ModelStarted")[0]["model_call_id"]
    assert {each["model_call_id"] for each in refused.values()} == {first}
    assert run.state.status is RunStatus.COMPLETED


def test_calls_over_the_limit_are_refused_by_it(stack, recording):
    agent = with_model(recording, calls("weather", "weather"), LAST)
    with pytest.raises(UsageLimitExceeded):
        agent.run_sync("Oslo?", usage_limits=UsageLimits(tool_calls_limit=1))
    run = the_recorded(stack.store)
    assert [each["call_id"] for each in run.of("agent.ToolRefused")] == ["call-1", "call-2"]
    assert {each["reason"].partition(":")[0] for each in run.of("agent.ToolRefused")} == {"UsageLimitExceeded"}
    assert run.of("ToolExecutionStarted") == []
    assert run.types[-1] == "RunFailed"


def test_a_tool_beside_the_result_is_refused_as_there_is_one(stack, recording):
    both = answer(
        "", ToolCallPart("final_result", {"name": "Oslo"}, "1"), ToolCallPart("weather", {"city": "Oslo"}, "2")
    )
    with_model(recording, both, output_type=City, end_strategy="early").run_sync("Where?")
    run = the_recorded(stack.store)
    assert [(each["call_id"], each["reason"]) for each in run.of("agent.ToolRefused")] == [
        ("2", "Tool not executed - a final result was already processed.")
    ]


def test_a_tool_belongs_to_the_call_that_asked_for_it(stack, recording):
    again = calls("weather")
    again.parts[0].tool_call_id = "call-2"
    with_model(recording, calls("weather"), again, LAST).run_sync("Oslo?")
    run = the_recorded(stack.store)
    asked_by = {each["call"]["id"]: each["model_call_id"] for each in run.of("ToolCallCompleted")}
    assert list(asked_by.values()) == [each["model_call_id"] for each in run.of("ModelStarted")[:2]]
    for kind in ("ToolExecutionStarted", "ToolExecutionFinished"):
        assert {each["call_id"]: each["model_call_id"] for each in run.of(kind)} == asked_by


def test_two_calls_with_the_same_id_are_two_calls_and_refused_with_the_run(stack, recording):
    twice = answer("", ToolCallPart("weather", {"city": "Oslo"}, "1"), ToolCallPart("weather", {"city": "Rome"}, "1"))
    with pytest.raises(UnexpectedModelBehavior):
        with_model(recording, twice, LAST).run_sync("Where?")
    run = the_recorded(stack.store)
    assert [each["call"]["arguments"]["city"] for each in run.of("ToolCallCompleted")] == ["Oslo", "Rome"]
    assert [each["call_id"] for each in run.of("agent.ToolRefused")] == ["1", "1"]


class City(BaseModel):
    name: str


def test_structured_output_is_a_tool_call_that_nothing_runs(stack, recording):
    agent = Agent(TestModel(call_tools=[]), capabilities=[recording], output_type=City)
    assert agent.run_sync("Where?").output == City(name="a")
    run = the_recorded(stack.store)
    asked = [*CALLED, "ToolCallCompleted", *FINISHED, "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *asked, "RunCompleted"]
    call = run.of("ToolCallCompleted")[0]["call"]
    assert (call["name"], call["arguments"]) == ("final_result", {"name": "a"})


def test_an_output_function_runs_as_a_tool(stack, recording):
    def shout(name: str) -> str:
        if not seen.append(name) and len(seen) == 1:
            raise ModelRetry("louder")
        return name.upper()

    seen = []
    agent = Agent(TestModel(call_tools=[]), capabilities=[recording], output_type=shout)
    assert agent.run_sync("Where?").output == "A"
    run = the_recorded(stack.store)
    asked = [*CALLED, "ToolCallCompleted", *FINISHED, "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *[*asked, *RAN] * 2, "RunCompleted"]
    assert [each["result"] for each in run.of("ToolExecutionFinished")] == [
        {"Failure": {"error": "ModelRetry: louder"}},
        {"Success": {"output": "A"}},
    ]


def test_a_result_that_a_capability_gives_is_recorded(stack, recording):
    class Cached(AbstractCapability):
        async def before_tool_execute(self, ctx, *, call, tool_def, args):
            raise SkipToolExecution("4 degrees")

    Agent(scripted(FIRST, LAST), capabilities=[Cached(), recording], tools=[weather]).run_sync("Oslo?")
    [finished] = the_recorded(stack.store).of("ToolExecutionFinished")
    assert finished["result"] == {"Success": {"output": "4 degrees"}}
