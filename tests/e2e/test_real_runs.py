"""Runs in, state out, through the deployed template: what `behest import` appends is folded, exactly as the seed folds it."""

from __future__ import annotations

import gzip
import shutil
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.types import TypeDeserializer

from tests.golden import differences, golden_files, golden_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.emulator import Stack

pytestmark = pytest.mark.e2e

IMPORT_SECONDS = 300
ARRIVAL_SECONDS = 180


@pytest.fixture(scope="module", params=golden_files(), ids=lambda file: file.name.split(".")[0])
def golden_file(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def lines(golden_file, tmp_path_factory) -> Path:
    """Give the golden file as a user has such files: JSON lines, not compressed."""
    lines = tmp_path_factory.mktemp("import") / "runs.jsonl"
    with gzip.open(golden_file, "rb") as packed, lines.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return lines


@pytest.fixture(scope="module")
def expected(golden_file) -> dict[str, dict[str, Any]]:
    """Give the seed's state of each run, by run id."""
    return {run["state"]["run_id"]: run["state"] for run in golden_runs(golden_file)}


@pytest.fixture(scope="module")
def states(deployed_stack, lines, expected) -> dict[str, dict[str, Any]]:
    """Import the runs; give their items of the state table, by run id, once all events are counted."""
    said = import_runs(deployed_stack, lines)
    return wait_for_states(deployed_stack, expected, said)


def test_every_state_in_the_deployed_table_is_the_seeds(states, expected):
    wrong = {
        run_id: differences(state, in_the_seeds_shape(states[run_id], state.keys()), numbers_by_value=True)
        for run_id, state in expected.items()
    }
    assert {run_id: found for run_id, found in wrong.items() if found} == {}


def test_a_second_import_changes_nothing(deployed_stack, states, lines):
    assert states
    before = items(deployed_stack, "EventTableName")
    import_runs(deployed_stack, lines)
    assert items(deployed_stack, "EventTableName") == before


def test_no_batch_was_given_up(deployed_stack, states):
    assert states
    queue = deployed_stack.client("sqs").get_queue_attributes(
        QueueUrl=deployed_stack.outputs["FailureQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert queue["Attributes"]["ApproximateNumberOfMessages"] == "0"


def import_runs(stack: Stack, lines: Path) -> str:
    """Import the runs as a user does; give what the command said."""
    done = stack.behest("import", lines, "--stack", stack.name, timeout=IMPORT_SECONDS)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"`behest import` failed:\n{said}"
    return said


def wait_for_states(stack: Stack, expected: dict[str, dict[str, Any]], said: str) -> dict[str, dict[str, Any]]:
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        found = {item["run_id"]: item for item in items(stack, "StateTableName")}
        late = [
            run_id
            for run_id, state in expected.items()
            if found.get(run_id, {}).get("event_count") != state["event_count"]
        ]
        if not late:
            return found
        assert time.monotonic() < deadline, (
            f"{len(late)} of {len(expected)} states did not arrive within {ARRIVAL_SECONDS} s, {late[0]} for one; "
            f"`behest import` said:\n{said}\nthe emulator's last words:\n{stack.log.read_text()[-4000:]}"
        )
        time.sleep(0.25)


def in_the_seeds_shape(item: dict[str, Any], names: Iterator[str]) -> dict[str, Any]:
    """Give the attributes that the seed's state has; an absent attribute is an absent value."""
    return {name: item.get(name) for name in names}


def items(stack: Stack, table: str) -> list[dict[str, Any]]:
    """Give all items of a table as boto3 reads them, with plain numbers."""
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs[table], ConsistentRead=True)
    read = TypeDeserializer().deserialize
    return [{name: plain(read(value)) for name, value in item.items()} for page in pages for item in page["Items"]]


def plain(value: Any) -> Any:
    """Give DynamoDB's numbers as Python's."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
