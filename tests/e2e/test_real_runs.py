"""Runs in, state out, through the deployed template: what `behest import` appends is folded, exactly as the seed folds it."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.states import import_runs, items, wait_for_states, wrong
from tests.golden import golden_files, golden_runs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=golden_files())
def golden_file(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def lines(golden_file, tmp_path_factory) -> Path:
    """Return the golden file as a user has such files: JSON lines, not compressed."""
    lines = tmp_path_factory.mktemp("import") / "runs.jsonl"
    with gzip.open(golden_file, "rb") as packed, lines.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return lines


@pytest.fixture(scope="module")
def expected(golden_file) -> dict[str, dict[str, Any]]:
    """Return the seed's state of each run, by run id."""
    return {run["state"]["run_id"]: run["state"] for run in golden_runs(golden_file)}


@pytest.fixture(scope="module")
def states(deployed_stack, lines, expected) -> dict[str, dict[str, Any]]:
    """Import the runs; return their items of the state table, by run id, once all events are counted."""
    said = import_runs(deployed_stack, lines)
    return wait_for_states(deployed_stack, expected, f"`behest import` said:\n{said}")


def test_every_state_in_the_deployed_table_is_the_seeds(states, expected):
    assert wrong(expected, states) == {}


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
