"""A state as rows, and what an event changed of it."""

from __future__ import annotations

from behest_core.fold.history import states_around
from behest_core.web.changes import DEEPEST, MOST, Row, as_json, rows
from tests.builders import RUN, commit, record_commit, run_started, usage_recorded


def test_what_an_object_holds_stands_below_it():
    assert rows({"model": "m", "usage": {"in": 3}, "tags": ["a"], "none": None, "empty": {}}) == [
        Row(0, "model", "m"),
        Row(0, "usage", None),
        Row(1, "in", "3"),
        Row(0, "tags", None),
        Row(1, "0", "a"),
        Row(0, "none", "null"),
        Row(0, "empty", "{}"),
    ]


def test_what_changed_is_marked_with_what_it_was():
    before, after = {"same": 1, "count": 1, "left": 2, "in": {"a": 1}}, {"same": 1, "count": 2, "in": {"a": 1, "b": 2}}
    assert rows(after, before) == [
        Row(0, "same", "1"),
        Row(0, "count", "2", "changed", "1"),
        Row(0, "in", None, "changed"),
        Row(1, "a", "1"),
        Row(1, "b", "2", "new"),
        Row(0, "left", "", "gone", "2"),
    ]


def test_a_value_that_becomes_an_object_is_told_with_what_it_was():
    assert rows({"a": {"b": 1}}, {"a": 2}) == [Row(0, "a", None, "changed", "2"), Row(1, "b", "1", "new")]
    assert rows({"a": 2}, {"a": {"b": 1}}) == [
        Row(0, "a", "2", "changed", '{"b":1}'),
        Row(1, "b", "", "gone", "1"),
    ]


def test_an_event_shows_what_it_did_to_the_state():
    log = [record_commit(), commit(1, run_started(1), usage_recorded(4))]
    before, after = states_around(RUN, log, 2)
    changed = {row.name: (row.was, row.value) for row in rows(as_json(after), as_json(before)) if row.change}
    assert changed["input_tokens"] == ("0", "10")
    assert changed["event_count"] == ("1", "2")
    assert "status" not in changed


def test_before_the_record_there_was_nothing():
    _, after = states_around(RUN, [record_commit()], 0)
    assert {row.change for row in rows(as_json(after), as_json(None))} == {"new"}


def test_what_is_deep_long_or_many_has_an_end():
    deep: object = "x"
    for _ in range(30):
        deep = {"a": deep}
    assert max(row.depth for row in rows(deep)) == DEEPEST
    assert len(rows({str(number): number for number in range(MOST * 2)})) == MOST
    assert rows({"a": "x" * 5_000})[0].value.endswith("… (5,000 characters)")
