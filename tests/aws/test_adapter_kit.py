"""The adapter kit: an adapter that tells the truth passes all scenarios, and one that doesn't is caught by the rule it breaks."""

from __future__ import annotations

import re
from dataclasses import replace
from unittest import SkipTest

import pytest

from behest_core.testing.adapter_kit import SCENARIOS, check_scenario
from behest_core.testing.adapter_script import says, script
from tests.aws.reference_adapter import Reference

BY_NAME = {each.name: each for each in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_log_that_is_the_truth_passes(stack, scenario):
    check_scenario(Reference(), scenario, stack)


# ---------------------------------------------------------------- what is wrong is caught


def leaves_out(kind):
    return lambda event: None if event["type"] == kind else event


def without(name, kind):
    def spoil(event):
        if event["type"] == kind:
            event.pop(name, None)
        return event

    return spoil


def changes(kind, **fields):
    return lambda event: {**event, **fields} if event["type"] == kind else event


def doubles_usage(event):
    if "usage" in event:
        event["usage"]["input_tokens"] *= 2
    return event


class Mixes:
    """Tells all that calls give of the call that began last, as who doesn't ask which call it was."""

    def __init__(self):
        self.latest = ""

    def __call__(self, event):
        if event["type"] == "ModelStarted":
            self.latest = event["model_call_id"]
        elif event["type"] in {"TextDelta", "UsageRecorded"}:
            event["model_call_id"] = self.latest
        return event


class Swaps:
    """Tells of each of two calls what the other one used."""

    def __init__(self):
        self.calls = []

    def __call__(self, event):
        if event["type"] == "ModelStarted":
            self.calls.append(event["model_call_id"])
        elif event["type"] == "UsageRecorded":
            one, other = self.calls[-2:]
            event["model_call_id"] = other if event["model_call_id"] == one else one
        return event


def sends_another_order(event):
    if "messages" in event:
        event["messages"] = [dict(reversed(each.items())) for each in event["messages"]]
    return event


SPOILT = [
    ("plain", leaves_out("RunStarted"), "begins_and_ends"),
    ("plain", leaves_out("RunCompleted"), "begins_and_ends"),
    ("plain", leaves_out("agent.ModelFinished"), "starts_have_ends"),
    ("plain", leaves_out("ModelStarted"), "ids_are_known"),
    ("tools", leaves_out("ToolExecutionFinished"), "starts_have_ends"),
    ("tools", leaves_out("ToolExecutionStarted"), "starts_have_ends"),
    ("models at once", leaves_out("agent.StepFinished"), "starts_have_ends"),
    ("models at once", leaves_out("agent.StepStarted"), "ids_are_known"),
    ("models at once", changes("agent.StepStarted", parent_step_id="nobody"), "ids_are_known"),
    ("models at once", Swaps(), "calls"),
    ("models at once", Mixes(), "text"),
    ("models at once", Mixes(), "usage"),
    ("models at once", Mixes(), "sums"),
    ("plain", without("model_call_id", "TextDelta"), "ids_are_known"),
    ("plain", without("model_call_id", "UsageRecorded"), "usage"),
    ("plain", doubles_usage, "sums"),
    ("plain", leaves_out("UsageRecorded"), "usage"),
    ("plain", leaves_out("TextDelta"), "text"),
    ("plain", leaves_out("agent.ModelRequested"), "request"),
    ("plain", leaves_out("agent.ModelRequested"), "transcript"),
    ("models at once", Mixes(), "transcript"),
    ("tools", changes("ToolExecutionFinished", result={"Success": {"output": "4 degrees"}}), "transcript"),
    ("tools", sends_another_order, "request"),
    ("tools", without("tool_definitions", "agent.ModelRequested"), "request"),
    ("tools", leaves_out("ToolCallCompleted"), "tool_calls"),
    ("tools", without("model_call_id", "ToolExecutionStarted"), "asked"),
    ("tools", changes("ToolExecutionFinished", result={"Success": {"output": "4 degrees"}}), "tools"),
    ("parallel tools", changes("ToolExecutionFinished", result={"Success": {"output": "3 degrees"}}), "tools"),
    ("reasoning", without("reasoning", "agent.ModelFinished"), "reasoning"),
    ("model fails", changes("agent.ModelFailed", error="it failed"), "errors"),
    ("model fails", changes("agent.ModelFailed", type="agent.ModelFinished"), "ending"),
    ("fallback", changes("ModelStarted", model="stub-1"), "model"),
    ("cancelled in a tool", changes("RunCancelled", type="RunCompleted", finish_reason="stop", iterations=1), "ends"),
    ("pause, denied", leaves_out("agent.ToolRefused"), "asked"),
    ("pause, granted", changes("agent.Paused", pending=[]), "pause"),
]


@pytest.mark.parametrize(("name", "spoil", "rule"), SPOILT, ids=lambda each: each if isinstance(each, str) else "")
def test_a_log_that_is_not_is_caught_by_the_rule_it_breaks(stack, name, spoil, rule):
    with pytest.raises(AssertionError, match=rf"(?m)^{rule}: ") as caught:
        check_scenario(Reference(spoil), BY_NAME[name], stack)
    assert str(caught.value).startswith(f"{name}: ")


def test_a_text_that_is_said_without_content_is_caught(stack):
    class Tells(Reference):
        async def agent(self, stage):
            self.redact = lambda event: {**event, "note": stage.script.prompt}
            return await super().agent(stage)

    with pytest.raises(AssertionError, match=r"(?m)^silence: .* has 'How warm is it in Oslo\?'"):
        check_scenario(Tells(), BY_NAME["plain"], stack)


def test_an_adapter_that_records_less_without_content_is_caught(stack):
    class Hides(Reference):
        async def agent(self, stage):
            if not stage.settings["content"]:
                self.redact = leaves_out("AssistantMessageCommitted")
            return await super().agent(stage)

    with pytest.raises(AssertionError, match="without content there are"):
        check_scenario(Hides(), BY_NAME["plain"], stack)


def test_an_adapter_that_changes_the_answer_is_caught(stack):
    class Changes(Reference):
        async def agent(self, stage):
            return (await super().agent(stage)).upper()

    with pytest.raises(AssertionError, match=r"answer: it was 'IT IS COLD\.'"):
        check_scenario(Changes(), BY_NAME["plain"], stack)


def test_a_parent_that_is_no_run_is_caught(stack):
    scenario = replace(BY_NAME["plain"], script=script(says("It is cold."), metadata={"parent_run_id": "nobody"}))
    with pytest.raises(AssertionError, match=r"parents: the parent_run_id of .* is nobody, which is no run"):
        check_scenario(Reference(), scenario, stack)


def test_an_agent_that_ends_where_it_was_to_hang_is_caught(stack):
    scenario = replace(BY_NAME["cancelled in a tool"], script=script(says("It is cold."), answer=None))
    with pytest.raises(AssertionError, match="it was to hang, and ended"):
        check_scenario(Reference(), scenario, stack)


def test_a_model_that_is_called_more_often_than_the_script_says_is_caught(stack):
    class Asks(Reference):
        async def agent(self, stage):
            await super().agent(stage)
            return await super().agent(stage)

    with pytest.raises(AssertionError, match="stub-1 is called more often than the script says"):
        check_scenario(Asks(), BY_NAME["plain"], stack)


# ---------------------------------------------------------------- what a framework can't do


def reference_that_cannot(**cannot):
    return type("Less", (Reference,), {"cannot": cannot})()


def test_a_scenario_that_cannot_be_played_is_skipped_with_the_reason(stack):
    with pytest.raises(SkipTest, match="it has no other model"):
        check_scenario(reference_that_cannot(fallback="it has no other model"), BY_NAME["fallback"], stack)


@pytest.mark.parametrize(
    ("cannot", "why"), [({"fly": "no wings"}, "there is no scenario fly"), ({"fallback": ""}, "say why")]
)
def test_a_scenario_is_not_left_out_without_a_reason(stack, cannot, why):
    with pytest.raises(AssertionError, match=re.escape(why)):
        check_scenario(reference_that_cannot(**cannot), BY_NAME["plain"], stack)
