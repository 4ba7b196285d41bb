"""Fixtures for pytest. A `conftest.py` imports those that its tests use; nothing else needs pytest.

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from behest_core.recording.adapter import END_WAIT
from behest_core.recording.process import unfinished
from behest_core.recording.recorder import RunRecorder
from behest_core.store import RunStore
from behest_core.testing.local_stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS_TO_FINISH = 60


@pytest.fixture(scope="module")
def tables() -> Iterator[LocalStack]:
    """Return a stack. One for all tests of a module: making it takes longer than most of them."""
    with LocalStack() as local:
        yield local


@pytest.fixture
def stack(tables: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """Return a stack whose log is empty, with a store that has seen no other test, and which nobody but this one writes to.

    An adapter that waits `END_WAIT` for the end of its run waits a minute: a slow machine decides nothing.
    """
    close = RunRecorder.close

    def close_with_patience(recorder: RunRecorder, timeout: float | None = None) -> int:
        return close(recorder, _SECONDS_TO_FINISH if timeout == END_WAIT else timeout)

    monkeypatch.setattr(RunRecorder, "close", close_with_patience)
    tables.store = RunStore(tables.event_table, tables.state_table, client=tables.dynamodb)
    yield tables
    for writer in unfinished(tables.store.event_log):  # of runs that have no end
        writer.close(timeout=_SECONDS_TO_FINISH)
    for item in tables.dynamodb.scan(TableName=tables.event_table)["Items"]:
        key = {name: item[name] for name in ("run_id", "sequence")}
        tables.dynamodb.delete_item(TableName=tables.event_table, Key=key)
