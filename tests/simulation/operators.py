"""What people and schedules do: deploy, sweep, resume, fold again, delete; and DynamoDB: split shards."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from behest_core.errors import BehestError, LogDivergedError, LogTruncatedError, RunNotFoundError
from behest_core.projection.catch_up import Fold
from behest_core.projection.reconciler import Silence
from tests.simulation.surroundings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.projection.reconciler import SweepReport
    from tests.simulation.feed import Feed
    from tests.simulation.oracle import Oracle
    from tests.simulation.processes import Pool
    from tests.simulation.surroundings import Surroundings
    from tests.simulation.versions import Release

SWEEP_SECONDS = 60.0
_MOST_SHARDS = 12


class Operators:
    """Strike like faults do, at random."""

    def __init__(
        self,
        around: Surroundings,
        feed: Feed,
        pool: Pool,
        runs: list[str],
        oracle: Oracle,
    ) -> None:
        self._scheduler, self._random, self._faults = around.scheduler, around.random, around.faults
        self._report = around.report
        self._feed = feed
        self._pool = pool
        self._runs = runs
        self._oracle = oracle
        self._began = around.scheduler.now
        self.deleted: set[str] = set()

    def tick(self, seconds: float) -> None:
        """Do what is due; `seconds` since the last time."""
        if self._faults.within("shard_split", seconds):
            self._split()
        if self._faults.within("sweep", seconds):
            self.sweep(SWEEP_SECONDS)
        if self._runs and self._faults.within("resume", seconds):
            self.catch_up(self._random.choice(self._runs), Fold.RESUME)
        if self._runs and self._faults.within("rebuild", seconds):
            extensions = [None, *(plugin.name for plugin in self._pool.release.installed)]
            self.catch_up(self._random.choice(self._runs), Fold.AGAIN, self._random.choice(extensions))
        if self._runs and self._faults.within("delete", seconds):
            self._delete(self._random.choice(self._runs))

    def deploy(self, release: Release) -> None:
        self._pool.release = release
        self._faults.counts["deploy"] += 1

    def sweep(
        self,
        seconds: float | None = None,
        then: Callable[[SweepReport], None] | None = None,
    ) -> None:
        """Sweep over all runs there are."""
        process = self._pool.take()
        deadline = self._scheduler.now + seconds if seconds is not None else float("inf")

        def body() -> None:
            try:
                report = process.reconciler.sweep(
                    lookback=timedelta(seconds=self._scheduler.now - self._began + 1),
                    silence=Silence(timedelta(minutes=5)),
                    remaining=lambda: deadline - self._scheduler.now,
                )
            except (ClientError, BotoCoreError):
                return
            except Exception as error:  # noqa: BLE001 (nothing but AWS may end it)
                self._report(Finding("?", f"a sweep raised {error!r}"))
                return
            self._pool.give_back(process)
            if then is not None:
                then(report)

        task = self._scheduler.start("sweep", body, process.release)
        if seconds is not None:
            self._scheduler.after(seconds, lambda: task.is_over or self._scheduler.kill(task))

    def _split(self) -> None:
        shards = self._feed.stream.shards()
        parents = {shard.parent_id for shard in shards}
        open_shards = [shard.shard_id for shard in shards if shard.shard_id not in parents]
        if len(shards) < _MOST_SHARDS:
            self._feed.stream.split(self._random.choice(open_shards))

    def catch_up(
        self, run_id: str, fold: Fold = Fold.NEW, extension: str | None = None, *, diverged: bool = False
    ) -> None:
        process = self._pool.take()

        def body() -> None:
            try:
                process.catch_up.fold(run_id, fold, extension=extension, diverged=diverged)
            except LogTruncatedError:
                if run_id not in self.deleted and not self._oracle.is_truncated(run_id):
                    self._report(Finding(run_id, "its log was taken for truncated"))
            except LogDivergedError:
                if run_id not in self._oracle.unjudged:
                    self._report(Finding(run_id, "its log was taken for another history"))
            except BehestError as error:
                self._report(Finding(run_id, f"{fold} raised {error!r}"))
            self._pool.give_back(process)

        self._scheduler.start(fold.value, body, process.release)

    def _delete(self, run_id: str) -> None:
        self.deleted.add(run_id)
        process = self._pool.take()

        def body() -> None:
            while True:
                try:
                    process.store.delete_run(run_id)
                except RunNotFoundError:
                    return  # nothing of it was written so far
                except (ClientError, BotoCoreError):
                    self._scheduler.sleep(5.0)
                except BehestError as error:
                    self._report(Finding(run_id, f"deleting it raised {error!r}"))
                    return
                else:
                    return

        self._scheduler.start("delete", body, process.release, if_killed=lambda: self._delete(run_id))
