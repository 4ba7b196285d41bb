"""behest: a serverless, event-sourced store of what AI agents do, on DynamoDB.

Agents append events to a run's log; a Lambda function folds them into one state item per run; everybody queries that.
`RunStore` is where to begin.

    behest_core.model      what a run consists of: events, state, run record
    behest_core.fold       the fold of a run's log into its state; pure
    behest_core.plugins    what a plugin is written with
    behest_core.store      RunStore: log and states in one object; async_store has it for asyncio
    behest_core.errors     every error raised on purpose
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.errors import BehestError
from behest_core.model.events import Event, UnknownEvent
from behest_core.model.record import RunRecord
from behest_core.model.state import RunState, RunStatus, TokenUsage

if TYPE_CHECKING:
    from behest_core.async_store import AsyncRunStore
    from behest_core.store import RunStore

__all__ = [
    "AsyncRunStore",
    "BehestError",
    "Event",
    "RunRecord",
    "RunState",
    "RunStatus",
    "RunStore",
    "TokenUsage",
    "UnknownEvent",
]


def __getattr__(name: str) -> object:
    """Import a store when it is asked for: the pure core is usable without the AWS SDK."""
    if name == "AsyncRunStore":
        from behest_core.async_store import AsyncRunStore  # noqa: PLC0415

        return AsyncRunStore
    if name == "RunStore":
        from behest_core.store import RunStore  # noqa: PLC0415

        return RunStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
