"""A tree of runs, with its branches added up."""

from __future__ import annotations

import pytest

from behest_core.errors import RunNotFoundError
from behest_core.model.state import RunState, RunStatus, TokenUsage
from behest_core.model.summary import Summary, summarize
from behest_core.web import tree
from behest_core.web.tree import read_tree, tree_of


def run(name, parent=None, *, second=0, tokens=10, **what):
    return Summary(
        run_id=name,
        status=what.pop("status", RunStatus.COMPLETED),
        parent_run_id=parent,
        created_at=f"2026-01-31T12:00:{second:02}Z",
        input_tokens=tokens,
        **what,
    )


def rows_of(*runs, of):
    return [
        (node.depth, node.run_id, node.all.runs, node.all.input_tokens)
        for node in tree_of({each.run_id: each for each in runs}, of)
    ]


def test_a_run_without_relatives_is_a_tree_of_its_own():
    assert rows_of(run("a"), run("other"), of="a") == [(0, "a", 1, 10)]


def test_children_stand_below_their_parent_in_the_order_of_their_creation_and_are_added_up():
    runs = [
        run("a"),
        run("late", "a", second=9),
        run("early", "a", second=1),
        run("below", "early", second=2, tokens=5),
    ]
    assert rows_of(*runs, of="below") == [(0, "a", 4, 35), (1, "early", 2, 15), (2, "below", 1, 5), (1, "late", 1, 10)]


def test_failures_and_costs_are_added_up_too():
    failed = run("b", "a", status=RunStatus.FAILED, fields={"nano_usd": 5})
    root = tree_of({"a": run("a"), "b": failed}, "a")[0]
    assert (root.all.failed, root.all.nano_usd) == (1, 5)


def test_a_parent_that_is_not_found_has_its_place():
    assert rows_of(run("b", "gone"), of="b") == [(0, "gone", 1, 10), (1, "b", 1, 10)]


def test_what_a_plugin_says_of_the_parent_stands_over_the_metadata_and_a_root_will_do():
    told = run("c", "wrong", second=1, fields={"parent_run_id": "a"})
    rooted = run("d", second=2, root_run_id="a")
    assert [each[:2] for each in rows_of(run("a"), told, rooted, of="a")] == [(0, "a"), (1, "c"), (1, "d")]


def test_a_circle_is_cut_at_the_run_that_was_asked_for():
    assert [each[:2] for each in rows_of(run("a", "b"), run("b", "a"), of="b")] == [(0, "b"), (1, "a")]
    assert [each[:2] for each in rows_of(run("a", "a"), of="a")] == [(0, "a")]


class Store:
    """Runs by session, as the index finds them."""

    def __init__(self, *states):
        self._states = {state.run_id: state for state in states}
        self.asked = []

    def get_state(self, run_id):
        if run_id not in self._states:
            raise RunNotFoundError(run_id)
        return self._states[run_id]

    def get_states(self, run_ids):
        self.asked.append(list(run_ids))
        return {each: self._states[each] for each in run_ids if each in self._states}

    def states(self, *, session_id, limit):
        self.asked.append(session_id)
        return iter([each for each in self._states.values() if each.session_id == session_id][:limit])


def state(name, session, parent=None):
    return RunState(
        run_id=name,
        session_id=session,
        metadata={"parent_run_id": parent} if parent else None,
        total_usage=TokenUsage(10, 0),
        created_at="2026-01-31T12:00:00Z",
    )


def test_relatives_are_found_in_the_sessions_of_the_run_and_of_those_above_it():
    store = Store(state("a", "s1"), state("b", "s2", "a"), state("c", "s1", "a"), state("x", "s3"))
    found = read_tree(store, summarize, "b")
    assert ([node.run_id for node in found.rows], found.is_whole) == (["a", "b", "c"], True)
    assert store.asked == ["s2", ["a"], "s1"]


def test_a_session_of_more_runs_than_are_looked_at_gives_a_part_and_says_so(monkeypatch):
    monkeypatch.setattr(tree, "MOST", 3)
    found = read_tree(
        Store(*(state(f"r{number}", "s", "r0" if number else None) for number in range(9))), summarize, "r0"
    )
    assert (len(found.rows), found.is_whole) == (2, False)


def test_of_a_run_that_is_not_there_no_tree_is_shown():
    with pytest.raises(RunNotFoundError):
        read_tree(Store(), summarize, "a")
