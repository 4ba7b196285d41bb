"""What the notifier tells, and plugins react to: a change of a run's status, and a person's decision."""

from __future__ import annotations

from msgspec import Struct

from behest_core.model.json import AnyJSON


class RunChanged(Struct, frozen=True, kw_only=True):
    """A run has another status.

    `id` names the change: the same every time it is told. `before` is None for a run that is new. `sequence` is the last event
    folded, `updated_at` its time.
    """

    id: str
    run_id: str
    session_id: str | None
    before: str | None
    after: str
    provider: str | None
    model: str | None
    sequence: int
    updated_at: str | None


class Decided(Struct, frozen=True, kw_only=True):
    """A person has answered what a run waits for: the agent is to hear of it.

    `id` names the decision: the same every time it is told. `call_id` is what waited, one of the ids in the run's `Paused`.
    `metadata` is the run's, `sequence` where the decision lies in its log, `decided_at` its time.
    """

    id: str
    run_id: str
    session_id: str | None
    metadata: AnyJSON
    call_id: str
    granted: bool
    by: str
    reason: str | None
    sequence: int
    decided_at: str
