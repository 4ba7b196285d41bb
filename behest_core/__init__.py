"""behest: a serverless, event-sourced store of what AI agents do, on DynamoDB.

Agents append events to a run's log; a Lambda function folds them into one state item per run; everybody queries that.
`RunStore` is where to begin.

    behest_core.events     what can happen to a run
    behest_core.state      RunRecord, RunState and what they are made of
    behest_core.reducer    how each event changes the state
    behest_core.fold       checkpoints, duplicates, gaps, parking: what to do with some commits
    behest_core.store      RunStore: log and states in one object
    behest_core.errors     every error raised on purpose
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.errors import BehestError
from behest_core.events import Event, UnknownEvent
from behest_core.state import RunRecord, RunState, RunStatus, TokenUsage

if TYPE_CHECKING:
    from behest_core.store import RunStore

__all__ = ["BehestError", "Event", "RunRecord", "RunState", "RunStatus", "RunStore", "TokenUsage", "UnknownEvent"]


def __getattr__(name: str) -> object:
    """Import RunStore when it is asked for: the pure core is usable without the AWS SDK."""
    if name == "RunStore":
        from behest_core.store import RunStore  # noqa: PLC0415

        return RunStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
