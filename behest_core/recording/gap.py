"""Gap: what a recorder could not write, counted by reason, until the run's own log says it (`agent.RecordingGap`)."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from behest_core.model.agent_events import RecordingGap
from behest_core.model.timestamps import now

_REASONS: Final = 20
OTHERS: Final = "others"
"""The reason under which events are counted once there are 20 other reasons: an agent may have as many classes as it likes."""


class Gap:
    """Events that were dropped. `total` counts all there ever were. Can be shared between threads."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()
        self._untold: Counter[str] = Counter()
        self._first_at = self._last_at = ""

    def add(self, count: int, reason: str) -> None:
        """Count events that will not be written."""
        moment = now()
        with self._lock:
            self.total += count
            self._first_at = self._first_at if self._untold else moment
            self._last_at = moment
            self._count(reason, count)

    def _count(self, reason: str, count: int) -> None:
        is_known = reason in self._untold or len(self._untold) < _REASONS
        self._untold[reason if is_known else OTHERS] += count

    def take_back(self, told: RecordingGap) -> None:
        """Note that what was taken could not be written either."""
        with self._lock:
            self._first_at, self._last_at = told.first_at, self._last_at if self._untold else told.last_at
            for reason, count in told.dropped.items():
                self._count(reason, count)

    def take(self) -> RecordingGap | None:
        """Return what has not been told yet, once; None where that is nothing."""
        with self._lock:
            told, self._untold = self._untold, Counter()
            first_at, last_at = self._first_at, self._last_at
        return RecordingGap(dropped=dict(told), first_at=first_at, last_at=last_at, timestamp=now()) if told else None
