"""Users who read through RunStore, and hold what they are given to what was there when they asked.

A read that is promised to be consistent holds every write that was answered before it was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from behest_core.errors import MalformedEventError
from tests.simulation.surroundings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.store import RunStore
    from tests.contract.fake import FakeDynamoDB
    from tests.simulation.oracle import Oracle
    from tests.simulation.processes import Pool
    from tests.simulation.surroundings import Surroundings

READING = "reader"
"""What their tasks are called."""

_RUNS_AT_ONCE = 8


class Readers:
    """Strike like faults do, at random, and find faults."""

    def __init__(  # noqa: PLR0917 (what they compare)
        self,
        around: Surroundings,
        pool: Pool,
        database: FakeDynamoDB,
        tables: tuple[str, str],
        oracle: Oracle,
        runs: list[str],
    ) -> None:
        self._scheduler, self._random, self._faults = around.scheduler, around.random, around.faults
        self._report = around.report
        self._pool = pool
        self._log, self._states = (database.tables[name] for name in tables)
        self._oracle = oracle
        self._runs = runs

    def tick(self, seconds: float) -> None:
        """Read if it is time to; `seconds` since the last time."""
        if self._runs and self._faults.within("read", seconds):
            self._read(self._random.sample(self._runs, min(len(self._runs), _RUNS_AT_ONCE)))

    def _read(self, run_ids: list[str]) -> None:
        process = self._pool.take()

        def body() -> None:
            try:
                self._read_states(process.store, run_ids)
                self._read_log(process.store, run_ids[0])
            except (ClientError, BotoCoreError):
                return
            self._pool.give_back(process)

        self._scheduler.start(READING, body, process.release)

    def _read_states(self, store: RunStore, run_ids: list[str]) -> None:
        before = {run_id: self._revision(run_id) for run_id in run_ids}
        found = store.get_states(run_ids, unreadable=lambda _: None)
        for run_id in run_ids:
            read = found[run_id].revision if run_id in found else 0
            if read < before[run_id] and self._revision(run_id):
                self._report(Finding(run_id, f"its state was read at revision {read}, but had {before[run_id]}"))

    def _revision(self, run_id: str) -> int:
        """Return the revision of a run's state; 0 where there is none that is to be read."""
        found = self._states.get({"run_id": {"S": run_id}})
        if found is None or "created_at" not in found.item or run_id in self._oracle.broken:
            return 0
        return int(found.item["revision"]["N"])

    def _read_log(self, store: RunStore, run_id: str) -> None:
        if run_id in self._oracle.poisoned_runs:
            return
        head = self._oracle.head(run_id)
        try:
            read = [event.sequence for event in store.events(run_id)]
        except MalformedEventError:
            if run_id in self._oracle.poisoned_runs:  # since it was begun to be read
                return
            raise
        for what in self._wrong(run_id, read, head):
            self._report(Finding(run_id, what))

    def _wrong(self, run_id: str, read: list[int], head: int) -> Iterator[str]:
        items: list[Any] = self._log.partitions[run_id].items if run_id in self._log.partitions else []
        if items and "deleted_at" in items[0].item:
            return
        first = read[0] if read else 1
        if read != list(range(first, first + len(read))) or (first > 1 and not self._oracle.is_truncated(run_id)):
            yield f"its log was read as {read}"
        if first + len(read) - 1 < head:
            yield f"its log was read up to {first + len(read) - 1}, but had {head}"
