"""Which tools have begun and not ended."""

from __future__ import annotations

import pytest

from behest_core.model.decoding import encode
from behest_core.model.events import ToolExecutionFinished, ToolExecutionResult, ToolExecutionStarted
from behest_core.recording.open_tools import OpenTools
from tests.builders import at


def started(call_id, **of):
    return encode(ToolExecutionStarted(call_id=call_id, tool_name="weather", timestamp=at(1), **of))


def ended(call_id, **of):
    result = ToolExecutionResult.ok(3)
    return encode(
        ToolExecutionFinished(call_id=call_id, tool_name="weather", result=result, duration_ms=1, timestamp=at(2), **of)
    )


def left(*events):
    tools = OpenTools()
    for event in events:
        tools.note(event)
    return [(each.call_id, each.model_call_id or None) for each in tools.end_all("cancelled")]


def test_a_tool_that_ended_is_not_ended_again():
    assert left(started("t"), ended("t")) == []


def test_one_id_in_two_model_calls_is_two_tools():
    log = [started("t", model_call_id="a"), started("t", model_call_id="b"), ended("t", model_call_id="b")]
    assert left(*log) == [("t", "a")]


def test_one_id_twice_in_an_answer_is_two_tools():
    log = [started("t", model_call_id="a"), started("t", model_call_id="a"), ended("t", model_call_id="a")]
    assert left(*log) == [("t", "a")]
    assert left(*log, ended("t", model_call_id="a")) == []


@pytest.mark.parametrize("says", [("began",), ("ended",)])
def test_an_end_that_says_less_or_more_than_the_beginning_is_its_end_still(says):
    of_start = {"model_call_id": "a"} if "began" in says else {}
    of_end = {"model_call_id": "a"} if "ended" in says else {}
    assert left(started("t", **of_start), ended("t", **of_end)) == []


def test_an_end_without_a_beginning_changes_nothing():
    assert left(ended("t"), started("u")) == [("u", None)]


def test_an_end_that_comes_after_it_was_told_is_known():
    tools = OpenTools()
    tools.note(started("t"))
    tools.end_all("cancelled")
    assert tools.was_ended(ended("t"))
    assert not tools.was_ended(ended("u"))
    assert not tools.was_ended(started("t"))
