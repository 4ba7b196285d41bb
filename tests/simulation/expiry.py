"""Time to live: the beginnings of logs go, some of them before others, once their state covers them.

DynamoDB deletes what has expired within days, in no order that it promises. So a run may lose its record and keep its events,
lose its first events and keep its record, or lose both. What no state covers yet stays: a log that expires sooner than the
stream and the sweep take is a setting that no fold can mend. So does the last commit, as a head that went would be taken again;
and as days go by, no writer remembers an end of the log that lies among what went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from behest_core.dynamodb.event_table import EventLog
    from tests.contract.fake import FakeDynamoDB
    from tests.simulation.history import History
    from tests.simulation.oracle import Oracle
    from tests.simulation.surroundings import Surroundings

    Item = dict[str, Any]


class Expiry:
    """Strikes one run at a time."""

    def __init__(  # noqa: PLR0917 (what it has to know)
        self,
        around: Surroundings,
        database: FakeDynamoDB,
        tables: tuple[str, str],
        oracle: Oracle,
        history: History,
        logs: Callable[[], Iterable[EventLog]],
    ) -> None:
        self._random = around.random
        self._now = around.scheduler.clock
        self._note = around.note
        self._log, self._states = (database.tables[name] for name in tables)
        self._oracle = oracle
        self._history = history
        self._logs = logs

    def strike(self, run_id: str) -> None:
        """Let the beginning of a run's log expire, if its state covers one.

        Not where an event can't be folded, nor where somebody may append again what the log has: he finds it by looking there.
        """
        found = self._states.get({"run_id": {"S": run_id}})
        if found is None or found.item.keys() & {"deleted_at", "parked"} or run_id in self._oracle.poisoned_runs:
            return
        is_unsure = run_id in self._oracle.unjudged | self._oracle.broken or self._oracle.is_deleted(run_id)
        if is_unsure or self._history.is_open(run_id):
            return
        covered = self._covered(run_id, found.item)
        if not covered:
            return
        self._oracle.truncate(found.item)
        self._note(f"{run_id} loses {[item['sequence']['N'] for item in covered]}")
        for log in self._logs():
            log._heads.pop(run_id)
        for item in covered:
            self._oracle.expired(item)
            self._log.remove({name: item[name] for name in ("run_id", "sequence")}, by_time_to_live=True)

    def _covered(self, run_id: str, state: Item) -> list[Item]:
        """Draw what is to go, of that which a state covers."""
        reached = int(state.get("sequence", {"N": "0"})["N"])
        items = [stored.item for stored in self._log.partitions[run_id].items]
        records = [item for item in items if item["sequence"]["N"] == "0"]
        if records and not self._oracle.has_folded_record(state):
            return []  # it waits for the fold that sees its record
        commits = [item for item in items[len(records) : -1] if _last(item) <= reached]
        first = commits[: self._random.randint(1, len(commits))] if commits else []
        match self._random.randrange(3):
            case 0 if len(items) > 1:
                gone = records
            case 1:
                gone = first
            case _:
                gone = records + first
        return [item for item in gone if int(item.get("expires_at", _NEVER)["N"]) <= self._now()]


_NEVER = {"N": str(10**12)}


def _last(item: Item) -> int:
    return int(item["sequence"]["N"]) + int(item["count"]["N"]) - 1
