"""Every history there is of two overlapping invocations on a run of three events, with a kill at every point of each.

No chance here: at each call of the database it is decided who goes on, and whether who just paused is killed there; then every
other decision is tried, until none is left. A kill before a call is one after the call before it; the last point is the one after
the last call. Whoever was killed is delivered again, as Lambda would.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.projection.projector import Projector
from behest_core.testing import MemoryStream, Template
from tests.builders import RUN, commit, record_commit, run_completed, run_record, run_started, usage_recorded
from tests.contract.fake import FakeDynamoDB
from tests.simulation.checks import Judge, StateWatch
from tests.simulation.oracle import Oracle
from tests.simulation.scheduler import Task
from tests.simulation.versions import Release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.surroundings import Finding

TABLES = Template().tables()
EVENTS, STATES = TABLES["EventTable"], TABLES["StateTable"]
LOG = [
    record_commit(run_record(metadata={"of": RUN}, created_at="2026-01-31T12:00:00.000000Z")),
    commit(1, run_started()),
    commit(2, usage_recorded()),
    commit(3, run_completed()),
]
BATCHES = {
    "both bring everything": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "the second brings the rest": ((0, 1), (2, 3)),
    "they overlap": ((0, 1, 2), (1, 2, 3)),
    "the second brings less": ((0, 1, 2, 3), (0, 1)),
    "one brings the ends": ((0, 3), (1, 2)),
}


class Decisions:
    """Makes decisions as they were made before, up to the last one, which is made otherwise; new ones the first way."""

    def __init__(self, prefix: list[int]) -> None:
        self._prefix = prefix
        self.made: list[tuple[int, int]] = []

    def choose(self, options: int) -> int:
        at = len(self.made)
        choice = self._prefix[at] if at < len(self._prefix) else 0
        self.made.append((choice, options))
        return choice

    def next_prefix(self) -> list[int] | None:
        made = list(self.made)
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        return [choice for choice, _ in made[:-1]] + [made[-1][0] + 1] if made else None


def every_history(happen: Callable[[Decisions], None]) -> Iterator[list[int]]:
    """Let it happen in every way there is, and give the decisions of each."""
    prefix: list[int] | None = []
    while prefix is not None:
        decisions = Decisions(prefix)
        happen(decisions)
        yield [choice for choice, _ in decisions.made]
        prefix = decisions.next_prefix()


class PausingClient:
    """Pauses its task before each call."""

    def __init__(self, database: FakeDynamoDB) -> None:
        self.task: Task | None = None
        self._database = database

    def __getattr__(self, name: str) -> Any:
        if self.task is not None:
            self.task.pause()
        return getattr(self._database, name)


@dataclass
class Matrix:
    """One history's tables, and what was seen."""

    findings: list[Finding] = field(default_factory=list)
    kills: int = 0

    def __post_init__(self) -> None:
        stream = MemoryStream(EVENTS.name, clock=lambda: 0.0)
        watch = StateWatch(self.findings.append)
        self.database = FakeDynamoDB([EVENTS.create, STATES.create], {EVENTS.name: stream, STATES.name: watch})
        log, states = self.database.tables[EVENTS.name], self.database.tables[STATES.name]
        watch.oracle = Oracle(log)
        self.judge = Judge(watch.oracle, log, states)
        for each in LOG:
            self.database.put_item(TableName=EVENTS.name, Item=items.commit_to_item(each))
        [shard] = stream.shards()
        self.records = stream.read(shard.shard_id, None, 100).records

    def projector(self, client: Any) -> Projector:
        return Projector(EventLog(client, EVENTS.name), StateTable(client, STATES.name))

    def let_happen(self, batches: tuple[tuple[int, ...], ...], decisions: Decisions) -> None:
        """Run the invocations as it is decided, then deliver again what was killed, and judge."""
        back = threading.Lock()
        back.acquire()
        tasks = [self._invocation(batch, back) for batch in batches]
        last: Task | None = None
        while alive := [task for task in tasks if not task.is_over]:
            options = len(alive) + (last in alive)
            choice = decisions.choose(options)
            task = alive[choice] if choice < len(alive) else last
            assert task is not None
            task.is_doomed = choice == len(alive)
            task.hand_over()
            assert task.error is None
            last = task
        for task, batch in zip(tasks, batches, strict=True):
            if task.was_killed:
                self.kills += 1
                report = self.projector(self.database).project([self.records[at] for at in batch])
                assert report.first_unfinished is None

    def _invocation(self, batch: tuple[int, ...], back: threading.Lock) -> Task:
        client = PausingClient(self.database)

        def body() -> None:
            report = self.projector(client).project([self.records[at] for at in batch])
            assert report.first_unfinished is None
            client.task.pause()  # the last point at which it can be killed

        client.task = Task("invocation", body, back, Release())
        return client.task


@pytest.mark.parametrize("batches", BATCHES.values(), ids=BATCHES.keys())
def test_the_state_is_right_whoever_is_killed_wherever_and_whatever_comes_between(batches, record_property):
    histories, kills = 0, 0

    def happen(decisions: Decisions) -> None:
        nonlocal kills
        matrix = Matrix()
        matrix.let_happen(batches, decisions)
        kills += matrix.kills
        assert matrix.findings == []
        assert matrix.judge.findings(RUN) == []

    for _ in every_history(happen):
        histories += 1
    record_property("crash_matrix", {"histories": histories, "kills": kills})
    assert histories > 100
