"""What the faults are made of: a run that is written, and what takes another part's place."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from botocore.client import BaseClient

from behest_core.dynamodb.event_table import EventLog
from tests.builders import run_record, whole_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.alarms.watch import Watch

QUARTER = 16
"""Minutes that are a little more than a quarter of an hour: how long a fault lasts."""

RUN = "run-1"


def write(watch: Watch, run_id: str = RUN) -> None:
    """Write a run, five minutes ago by its own account, so that a sweep doesn't take it to be on its way."""
    stack = watch.stack
    log = EventLog(stack.dynamodb, stack.event_table, now=lambda: datetime.fromtimestamp(watch.clock() - 300, UTC))
    log.create(run_record(run_id))
    log.append(run_id, whole_run())


@contextmanager
def answering(operation: str, answer: Callable[[Callable[..., Any], Any], Any]) -> Iterator[None]:
    """Let calls of an operation be answered by a function of the real call and the request. There has to be one."""
    call = BaseClient._make_api_call
    struck = []

    def answered(self: Any, name: str, params: Any) -> Any:
        if name != operation:
            return call(self, name, params)
        struck.append(params)
        return answer(lambda params=params: call(self, name, params), params)

    with patch.object(BaseClient, "_make_api_call", answered):
        yield
    assert struck


def raising(error: BaseException | type[BaseException]) -> Callable[..., Any]:
    def handler(*_: object, **__: object) -> Any:
        raise error

    return handler
