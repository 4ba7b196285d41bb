"""What docs/items.md tells a writer in another language: the limits, an example in shell, and what happens to a wrong log."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from behest_core.errors import RunDeletedError
from behest_core.model import json as model_json
from behest_core.model import limits
from behest_core.model.commit import INFLATED_BYTES
from behest_core.model.nesting import NESTING
from tests.docs.aws_cli import commands, perform
from tests.docs.pages import blocks, rows

if TYPE_CHECKING:
    from behest_core.testing.local_stack import LocalStack

PAGE = "docs/items.md"

STARTED = '{"type":"RunStarted","session_id":"s","provider":"p","model":"m","timestamp":"2026-01-31T12:00:00Z"}'
DELTA = '{"type":"TextDelta","delta":"Hi","timestamp":"2026-01-31T12:00:01Z"}'
CUSTOM = '{"type":"approvals.Requested","timestamp":"2026-01-31T12:00:01Z"}'
TIMELESS = DELTA.replace("2026-01-31T12:00:01Z", "soon")


def item(sequence: int, *events: str, **attributes: Any) -> dict[str, Any]:
    """Return a commit's item as a writer might put it, with these attributes instead of the right ones."""
    right = {"count": {"N": str(len(events))}, "events": {"S": f"[{','.join(events)}]"}}
    return {"run_id": {"S": "r"}, "sequence": {"N": str(sequence)}} | right | attributes


def put(stack: LocalStack, item: dict[str, Any]) -> None:
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)


# ---------------------------------------------------------------- the example in shell


def without_revision(printed: Any) -> Any:
    """Return what was printed but for when a state was written."""
    return {**printed, "revision": None} if isinstance(printed, dict) else printed


def test_the_commands_of_the_example_give_what_is_shown(stack: LocalStack):
    for block in blocks(PAGE, "sh"):
        [command] = commands(block.text)
        if "$BEHEST_STATE_TABLE" in command:
            stack.deliver()
        printed = perform(stack.dynamodb, command)
        if block.output is not None:
            assert without_revision(printed) == without_revision(json.loads(block.output))


def test_a_command_of_the_example_that_is_repeated_is_told_that_it_succeeded_before(stack: LocalStack):
    puts = [command for block in blocks(PAGE, "sh") for command in commands(block.text) if "put-item" in command]
    assert len(puts) == 2
    for command in puts:
        perform(stack.dynamodb, command)
        with pytest.raises(ClientError) as refused:
            perform(stack.dynamodb, command)
        assert refused.value.response["Item"]["commit_id"]["S"] in command


# ---------------------------------------------------------------- the limits


@pytest.mark.parametrize(
    "limit",
    [
        NESTING - 1,
        limits.ITEM_BYTES,
        limits.EVENT_BYTES,
        limits.METADATA_BYTES,
        limits.TEXT_BYTES,
        limits.VALUE_BYTES,
        model_json._NESTING,
        model_json._NUMBER_DIGITS,
        INFLATED_BYTES,
    ],
)
def test_every_limit_is_documented(limit: int):
    said = " ".join(row["At most"] for row in rows(PAGE, "What", "At most"))
    assert limit in [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", said)]


# ---------------------------------------------------------------- what happens to a wrong log


@pytest.mark.parametrize(
    ("wrong", "sequence", "parked"),
    [
        pytest.param([item(1, STARTED), item(3, DELTA)], 1, None, id="positions are missing"),
        pytest.param([item(1, STARTED, DELTA), item(2, STARTED, DELTA)], 3, None, id="two commits overlap"),
        pytest.param([item(1, STARTED), item(2, "{")], 1, 2, id="`events` is no JSON"),
        pytest.param(
            [item(1, STARTED), item(2, DELTA, events={"B": b64encode(b"no")})], 1, 2, id="`events` is not zlib's"
        ),
        pytest.param([item(1, STARTED), item(2, DELTA, events={"N": "1"})], 1, 2, id="`events` is a number"),
        pytest.param([item(1, STARTED), item(2, DELTA, count={"N": "2"})], 1, 2, id="`count` is not the length"),
        pytest.param([item(1, STARTED), item(2, DELTA, count={"S": "1"})], 1, 2, id="`count` is no number"),
        pytest.param([item(1, STARTED, DELTA, '{"timestamp":"2026-01-31T12:00:00Z"}')], 2, 3, id="no `type`"),
        pytest.param([item(1, STARTED, '{"type":"TextDelta","delta":"Hi"}')], 1, 2, id="no `timestamp`"),
        pytest.param([item(1, STARTED, CUSTOM.replace("Requested", "R" * 255))], 1, 2, id="`type` is too long"),
        pytest.param([item(1, STARTED, CUSTOM.replace("timestamp", "time"))], 1, 2, id="unknown, no `timestamp`"),
        pytest.param([item(1, STARTED.replace('"m"', "1"))], 0, 1, id="a wrong field the fold looks at"),
        pytest.param([item(1, STARTED, DELTA.replace('"Hi"', "1"))], 2, None, id="a wrong field it does not look at"),
        pytest.param([item(1, STARTED, CUSTOM)], 2, None, id="unknown"),
        pytest.param([item(1, STARTED, TIMELESS)], 2, None, id="no time"),
        pytest.param([item(1, TIMELESS)], 0, 1, id="no time to begin with"),
    ],
)
def test_a_wrong_log_does_what_is_said(
    stack: LocalStack, wrong: list[dict[str, Any]], sequence: int, parked: int | None
):
    for each in wrong:
        put(stack, each)
    stack.deliver()
    state = stack.store.get_state("r")
    assert (state.sequence, state.parked and state.parked.sequence) == (sequence, parked)


def test_a_run_record_that_cannot_be_read_parks_the_run_at_its_very_beginning(stack: LocalStack):
    put(stack, {"run_id": {"S": "r"}, "sequence": {"N": "0"}, "record": {"S": "{}"}})
    put(stack, item(1, STARTED))
    stack.deliver()
    state = stack.store.get_state("r")
    assert (state.sequence, state.created_at, state.updated_at) == (0, None, None)
    assert state.parked is not None


def test_a_gap_that_is_filled_is_folded_beyond_with_the_next_commit(stack: LocalStack):
    reached = []
    for sequence in (1, 3, 2, 4):
        put(stack, item(sequence, STARTED if sequence == 1 else DELTA))
        stack.deliver()
        reached.append(stack.store.get_state("r").sequence)
    assert reached == [1, 1, 2, 4]


def test_a_run_is_found_by_its_hour(stack: LocalStack):
    for block in blocks(PAGE, "sh"):
        for command in commands(block.text):
            perform(stack.dynamodb, command)
    day = datetime(2026, 1, 31, tzinfo=UTC)
    assert set(stack.store.event_log.started(day, day + timedelta(hours=3))) == {"nightly-2026-01-31"}


def test_a_deleted_run_can_not_be_created_again_and_what_is_appended_is_not_folded(stack: LocalStack):
    stack.store.create_run(run_id="r", provider="p", model="m")
    stack.store.delete_run("r")
    with pytest.raises(RunDeletedError):
        stack.store.create_run(run_id="r", provider="p", model="m")
    put(stack, item(1, STARTED))
    stack.deliver()
    with pytest.raises(RunDeletedError):
        stack.store.get_state("r")
    assert [recorded.sequence for recorded in stack.store.events("r")] == [1]


def test_a_run_record_that_comes_late_is_folded_all_the_same(stack: LocalStack):
    put(stack, item(1, STARTED, DELTA))
    stack.deliver()
    stack.store.create_run(run_id="r", provider="p", model="m", session_id="s", metadata={"late": True})
    stack.deliver()
    state = stack.store.get_state("r")
    assert (state.sequence, state.metadata) == (2, {"late": True})
