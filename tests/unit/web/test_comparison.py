"""Two runs side by side: where their conversations part."""

from __future__ import annotations

import pytest

from behest_core.model.state import RunStatus
from behest_core.transcript.entries import Answer, Call, Earlier, End, Message, Pause, Step, Tool
from behest_core.web.comparison import compare

USER = Message(started_at="1", role="user", text="Hi")


def call(text="Hello", at="1", **what):
    return Call(started_at=at, provider="p", model="m", text=text, **what)


def tool(at="1", **what):
    return Tool(started_at=at, call_id=what.pop("call_id", "t"), name="weather", **what)


def test_runs_of_which_the_same_is_said_do_not_part_whatever_they_took():
    one = [USER, call(tools=[tool(call_id="a", result=3, duration_ms=1)], nano_usd=1, input_tokens=3)]
    other = [
        Message(started_at="9", role="user", text="Hi"),
        call("Hello ", at="9", tools=[tool(at="9", call_id="b", result=3)], model_call_id="c"),
    ]
    found = compare(one, other)
    assert (found.same, found.pairs) == (2, [])


def test_from_where_they_part_their_parts_stand_side_by_side():
    one, other = [USER, call("a"), call("b")], [USER, call("c")]
    assert compare(one, other).same == 1
    assert compare(one, other).pairs == [(one[1], other[1]), (one[2], None)]


def test_a_run_that_has_ended_stands_beside_nothing():
    assert compare([], [USER]).pairs == [(None, USER)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (call(), USER),
        (call(tools=[tool(arguments={"city": "Oslo"})]), call(tools=[tool(arguments={"city": "Rome"})])),
        (call(tools=[tool(result=3)]), call(tools=[tool(error="no")])),
        (call(tools=[tool()]), call()),
        (call(error="429"), call()),
        (Step(started_at="1", step_id="s", name="n", type="t", entries=[call("a")]),
         Step(started_at="1", step_id="s", name="n", type="t", entries=[call("b")])),
        (Pause(started_at="1", reason="a", pending=[]), Pause(started_at="1", reason="b", pending=[])),
        (Answer(started_at="1", answers={"t": "granted"}), Answer(started_at="1", answers={"t": "denied"})),
        (End(started_at="1", status=RunStatus.FAILED, because="a"), End(started_at="1", status=RunStatus.FAILED)),
        (Earlier(started_at="1", count=1), Earlier(started_at="1", count=2)),
    ],
)  # fmt: skip
def test_they_part_by_what_is_said_asked_given_and_how_it_ends(one, other):
    assert compare([one], [one]).same == 1
    assert compare([one], [other]).same == 0


def test_only_so_many_pairs_are_shown():
    assert len(compare([call(str(number)) for number in range(50)], [], most=10).pairs) == 10
