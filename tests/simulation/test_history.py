"""The checker of histories finds each kind of wrong answer, and nothing in a right history."""

from __future__ import annotations

import pytest

from tests.simulation.history import Call, History, violations


def call(events, *, began=0.0, client="agent", **more):
    return Call(run_id="run", client=client, events=list(events), began=began, **more)


def acknowledged(events, last, *, began=0.0, ended=1.0, **more):
    return call(events, began=began, ended=ended, last=last, **more)


def refused(events, actual, *, began=0.0, ended=1.0, expected=0, **more):
    return call(events, began=began, ended=ended, refused_at=actual, expected=expected, **more)


def log(events):
    """Return a log of events that are a letter each; a dot is one of nobody's."""
    return {sequence: None if event == "." else event for sequence, event in enumerate(events, 1)}


RIGHT = {
    "two clients in turn": ([acknowledged("ab", 2), acknowledged("c", 3, began=2, ended=3)], "abc"),
    "two clients at once, either way": ([acknowledged("ab", 3), acknowledged("c", 1)], "cab"),
    "an unclear one that is there": ([call("ab"), acknowledged("c", 3)], "abc"),
    "an unclear one that is not": ([call("ab"), acknowledged("c", 1)], "c"),
    "an unclear one that comes much later": ([call("ab"), acknowledged("c", 1, began=5, ended=6)], "cab"),
    "an unclear one of several commits that was cut off": ([call("ab", is_one_commit=False)], "a"),
    "several commits with another's between": (
        [acknowledged("ab", 3, is_one_commit=False), acknowledged("c", 2)],
        "acb",
    ),
    "one that was refused": ([acknowledged("a", 1), refused("b", 1, began=2, ended=3)], "a"),
    "one that was refused because of one that was under way": ([acknowledged("a", 1, ended=9), refused("b", 1)], "a"),
    "one that was refused half-way": ([refused("ab", 2, appended=1, is_one_commit=False), call("c")], "ac"),
    "one that expected what was there": (
        [acknowledged("a", 1), acknowledged("b", 2, began=2, ended=3, expected=1)],
        "ab",
    ),
    "behind events of nobody's": ([acknowledged("a", 3, expected=2)], "..a"),
}
WRONG = {
    "acknowledged, but not there": ([acknowledged("a", 1)], ""),
    "acknowledged, but there in part": ([acknowledged("ab", 2)], "a"),
    "acknowledged at another place": ([acknowledged("a", 1)], ".a"),
    "there twice": ([acknowledged("a", 1)], "aa"),
    "unclear, and there twice": ([call("a")], "a.a"),
    "in another order": ([acknowledged("ab", 2)], "ba"),
    "one commit torn apart": ([acknowledged("ab", 3)], "a.b"),
    "one unclear commit torn off": ([call("ab")], "a"),
    "unclear, without its beginning": ([call("ab", is_one_commit=False)], "b"),
    "refused, but there": ([refused("b", 1)], ".b"),
    "refused half-way, but there to the end": ([refused("ab", 1, appended=1, is_one_commit=False)], "ab"),
    "before what was acknowledged earlier": ([acknowledged("a", 2), acknowledged("b", 1, began=2, ended=3)], "ba"),
    "unclear, before what was acknowledged earlier": ([acknowledged("a", 2), call("b", began=2)], "ba"),
    "not behind what it expected": ([acknowledged("a", 2, expected=0)], ".a"),
    "not side by side behind what it expected": ([acknowledged("ab", 3, expected=0, is_one_commit=False)], "a.b"),
    "refused with an end that was long past": (
        [acknowledged("a", 1), refused("b", 0, began=2, ended=3, expected=1)],
        "a",
    ),
    "refused with an end that is still to come": ([refused("b", 1), acknowledged("a", 1, began=2, ended=3)], "a"),
    "refused with what it expected": ([refused("b", 1, expected=1)], "."),
}


@pytest.mark.parametrize(("calls", "events"), RIGHT.values(), ids=RIGHT.keys())
def test_a_right_history_is_right_with(calls, events):
    assert violations(calls, log(events)) == []


@pytest.mark.parametrize(("calls", "events"), WRONG.values(), ids=WRONG.keys())
def test_a_history_is_wrong_where_an_append_is(calls, events):
    assert len(violations(calls, log(events))) == 1


def test_a_violation_names_the_append_and_what_there_is_of_it():
    [what] = violations([acknowledged("ab", 2)], log("b"))
    assert what == "append a of 2 events by agent is there in parts, at [1]"


def test_a_run_is_open_as_long_as_somebody_may_append_again():
    history = History()
    assert not history.is_open("run")
    first, second = history.begin(call("a")), history.begin(call("b"))
    first.acknowledge(1, now=5.0)
    assert history.is_open("run")
    second.is_given_up = True
    assert not history.is_open("run")
