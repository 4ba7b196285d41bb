"""The deployed tables as a test reads them, and the states that it waits for there."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from tests.golden import differences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.emulator import Stack

State = dict[str, Any]

IMPORT_SECONDS = 300
ARRIVAL_SECONDS = 180


def import_runs(stack: Stack, lines: Path) -> str:
    """Import the runs as a user does; return what the command said."""
    done = stack.behest("import", lines, "--stack", stack.name, timeout=IMPORT_SECONDS)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"`behest import` failed:\n{said}"
    return said


def wait_for_states(stack: Stack, expected: dict[str, State], said: str = "") -> dict[str, State]:
    """Return all states, by run id, once those expected have all their events; `said` helps when they don't come."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        found = states(stack)
        late = [
            run_id
            for run_id, state in expected.items()
            if found.get(run_id, {}).get("event_count") != state["event_count"]
        ]
        if not late:
            return found
        assert time.monotonic() < deadline, (
            f"{len(late)} of {len(expected)} states did not arrive within {ARRIVAL_SECONDS} s, {late[0]} for one; "
            f"{said}\nthe emulator's last words:\n{stack.log.read_text()[-4000:]}"
        )
        time.sleep(0.25)


def states(stack: Stack) -> dict[str, State]:
    """Return all states by run id."""
    return {item["run_id"]: item for item in items(stack, "StateTableName")}


def wrong(expected: dict[str, State], found: dict[str, State]) -> dict[str, list[str]]:
    """Return, by run, what differs from the expected state; an absent attribute is an absent value."""
    differing = {
        run_id: differences(state, {name: found[run_id].get(name) for name in state}, numbers_by_value=True)
        if run_id in found
        else ["has no state"]
        for run_id, state in expected.items()
    }
    return {run_id: places for run_id, places in differing.items() if places}


def items(stack: Stack, table: str) -> list[dict[str, Any]]:
    """Return all items of a table as boto3 reads them, with plain numbers."""
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs[table], ConsistentRead=True)
    read = TypeDeserializer().deserialize
    return [{name: plain(read(value)) for name, value in item.items()} for page in pages for item in page["Items"]]


def plain(value: Any) -> Any:
    """Return DynamoDB's numbers as Python's."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
