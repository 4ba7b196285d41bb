"""The event vocabulary as docs/items.md tells it: all types, all fields, and what each changes."""

from __future__ import annotations

import json

import msgspec
import pytest

from behest_core.fold.rules import apply
from behest_core.model.agent_events import CORE_EVENTS
from behest_core.model.decoding import core_decoder
from behest_core.model.events import AnyEvent, Event, type_name
from behest_core.model.state import FinishReason, RunState, RunStatus
from tests.docs.pages import blocks, names, part, rows

PAGE = "docs/items.md"
VOCABULARY = {row["Type"].strip("`"): row for row in rows(PAGE, "Type", "When", "Fields", "Changes in the state")}
[EXAMPLES] = blocks(PAGE, "jsonl")
LINES = EXAMPLES.text.splitlines()


def fields_of(event_class: type[Event]) -> list[str]:
    """Return the fields that a type's row and example have: without those that any event may have."""
    fields = msgspec.structs.fields(event_class)
    return [each.encode_name for each in fields if each.required or each.name != "step_id" if each.name != "timestamp"]


def folded(event: AnyEvent) -> RunState:
    """Return the state of a run without a run record after this one event."""
    state = RunState(run_id="r", created_at="2026-01-01T00:00:00.000000000Z", updated_at="2026-01-01T00:00:00Z")
    assert apply(state, [event]) is None
    return state


def test_every_type_of_the_core_is_documented_with_its_fields():
    said = {name: names(row["Fields"]) for name, row in VOCABULARY.items()}
    assert said == {type_name(each): fields_of(each) for each in CORE_EVENTS}


def test_there_is_one_example_of_each_type_with_all_its_fields_and_the_type_first():
    written = [[json.loads(line)["type"], *json.loads(line)] for line in LINES]
    assert written == [[type_name(each), "type", *fields_of(each), "timestamp"] for each in CORE_EVENTS]


@pytest.mark.parametrize("line", LINES, ids=VOCABULARY)
def test_a_type_changes_what_is_said_and_nothing_else(line: str):
    event = core_decoder.decode_one(line.encode())
    assert isinstance(event, Event)
    before, after = RunState(run_id="r", created_at="2026-01-01T00:00:00.000000000Z"), folded(event)
    changed = {name for name in RunState.__struct_fields__ if getattr(before, name) != getattr(after, name)}
    assert changed == {
        "event_count",
        "sequence",
        "updated_at",
        *names(VOCABULARY[type_name(type(event))]["Changes in the state"]),
    }


def test_every_status_is_documented_with_the_type_that_sets_it():
    said = {
        status: names(row["Set by"]) for row in rows(PAGE, "`status`", "Set by") for status in names(row["`status`"])
    }
    set_by: dict[str, list[str]] = {status: [] for status in RunStatus}
    for line in LINES:
        status = folded(core_decoder.decode_one(line.encode())).status
        if status != RunStatus.PENDING:
            set_by[status].append(json.loads(line)["type"])
    assert said == set_by


def test_every_finish_reason_is_documented():
    [shape] = [row["Shape"] for row in rows(PAGE, "Field", "Shape") if row["Field"] == "`finish_reason`"]
    assert [json.loads(written) for written in names(shape)] == [*FinishReason, {"unknown": "pause_turn"}]


def test_a_finish_reason_of_another_word_is_folded_as_unknown():
    assert '`{"unknown":"pause_turn"}` for any other' in part(PAGE, "### Events")
