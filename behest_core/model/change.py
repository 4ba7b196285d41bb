"""A change of a run's status: what the notifier tells, and plugins react to."""

from __future__ import annotations

from msgspec import Struct


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
