"""The whole of it in one process: agents, both tables, the stream, Lambda, operators, and what befalls them.

Everything that is behest's is the real code. DynamoDB is the fake that passes the contract suite, the stream mapping is the model
of behest_core.testing. One random source and one clock decide all; so a seed is a history, and gives it again.

A history has four parts. First agents write, releases are deployed, and faults strike. Then no fault strikes any more, and what
is under way comes to its end: now each run has to be right of which the stream lost no record. Then the reconciler sweeps: now
every run has to be. Last the plugins that are installed catch up with runs that don't move any more: now every slice has to be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal
from zlib import crc32

from behest_core.dynamodb.event_table import EventLog
from behest_core.model.cache import BoundedCache
from behest_core.projection.catch_up import Fold
from behest_core.testing import MappingSettings, MemoryStream, Template
from tests.contract.fake import FakeDynamoDB
from tests.simulation.agents import Agent, Plan
from tests.simulation.checks import Judge, StateWatch
from tests.simulation.expiry import Expiry
from tests.simulation.faults import Faults, Rates
from tests.simulation.feed import Feed
from tests.simulation.figures import Figures
from tests.simulation.history import History, violations
from tests.simulation.lambda_service import LambdaService
from tests.simulation.network import Client, Network, StreamsClient
from tests.simulation.operators import Operators
from tests.simulation.oracle import Oracle
from tests.simulation.poison import KINDS, Poisoner
from tests.simulation.processes import Pool, Process
from tests.simulation.readers import Readers
from tests.simulation.restores import Restores
from tests.simulation.scheduler import Scheduler
from tests.simulation.surroundings import Finding, Surroundings
from tests.simulation.versions import NEW, OLD, Release, Versions, drawn_releases

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from behest_core.projection.reconciler import SweepReport
    from tests.simulation.scheduler import Task

START: Final = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
_TABLES: Final = Template().tables()
_EVENTS, _STATES = _TABLES["EventTable"], _TABLES["StateTable"]
_AGENTS_OF_A_PROCESS: Final = (1, 2, 4)
_EXPIRE_AFTER: Final = timedelta(seconds=10)
"""Stands for the days after which a log may begin to go."""

_HEADS_BYTES: Final = 700
"""For the ends of some two logs: less than a process has in hand, so that it forgets them, and reads them again."""

_STALE_SECONDS: Final = 3.0
_QUIET_TICKS: Final = 3
_GRACE_SECONDS: Final = 90.0
_GUARDED_SECONDS: Final = 901.0
_MOST_SWEEPS: Final = 20
_DEADLY: Final = 3
_GUARDED: Final = ("sweep", "recover")
_MOST_QUIET_SECONDS: Final = 4 * 3600.0


class SimulationError(AssertionError):
    """A simulation found something that must not be. The message says how to see it again."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much happens.

    `poison` counts events that can't be folded, of these `kinds`; so many `agents` write at a time, every `think` seconds.
    """

    events: int = 1_000
    runs: int = 25
    poison: int = 1
    kinds: Collection[str] = tuple(KINDS)
    agents: int = 8
    think: float = 1.5


@dataclass
class Writers:
    """A process in which agents write: they share its log, and its fate. `heirs` is the one that begins when it dies."""

    log: EventLog
    tasks: list[Task] = field(default_factory=list)
    heirs: Writers | None = None


class World:
    """One history. Rates of faults and the mapping's settings are drawn where they aren't given."""

    def __init__(
        self,
        seed: int,
        size: Size | None = None,
        *,
        rates: Rates | Literal["drawn", "typical", "none"] = "drawn",
        settings: MappingSettings | None = None,
        tracing: bool = False,
    ) -> None:
        self.seed = seed
        self.size = size or Size()
        self.findings: list[Finding] = []
        self.trace: list[str] = []
        self.digest = 0
        self._tracing = tracing
        random = Random(seed)
        self._versions = Versions()
        self._rates_are = rates if isinstance(rates, str) else "given"
        self.faults = Faults(random, Rates.of(rates, random) if isinstance(rates, str) else rates)
        self.scheduler = scheduler = Scheduler(START, self._versions.activate)
        self._around = around = Surroundings(scheduler, random, self.faults, self.findings.append, self._note)
        stream = MemoryStream(_EVENTS.name, shards=random.randint(1, 3), clock=scheduler.clock)
        self.feed = Feed(stream, around)
        self.watch = StateWatch(self.findings.append, lambda: self.scheduler.current, around.moment)
        self._database = FakeDynamoDB(
            [_EVENTS.create, _STATES.create],
            {_EVENTS.name: self.feed, _STATES.name: self.watch},
            clock=scheduler.clock,
            lag=lambda: around.soon(0.5),
            stale=lambda: around.soon(_STALE_SECONDS) if self.faults.strikes("stale_read") else 0.0,
            served=self._served,
            fitting=lambda items: min(items, random.randint(1, 3)) if self.faults.strikes("short_page") else items,
        )
        self.oracle = self.watch.oracle = Oracle(self._database.tables[_EVENTS.name])
        self.history = History()
        self._judge = Judge(
            self.oracle,
            self._database.tables[_EVENTS.name],
            self._database.tables[_STATES.name],
        )
        self._network = Network(around)
        self._poisoner = Poisoner(around, self._database, _EVENTS.name, self.oracle)
        self.releases = drawn_releases(random, self.size.runs)
        self._pool = Pool(around, self._process, self.releases[0])
        self.plans = self._planned()
        self._waiting = self.plans[::-1]
        self._begun: list[str] = []
        self._mistaken = 0
        self._processes: list[Writers] = []
        self._expire_after = random.choice([None, _EXPIRE_AFTER])
        self._writing = 0
        self._agents = 0
        self._quiet_ticks = 0
        lane_by = random.choice(["partition_key", "item"])
        self.function = LambdaService(around, self.feed, settings or _drawn(random), lane_by, self._pool)
        tables = _EVENTS.name, _STATES.name
        self._expiry = Expiry(around, self._database, tables, self.oracle, self.history, self._logs)
        self._restores = Restores(around, self._pool, self._database, tables, self.oracle)
        self.operators = Operators(around, self.feed, self._pool, self._begun, self.oracle)
        self._readers = Readers(around, self._pool, self._database, tables, self.oracle, self._begun)
        deploys = sorted(random.randrange(self.size.runs) for _ in self.releases[1:])
        self._to_deploy = list(zip(deploys, self.releases[1:], strict=True))
        self._tick_seconds = random.choice([0.25, 0.5, 1.0, 3.0])

    # ------------------------------------------------------------ the history

    def run(self) -> Figures:
        """Let it happen, and judge. Raises SimulationError."""
        with self._versions:
            try:
                self._write()
                self._settle()
                self._judge_what_the_stream_told()
                self._sweep()
                self._judge_what_was_noticed()
                self._mend_what_no_sweep_sees()
                self._judge_what_the_sweep_mended()
                self._bring_slices_up()
                return self._judge_all()
            finally:
                self.scheduler.close()

    def _write(self) -> None:
        while self._writing < self.size.agents:
            writers = self._writers()
            for _ in range(min(self._around.random.choice(_AGENTS_OF_A_PROCESS), self.size.agents - self._writing)):
                self._writing += 1
                self._start_agent(writers, None)
        self._tick()
        self._go_on(lambda: not self._writing)

    def _settle(self) -> None:
        """Let what is under way come to its end. No fault strikes any more."""
        self._deploy_up_to(self.size.runs)
        self.faults.stop()
        latest = self.scheduler.now + _MOST_QUIET_SECONDS
        self._quiet_ticks = 0
        self._go_on(lambda: self._quiet_ticks >= _QUIET_TICKS or self.scheduler.now > latest)
        if self._quiet_ticks < _QUIET_TICKS:
            self.findings.append(
                Finding("?", f"after {_MOST_QUIET_SECONDS} s without faults there is still something to do")
            )
            self._stop_at_findings()

    def _judge_what_the_stream_told(self) -> None:
        unheard = (
            {run_id for run_id, _ in self.feed.lost | self.function.discarded}
            | self._restores.states
            | self.oracle.unjudged
            | self._network.odd
        )
        for run_id in self._begun:
            if run_id not in unheard | self.oracle.deadly | self.oracle.healed_by_version:
                self.findings += (Finding(run_id, f"before the sweep: {what}") for what in self._judge.findings(run_id))
        self._stop_at_findings()

    def _sweep(self) -> None:
        """Sweep until a sweep comes to its end. One that meets a deadly run dies."""
        self._wait(_GRACE_SECONDS)
        done: list[SweepReport] = []
        for _ in range(_MOST_SWEEPS + 5 * len(self.oracle.deadly)):
            self.operators.sweep(then=done.append)
            self._go_on(lambda: not self.scheduler.tasks)
            if done and done[-1].is_complete and done[-1].caught_up == done[-1].lagging:
                break
            self._wait(_GUARDED_SECONDS)  # a fold that died keeps others waiting so long
            done.clear()
        self._settle()
        self._resume_those_that_killed_nobody()

    def _wait(self, seconds: float) -> None:
        until = self.scheduler.now + seconds
        self.scheduler.after(seconds, lambda: None)
        self._go_on(lambda: self.scheduler.now >= until)

    def _resume_those_that_killed_nobody(self) -> None:
        """Resume the few runs that are parked as deadly and are not: what killed three folds of them was something else."""
        mistaken = [
            run_id
            for run_id in self._begun
            if run_id not in self.oracle.deadly and self._judge.is_parked_as_deadly(run_id)
        ]
        deaths = sum(self.scheduler.deaths[name] for name in _GUARDED)
        if len(mistaken) * _DEADLY > deaths:
            what = (
                f"it is one of {len(mistaken)} that are parked as deadly and are not; only {deaths} guarded folds died"
            )
            self.findings.append(Finding(mistaken[0], what))
            self._stop_at_findings()
        for run_id in mistaken:
            self.operators.catch_up(run_id, Fold.RESUME)
        self._mistaken = len(mistaken)
        self._settle()

    def _judge_what_was_noticed(self) -> None:
        """Judge the runs whose logs were restored: a state that isn't that of its log now says so, or is seen to be ahead of it.

        Where records overtook each other, nobody could tell. And those whose states were restored after they were deleted.
        """
        self.oracle.unjudged.clear()
        for run_id in self._begun:
            if self.oracle.is_deleted(run_id) and self._judge.is_swept(run_id):
                self.findings.append(Finding(run_id, "its log is deleted, and no sweep noticed"))
        unordered = {run_id for run_id, _ in self.feed.lost | self.function.discarded} | self.feed.late
        for run_id in self.oracle.cut - unordered if self.function.is_in_order else ():
            if not self._judge.is_known_to_be_diverged(run_id):
                wrong = self._judge.findings(run_id)
                self.findings += (
                    Finding(run_id, f"its log was restored, and nobody noticed: {what}") for what in wrong
                )
        self._stop_at_findings()

    def _mend_what_no_sweep_sees(self) -> None:
        """Mend, as an operator does, what was restored, and what has ended and is in no list of what was begun any more."""
        self.oracle.unjudged |= self.oracle.cut
        for run_id in sorted(self.oracle.cut):
            self.operators.catch_up(run_id, Fold.AGAIN, diverged=True)
        for run_id in self._begun:
            if run_id in self._restores.states and self.oracle.is_deleted(run_id):
                self.operators.catch_up(run_id, Fold.AGAIN)
            elif self.oracle.is_truncated(run_id) and run_id not in self.oracle.deadly:
                self.operators.catch_up(run_id)
        self._settle()
        self.oracle.unjudged.clear()

    def _judge_what_the_sweep_mended(self) -> None:
        for run_id in self._begun:
            wrong = self._judge.findings(run_id, self._pool.release.reducer)
            self.findings += (Finding(run_id, f"after the sweep: {what}") for what in wrong)
        self._stop_at_findings()

    def _bring_slices_up(self) -> None:
        """Let the plugins that are installed catch up with the runs that don't move any more; then fold their slices again.

        First they go on as they would at the run's next event, or when resumed. Each time all have to be right.
        """
        if self._pool.release.reducer == OLD and self._around.random.random() < 0.3:
            self._fold_again_without_plugins()
        runs = [run_id for run_id in self._begun if not self._judge.is_parked(run_id)]
        for run_id in runs:
            self.operators.catch_up(run_id, Fold.RESUME if self._judge.has_parked_slice(run_id) else Fold.NEW)
        self._settle()
        self._judge_slices()
        for run_id in runs:
            for plugin in self._pool.release.installed:
                self.operators.catch_up(run_id, Fold.AGAIN, plugin.name)
        self._settle()
        self._judge_slices()

    def _fold_again_without_plugins(self) -> None:
        """Deploy a new reducer while no plugin is installed, fold every run again, and install the plugins again."""
        plugins = self._pool.release.plugins
        self.operators.deploy(Release(NEW, tuple(each._replace(is_installed=False) for each in plugins)))
        for run_id in self._begun:
            if run_id not in self.oracle.deadly:
                self.operators.catch_up(run_id, Fold.NEW if self.oracle.is_truncated(run_id) else Fold.AGAIN)
        self._settle()
        self.operators.deploy(Release(NEW, plugins))

    def _judge_slices(self) -> None:
        for run_id in self._begun:
            wrong = self._judge.slices(run_id, self._pool.release)
            self.findings += (Finding(run_id, what) for what in wrong)
        self._stop_at_findings()

    def _judge_all(self) -> Figures:
        figures = Figures(
            simulations=1,
            runs=len(self._begun),
            events=self.feed.events,
            commits=self.feed.records,
            deliveries=self.function.mapping.counts.deliveries,
            writes=self.watch.writes,
            faults=self.faults.counts,
            mistaken=self._mistaken,
            slices=self.watch.slices,
        )
        for run_id in self._begun:
            wrong = self._judge.findings(run_id, self._pool.release.reducer)
            if not self._judge.is_deleted(run_id) and run_id not in self.oracle.cut:
                wrong += violations(self.history.calls[run_id], self.oracle.log(run_id))
            self.findings += (Finding(run_id, what) for what in wrong)
            figures.wrong += bool(wrong)
            figures.lost += self._judge.lost(run_id)
            figures.parked += self._judge.is_parked(run_id)
            figures.deleted += self._judge.is_deleted(run_id)
        self._stop_at_findings()
        return figures

    def _go_on(self, is_done: Callable[[], bool]) -> None:
        self.scheduler.run(lambda: bool(self.findings) or is_done())
        self._stop_at_findings()

    def _stop_at_findings(self) -> None:
        if self.findings:
            found = "\n".join(f"  {finding.run_id}: {finding.what}" for finding in self.findings[:10])
            raise SimulationError(f"seed {self.seed} at {self.scheduler.now - START:.3f} s:\n{found}\n{self.command()}")

    def command(self) -> str:
        """Return the command that shows this history."""
        size = self.size
        command = f"python -m tests.simulation --seed {self.seed} --events {size.events} --runs {size.runs}"
        return f"{command} --poison {size.poison} --agents {size.agents} --faults {self._rates_are} --trace"

    def _tick(self) -> None:
        self.function.tick(self._tick_seconds)
        self.operators.tick(self._tick_seconds)
        self._readers.tick(self._tick_seconds)
        self._strike()
        is_quiet = self.function.is_idle and not self.scheduler.tasks and not self.feed.held
        self._quiet_ticks = self._quiet_ticks + 1 if is_quiet else 0
        self.scheduler.after(self._tick_seconds, self._tick)

    def _strike(self) -> None:
        """Let what lies in tables go, or come back, if it is time to."""
        of_one_run = {
            "expire": self._expiry.strike,
            "restore_log": self._restores.restore_log,
            "restore_state": self._restores.restore_state,
            "break_state": self._restores.break_state,
        }
        for name, strike in of_one_run.items():
            if self._begun and self.faults.within(name, self._tick_seconds):
                strike(self._around.random.choice(self._begun))

    def _note(self, what: str) -> None:
        scheduler = self.scheduler
        line = f"{scheduler.now - START:10.3f} {scheduler.current.name if scheduler.current else '-'}: {what}"
        self.digest = crc32(line.encode(), self.digest)
        if self._tracing:
            self.trace.append(line)

    def _served(self, keys: int) -> int:
        """Say of how many keys of a BatchGetItem the table has time for."""
        if not self.faults.strikes("unprocessed_keys"):
            return keys
        if self.scheduler.current is not None:
            self.scheduler.current.was_held_up = True  # it waits before it asks again
        return self._around.random.randrange(keys)

    # ------------------------------------------------------------ who is in it

    def _process(self, release: Release, number: int) -> Process:
        client, streams = Client(self._network, self._database), StreamsClient(self._network, self.feed.stream)
        return Process(
            self._around,
            client,
            streams,
            (_EVENTS.name, _STATES.name),
            self._versions.dispatch(release),
            release=release,
            number=number,
        )

    def _writers(self) -> Writers:
        """Start a process in which agents write."""
        client: Any = Client(self._network, self._database)
        writers = Writers(EventLog(client, _EVENTS.name, now=self._around.now, expire_after=self._expire_after))
        if self._around.random.random() < 0.5:
            writers.log._heads = BoundedCache(_HEADS_BYTES)
        self._processes.append(writers)
        return writers

    def _logs(self) -> list[EventLog]:
        """Return the logs of the processes in which agents write now."""
        self._processes = [writers for writers in self._processes if writers.heirs is None]
        return [writers.log for writers in self._processes]

    def _start_agent(self, writers: Writers, plan: Plan | None) -> None:
        """Start an agent, with the run that another one left when it died."""
        self._agents += 1
        name, in_hand = f"agent-{self._agents}", [plan]
        agent = Agent(self._around, writers.log, name, self._poisoner, self.history)

        def body() -> None:
            while in_hand[0] is not None or self._waiting:
                if in_hand[0] is None:
                    in_hand[0] = self._next_plan()
                agent.write(in_hand[0], self.size.think)
                in_hand[0] = None
            agent.finish(self.size.think)
            self._writing -= 1

        def die() -> None:
            """Let the whole process die with it, and another begin, in which all who died go on."""
            agent.die()
            if writers.heirs is None:
                writers.heirs = self._writers()
                for each in writers.tasks:
                    self.scheduler.kill(each)
            self._start_agent(writers.heirs, in_hand[0])

        delay = self._around.soon(self.size.think)
        writers.tasks.append(self.scheduler.start(name, body, self._pool.release, delay=delay, if_killed=die))

    def _next_plan(self) -> Plan:
        plan = self._waiting.pop()
        if not self._begun or self._begun[-1] != plan.run_id:
            self._begun.append(plan.run_id)
        self._deploy_up_to(len(self._begun))
        return plan

    def _deploy_up_to(self, begun: int) -> None:
        """Deploy what is due when so many runs have begun."""
        while self._to_deploy and self._to_deploy[0][0] <= begun:
            self.operators.deploy(self._to_deploy.pop(0)[1])

    def _planned(self) -> list[Plan]:
        """Say which runs are to be written. Two agents share a run where its plan is there twice."""
        random, size = self._around.random, self.size
        marks = sorted(random.randrange(size.events) for _ in range(size.runs - 1))
        counts = [max(2, end - start) for start, end in zip([0, *marks], [*marks, size.events], strict=True)]
        plans = [
            Plan(
                run_id=f"run-{number}",
                events=count,
                record=random.choices(["first", "late", "never"], [20, 1, 1])[0],
                created_at=self._around.moment(),
                has_metadata=random.random() < 0.8,
                has_start=random.random() < 0.8,
                is_at_once=random.random() < 0.2,
                is_bulky=random.random() < 0.002,
            )
            for number, count in enumerate(counts)
        ]
        for _ in range(size.poison):
            plan = random.choice(plans)
            plan.poison.append((random.randrange(1, plan.events + 1), self._poisoner.drawn(size.kinds)))
            plan.poison.sort()
        return [plan for plan in plans for _ in range(2 if random.random() < 0.2 else 1)]


def _drawn(random: Random) -> MappingSettings:
    """Draw settings of the mapping as a user may choose them."""
    return MappingSettings(
        batch_size=random.choice([1, 3, 10, 100]),
        batching_window_seconds=random.choice([0, 1]),
        maximum_retry_attempts=random.choice([1, 5, 50]),
        maximum_record_age_seconds=21_600,
        bisect_batch_on_function_error=random.random() < 0.8,
        report_batch_item_failures=True,
        parallelization_factor=random.choice([1, 2, 4]),
    )
