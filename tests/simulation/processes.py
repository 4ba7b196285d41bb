"""The functions' processes: what Lambda keeps warm, lends to one invocation at a time, and drops when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.projection.catch_up import CatchUp
from behest_core.projection.projector import Projector
from behest_core.projection.reconciler import Reconciler
from behest_core.store import RunStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.fold.dispatch import Dispatch
    from behest_core.testing import LambdaContext
    from tests.simulation.network import Client, StreamsClient
    from tests.simulation.surroundings import Surroundings
    from tests.simulation.versions import Release


class Process:
    """One process with the parts that a function is wired from (runtime.py). It runs one release."""

    def __init__(
        self,
        around: Surroundings,
        client: Client,
        streams: StreamsClient,
        tables: tuple[str, str],
        dispatch: Dispatch,
        *,
        release: Release,
        number: int,
    ) -> None:
        now = around.now
        self.number = number
        self.release = release
        self.streams = streams
        self.log = EventLog(client, tables[0], now=now)  # type: ignore[arg-type]
        self.states = StateTable(client, tables[1], sleep=around.scheduler.sleep, now=now)  # type: ignore[arg-type]
        self.projector = Projector(self.log, self.states, dispatch, now=now)
        self.catch_up = CatchUp(self.log, self.states, dispatch, owner=f"process {number}", now=now)
        self.reconciler = Reconciler(self.log, self.states, self.catch_up, now=now)
        self.store = RunStore(*tables, client=client)  # type: ignore[arg-type]
        self.store.event_log, self.store.state_table = self.log, self.states

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """What functions/projector/app.py does, without logs and metrics."""
        report = self.projector.project(event["Records"], lambda: context.get_remaining_time_in_millis() / 1000)
        if report.first_unfinished is None:
            return {"batchItemFailures": []}
        return {"batchItemFailures": [{"itemIdentifier": report.first_unfinished}]}


class Pool:
    """Processes that wait for work. `release` is what is deployed: processes of another one finish what they do, and go."""

    def __init__(self, around: Surroundings, make: Callable[[Release, int], Process], release: Release) -> None:
        self.release = release
        self.made = 0
        self._make = make
        self._around = around
        self._idle: list[Process] = []

    def take(self) -> Process:
        self._idle = [process for process in self._idle if process.release == self.release]
        if self._idle and not self._around.faults.strikes("cold_start"):
            return self._idle.pop(self._around.random.randrange(len(self._idle)))
        self.made += 1
        return self._make(self.release, self.made)

    def drop(self) -> None:
        """Forget the processes that wait."""
        self._idle.clear()

    def give_back(self, process: Process) -> None:
        self._idle.append(process)
