"""docs/items.md is a contract: its examples are items that behest reads and writes, and its tables leave nothing out."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from behest_core.dynamodb import items
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.decoding import core_decoder, decode_each, encode_event
from behest_core.model.record import RUN_NAMESPACE, RunRecord, decode_record, encode_record, run_id_for
from behest_core.model.state import (
    Annotations,
    ExtensionSlice,
    Guard,
    Parked,
    RunState,
    RunStatus,
    TokenUsage,
    UnknownFinishReason,
    Waiting,
)
from tests.docs.pages import blocks, names, part, rows

if TYPE_CHECKING:
    from behest_core.testing.local_stack import LocalStack

PAGE = "docs/items.md"
SHOWN = [item for block in blocks(PAGE, "json") if isinstance(item := json.loads(block.text), dict)]
RECORD, TEXT_COMMIT, BINARY_COMMIT, LOG_TOMBSTONE, STATE_TOMBSTONE, STATE, OTHER_STATE = SHOWN

ATTRIBUTES = ("Attribute", "Type", "Meaning", "Present")


def commit_of(item: dict[str, Any]) -> Commit:
    """Return the commit of an item as it is shown: with binary in base64, as in a stream record."""
    commit = items.commit_from_item(item)
    assert commit is not None
    assert commit.problem is None
    return commit


PARKED = Parked(sequence=1, error="e", message="m", version=1).after(None, "t")


def full_state(finish: Any = "stop") -> RunState:
    """Return a state that has everything a state can have."""
    return RunState(
        run_id="r",
        session_id="s",
        provider="p",
        model="m",
        metadata={"any": [1]},
        total_usage=TokenUsage(1, 1, 2, 1, 1, 1),
        last_finish=finish,
        last_error="e",
        created_at="t",
        updated_at="t",
        parked=PARKED,
        waiting=Waiting(since="t", reason="approval", pending=["call-1"]),
        ended_at="t",
        extensions={"cost": ExtensionSlice.of({"cents": 1}, sequence=1, version=1, parked=PARKED, outdated=True)},
        has_record=True,
        annotations=Annotations(tags=["a"], metadata={"b": 1}),
        decisions=1,
        commit_id="commit-1",
        guard=Guard(owner="o", until="t"),
    )


# ---------------------------------------------------------------- the examples


def test_a_run_record_is_written_as_it_is_shown():
    commit = commit_of(RECORD)
    again = msgspec.structs.replace(commit, payload=encode_record(decode_record(commit)))
    assert items.commit_to_item(again) == RECORD


@pytest.mark.parametrize("item", [TEXT_COMMIT, BINARY_COMMIT], ids=["text", "binary"])
def test_the_events_of_a_commit_are_written_as_they_are_shown(item: dict[str, Any]):
    commit = commit_of(item)
    events, error = decode_each(commit.read().json, core_decoder.decode_one)
    assert (len(events), error) == (commit.count, None)
    assert b"[" + b",".join(map(encode_event, events)) + b"]" == commit.read().json


def test_a_commit_is_written_as_it_is_shown():
    assert items.commit_to_item(commit_of(TEXT_COMMIT)) == TEXT_COMMIT


def test_a_binary_commit_is_the_text_compressed_with_zlib():
    text = items.commit_to_item(commit_of(BINARY_COMMIT))["events"]["S"]
    assert zlib.decompress(b64decode(BINARY_COMMIT["events"]["B"])).decode() == text


def test_a_deleted_run_leaves_what_is_shown(stack: LocalStack):
    run_id, deleted_at = LOG_TOMBSTONE["run_id"]["S"], LOG_TOMBSTONE["deleted_at"]["S"]
    stack.store.create_run(run_id=run_id, provider="openai", model="gpt-4o")
    stack.deliver()
    stack.store.delete_run(run_id)
    revision = str(stack.store.state_table.get(run_id).revision)
    left = [
        item | {"deleted_at": {"S": deleted_at}}
        for table in (stack.event_table, stack.state_table)
        for item in stack.dynamodb.scan(TableName=table)["Items"]
    ]
    last = LOG_TOMBSTONE | {"sequence": {"N": str(items.LAST_POSITION)}}
    assert left == [LOG_TOMBSTONE, last, STATE_TOMBSTONE | {"revision": {"N": revision}}]
    assert f"{items.LAST_POSITION:,}" in part(PAGE, "### A deleted run")


@pytest.mark.parametrize("item", [STATE, OTHER_STATE, STATE_TOMBSTONE], ids=["completed", "failed", "deleted"])
def test_a_state_is_written_as_it_is_shown(item: dict[str, Any]):
    assert items.state_to_item(items.state_from_item(item)) == item


def test_run_record_and_commits_fold_to_the_state_that_is_shown():
    state = fold(None, map(commit_of, (RECORD, TEXT_COMMIT, BINARY_COMMIT))).state
    assert state is not None
    state.revision = int(STATE["revision"]["N"])
    assert items.state_to_item(state) == STATE


def test_the_run_id_is_the_one_that_the_client_request_id_gives():
    record = decode_record(commit_of(RECORD))
    assert record.run_id == run_id_for(str(record.client_request_id))
    assert str(RUN_NAMESPACE) in part(PAGE, "## What a writer has to do")


# ---------------------------------------------------------------- the attributes


@pytest.mark.parametrize(("sequence", "heading"), [(0, "### The run record"), (1, "### A commit")])
def test_the_attributes_of_an_item_of_the_event_table_are_just_those_that_are_written(sequence: int, heading: str):
    commit = Commit(run_id="r", sequence=sequence, payload=b"[]", commit_id="c", committed_at="t")
    said = {row["Attribute"].strip("`") for row in rows(PAGE, *ATTRIBUTES, below=heading)}
    assert said == items.commit_to_item(commit, expires_at=1).keys()


def test_the_fields_of_a_run_record_are_just_those_of_its_class():
    said = {row["Field"].strip("`") for row in rows(PAGE, "Field", "JSON type", "Meaning", "Present")}
    assert said == {field.encode_name for field in msgspec.structs.fields(RunRecord)} - {"id"}


@pytest.mark.parametrize("finish", ["stop", UnknownFinishReason("pause_turn")], ids=["known", "unknown"])
def test_the_attributes_of_a_state_are_just_those_that_are_written_with_their_types(finish: Any):
    said = {row["Attribute"].strip("`"): row["Type"] for row in rows(PAGE, *ATTRIBUTES, below="## State table")}
    item = items.state_to_item(full_state(finish))
    assert item.keys() == said.keys()
    for name, attribute in item.items():
        [written] = attribute
        assert written in said[name].split(" or ") or said[name] == "any"


def test_what_a_state_always_has_is_what_one_without_content_has():
    states = rows(PAGE, *ATTRIBUTES, below="## State table")
    said = {row["Attribute"].strip("`") for row in states if row["Present"] == "always"}
    assert said == items.state_to_item(RunState(run_id="r")).keys()


def test_every_part_of_total_usage_is_documented():
    [meaning] = [
        row["Meaning"] for row in rows(PAGE, *ATTRIBUTES, below="## State table") if row["Attribute"] == "`total_usage`"
    ]
    assert {*names(meaning)} - {"UsageRecorded"} == items.state_to_item(full_state())["total_usage"]["M"].keys()


def test_the_keys_of_parked_are_just_those_that_are_written_with_their_types():
    said = {row["Key"].strip("`"): row["Type"] for row in rows(PAGE, "Key", "Type", "Meaning")}
    parked = full_state().parked
    assert parked is not None
    state = msgspec.structs.replace(full_state(), parked=parked.after(parked, "t"))
    written = items.state_to_item(state)["parked"]["M"]
    assert said == {name: kind for name, attribute in written.items() for kind in attribute}
    [earlier] = written["earlier"]["L"]
    [meaning] = [row["Meaning"] for row in rows(PAGE, "Key", "Type", "Meaning") if row["Key"] == "`earlier`"]
    assert names(meaning) == [*earlier["M"]]


def test_the_keys_of_waiting_are_just_those_that_are_written_with_their_types():
    said = {
        row["Key of `waiting`"].strip("`"): row["Type"] for row in rows(PAGE, "Key of `waiting`", "Type", "Meaning")
    }
    written = items.state_to_item(full_state())["waiting"]["M"]
    assert said == {name: kind for name, attribute in written.items() for kind in attribute}


def test_the_keys_of_a_slice_are_just_those_that_are_written():
    written = items.state_to_item(full_state())["extensions"]["M"]["cost"]["M"]
    said = {row["Of a slice"].strip("`"): row["Type"] for row in rows(PAGE, "Of a slice", "Type", "Meaning")}
    assert said == {name: kind for name, attribute in written.items() for kind in attribute}


def test_the_indexes_are_those_of_the_template(stack: LocalStack):
    found = {}
    for said, table in (("events", stack.event_table), ("states", stack.state_table)):
        for index in stack.dynamodb.describe_table(TableName=table)["Table"]["GlobalSecondaryIndexes"]:
            found[said, index["IndexName"]] = [key["AttributeName"] for key in index["KeySchema"]]
            assert index["Projection"]["ProjectionType"] == "KEYS_ONLY"
    said = rows(PAGE, "Table", "Index", "Hash", "Range")
    assert found == {(row["Table"], row["Index"].strip("`")): names(row["Hash"] + row["Range"]) for row in said}


def test_the_shards_of_a_status_are_those_that_are_written():
    states = (RunState(run_id=f"run-{number}", status=RunStatus.FAILED) for number in range(200))
    written = sorted({items.state_to_item(state)["status_shard"]["S"] for state in states})
    said = part(PAGE, "## State table")
    assert f"`{written[0]}` to `{written[-1]}`" in said
    assert f"crc32(run_id in UTF-8) mod {len(written)}" in said
