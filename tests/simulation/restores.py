"""Tables that are put back to what they were at an earlier time, as an operator does who restores a backup; and broken items.

Here it is one run at a time that loses what came since; for each it is the same as if all had. What must follow:

- Where the state table is older than the log, or has nothing of a run, a sweep makes it right; a deleted run stays deleted.
- Where something else has written to the state table, what can't be read is folded again.
- Either table goes on under its name, so whoever folds remembers the states that are gone, and works on: it puts none back.
- Where the log is older than the state, the next that is written lies at positions that the state covers. That is noticed, and
  mended when an operator says so. Nothing is judged in between: what was told of the lost events stays told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.readers import READING

if TYPE_CHECKING:
    from tests.contract.fake import FakeDynamoDB
    from tests.contract.fake.table import Stored
    from tests.simulation.oracle import Oracle
    from tests.simulation.processes import Pool
    from tests.simulation.surroundings import Surroundings


Item = dict[str, Any]

_BROKEN: list[tuple[str, Item]] = [
    ("revision", {"S": "one"}),
    ("revision", {"N": "1.5"}),
    ("sequence", {"S": "one"}),
    ("iteration", {"N": "-1"}),
    ("total_usage", {"BOOL": True}),
    ("extensions", {"L": []}),
    ("guard", {"S": "nobody"}),
]


class Restores:
    """Strike one run at a time. `states` are the runs of which the state was restored; of the others, the oracle knows."""

    def __init__(
        self, around: Surroundings, pool: Pool, database: FakeDynamoDB, tables: tuple[str, str], oracle: Oracle
    ) -> None:
        self._scheduler, self._random = around.scheduler, around.random
        self._note = around.note
        self._pool = pool
        self._log, self._states = (database.tables[name] for name in tables)
        self._oracle = oracle
        self.states: set[str] = set()

    def restore_state(self, run_id: str) -> None:
        """Let a run's state be what it was before one of its latest writes."""
        key = {"run_id": {"S": run_id}}
        former = self._states.former(key)
        if run_id in self._oracle.unjudged | self._oracle.broken or self._oracle.is_truncated(run_id) or not former:
            return
        to: Stored | None = self._random.choice(former)
        self._note(f"the state of {run_id} is restored to {to.item.get('sequence') if to is not None else None}")
        self._scheduler.kill_all(lambda task: task.name == READING)  # who may be given either
        self._states.restore(key, to)
        self._oracle.forget(run_id)
        if to is not None and any(to.item.get(name) == value for name, value in _BROKEN):
            self._oracle.broken.add(run_id)
        self.states.add(run_id)

    def break_state(self, run_id: str) -> None:
        """Let something else write to a run's state, so that it can't be read."""
        key = {"run_id": {"S": run_id}}
        found = self._states.get(key)
        if found is None or "created_at" not in found.item:
            return
        if run_id in self._oracle.unjudged | self._oracle.broken or self._oracle.is_truncated(run_id):
            return
        name, value = self._random.choice(_BROKEN)
        self._note(f"the state of {run_id} has {value} as its {name} now")
        self._states.restore(key, found._replace(item=found.item | {name: value}))
        self._oracle.forget(run_id)
        self._oracle.broken.add(run_id)
        self.states.add(run_id)

    def restore_log(self, run_id: str) -> None:
        """Cut off the end of a run's log: all behind one of its commits."""
        if (
            self._oracle.is_truncated(run_id)
            or run_id in self._oracle.poisoned_runs | self._oracle.unjudged | self.states
        ):
            return
        partition = self._log.partitions.get(run_id)
        items = [stored.item for stored in partition.items] if partition is not None else []
        begin = 1 if items and items[0]["sequence"]["N"] != "0" else 2
        if len(items) <= begin or "deleted_at" in items[0] or "expires_at" in items[0]:
            return  # the end of a log that expires may have gone by itself: nobody can tell
        gone = items[self._random.randrange(begin, len(items)) :]
        self._note(f"the log of {run_id} is restored to before {gone[0]['sequence']['N']}")
        self._scheduler.kill_all(lambda _: True)
        self._pool.drop()
        for item in gone:
            self._log.restore({name: item[name] for name in ("run_id", "sequence")}, None)
        self._oracle.forget(run_id)
        self._oracle.unjudged.add(run_id)
        self._oracle.cut.add(run_id)
