"""What the tests of the packages here share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from behest_core.recording.writer import _outboxes
from behest_core.testing import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def tables() -> Iterator[LocalStack]:
    """Make a stack. One for all tests of a module: making it takes longer than most of them."""
    with LocalStack() as local:
        yield local


@pytest.fixture
def stack(tables: LocalStack) -> Iterator[LocalStack]:
    """Return a stack whose log is empty, and which nobody but the test writes to."""
    yield tables
    for outbox in list(_outboxes):  # of runs that have no end
        outbox.close(timeout=10)
    for item in tables.dynamodb.scan(TableName=tables.event_table)["Items"]:
        key = {name: item[name] for name in ("run_id", "sequence")}
        tables.dynamodb.delete_item(TableName=tables.event_table, Key=key)
