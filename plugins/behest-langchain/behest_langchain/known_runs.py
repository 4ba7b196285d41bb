"""Which runs of LangChain are recorded in this process, and by which handler: whoever sees a run first records it.

So two handlers in one config record a root run once, and so do one in the config and one in a model's constructor. Handlers that
record into different tables don't know of each other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from uuid import UUID

    from behest_core.recording.adapter import Store
    from behest_langchain.recorded_run import RecordedRun

OPEN_AT_MOST: Final = 10_000
"""How many runs, roots and those below them, are known at a time: some never end, such as a tool whose task is cancelled."""


class KnownRuns:
    """The runs that have begun and not ended, each with the handler that records it, and what it is part of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[UUID, object] = {}
        self._runs: dict[UUID, RecordedRun] = {}

    def __len__(self) -> int:
        return len(self._handlers)

    def claimed(self, run_id: UUID, parent_run_id: UUID | None, handler: object) -> bool:
        """Return whether a run that begins is the handler's to record; from now on it is, or nobody's else."""
        with self._lock:
            owner = self._handlers.get(run_id) or (parent_run_id and self._handlers.get(parent_run_id)) or handler
            if owner is handler:
                self._handlers[run_id] = handler
            return owner is handler

    def put(self, run_id: UUID, run: RecordedRun) -> None:
        """Note what a run is part of. Of too many the oldest is let go."""
        with self._lock:
            self._runs[run_id] = run
            oldest = next(iter(self._handlers)) if len(self._handlers) > OPEN_AT_MOST else None
            forgotten = None if oldest is None else self._runs.pop(oldest, None)
            if oldest is not None:
                del self._handlers[oldest]
        if forgotten is not None and oldest is not None:
            forgotten.forgotten(oldest)

    def get(self, run_id: UUID, handler: object) -> RecordedRun | None:
        """Return what a run is part of, if the handler records it."""
        return self._runs.get(run_id) if self._handlers.get(run_id) is handler else None

    def pop(self, run_id: UUID, handler: object) -> RecordedRun | None:
        """Return the same, and forget the run."""
        with self._lock:
            if self._handlers.get(run_id) is not handler:
                return None
            del self._handlers[run_id]
            return self._runs.pop(run_id, None)


_by_table: WeakValueDictionary[str, KnownRuns] = WeakValueDictionary()
_making: Final = threading.Lock()


def runs_of(store: Store) -> KnownRuns:
    """Return the runs that are recorded into a store's table."""
    with _making:
        table = store.event_log.table
        known = _by_table.get(table)
        if known is None:
            known = _by_table[table] = KnownRuns()
        return known
