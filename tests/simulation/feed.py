"""The event table's stream, less reliable than DynamoDB's: records that come late, or never.

DynamoDB promises the order of one item's records, and no other; so a late record is overtaken by others of its run, and waits
for earlier ones of its item. That a record is lost stands for an outage of more than 24 hours, and for a batch given up.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from behest_core.testing.stream_records import key_text

if TYPE_CHECKING:
    from behest_core.testing import MemoryStream
    from tests.simulation.surroundings import Surroundings

LATE_SECONDS = 8.0


class Feed:
    """Stands between the table and its stream. `lost` has run id and position of each item of which a record was lost."""

    def __init__(self, stream: MemoryStream, around: Surroundings) -> None:
        self.stream = stream
        self.lost: set[tuple[str, str]] = set()
        self.late: set[str] = set()
        """Runs of which a record came late."""

        self.events = 0
        self.records_of: Counter[str] = Counter()
        self._around = around
        self._held: dict[str, float] = {}

    @property
    def records(self) -> int:
        return self.records_of.total()

    @property
    def held(self) -> int:
        """How many items have records that are still to come."""
        return len(self._held)

    def append(self, keys: dict[str, Any], new_image: dict[str, Any] | None = None, **more: Any) -> None:
        self.records_of[keys["run_id"]["S"]] += 1
        self.events += int((new_image or {}).get("count", {"N": "0"})["N"])
        scheduler, faults = self._around.scheduler, self._around.faults
        if faults.strikes("lost_record"):
            self.lost.add((keys["run_id"]["S"], keys["sequence"]["N"]))
            return
        item = key_text(keys)
        comes_at = self._held.get(item, 0.0)
        if faults.strikes("late_record"):
            self.late.add(keys["run_id"]["S"])
            comes_at = max(comes_at, scheduler.now + self._around.soon(LATE_SECONDS))
        if not comes_at:
            self.stream.append(keys, new_image, **more)
            return
        self._held[item] = comes_at

        def come() -> None:
            if self._held.get(item) == comes_at:
                del self._held[item]
            self.stream.append(keys, new_image, **more)

        scheduler.after(comes_at - scheduler.now, come)
