"""The simulation itself: a seed is a history, a failing one says how to see it again, and every fault does strike."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import fields

import pytest

from behest_core.testing import FunctionKilled
from tests.golden import ROOT
from tests.simulation.checks import Step
from tests.simulation.faults import WORST, Rates
from tests.simulation.figures import Figures
from tests.simulation.mutants import MUTANTS, Edit, mutate
from tests.simulation.scheduler import Scheduler
from tests.simulation.world import SimulationError, Size, World

SMALL = Size(events=200, runs=6)
DIGEST = "from tests.simulation.world import *; w = World(5, Size(events=200, runs=6)); w.run(); print(w.digest)"


def digest_of(seed, **more):
    world = World(seed, SMALL, **more)
    world.run()
    return world.digest


def test_a_seed_gives_the_same_history_each_time_traced_or_not():
    assert digest_of(5) == digest_of(5) == digest_of(5, tracing=True)
    assert digest_of(5) != digest_of(6)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_gives_the_same_history_in_every_process(hash_seed):
    done = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(done.stdout) == digest_of(5)


def test_a_failing_history_names_its_seed_and_shows_itself_again(monkeypatch):
    mutate(monkeypatch, *MUTANTS["folds duplicates"])
    with pytest.raises(SimulationError, match=r"python -m tests\.simulation --seed 5 --events 200 --runs 6 ") as first:
        World(5, SMALL).run()
    world = World(5, SMALL, tracing=True)
    with pytest.raises(SimulationError) as again:
        world.run()
    assert str(first.value) == str(again.value)
    assert any("PutItem" in line for line in world.trace)


def test_no_thread_is_left_behind(monkeypatch):
    before = set(threading.enumerate())  # others' may end meanwhile
    mutate(monkeypatch, *MUTANTS["folds duplicates"])
    with pytest.raises(SimulationError):
        World(5, SMALL).run()
    assert set(threading.enumerate()) <= before


def test_every_fault_strikes():
    figures = Figures()
    for seed in range(3):
        figures += World(seed, rates=WORST).run()
    missing = {each.name for each in fields(Rates) if getattr(WORST, each.name)} - figures.faults.keys()
    assert missing == {"stale_read"}, "every read of a table is to be consistent"


def test_every_step_of_a_plugins_life_is_taken():
    missing = {step.value for step in Step}
    for seed in range(10, 40):
        missing -= World(seed).run().slices.keys()
        if not missing:
            return
    pytest.fail(f"30 simulations took no such step: {', '.join(sorted(missing))}")


def test_without_faults_a_history_has_none_and_each_record_is_delivered_once():
    world = World(1, Size(poison=0), rates=Rates.none())
    figures = world.run()
    assert figures.faults.keys() <= {"deploy"}
    assert world.function.mapping.counts.records == world.feed.records


def test_a_mutant_that_no_longer_fits_the_code_is_refused(monkeypatch):
    with pytest.raises(AssertionError, match="0 times, not once"):
        mutate(monkeypatch, Edit(Scheduler, "run", "no such text", ""))


# ---------------------------------------------------------------- the scheduler


@pytest.fixture
def scheduler():
    scheduler = Scheduler(0.0)
    yield scheduler
    scheduler.close()


def test_tasks_take_turns_as_their_sleep_ends(scheduler):
    said = []

    def sleeper(name, *pauses):
        def body():
            for pause in pauses:
                scheduler.sleep(pause)
                said.append((scheduler.now, name))

        scheduler.start(name, body, 1)

    sleeper("a", 1, 4, 2)
    sleeper("b", 3, 3)
    scheduler.run(lambda: False)
    assert said == [(1, "a"), (3, "b"), (5, "a"), (6, "b"), (7, "a")]


def test_a_killed_task_dies_where_it_sleeps_and_whoever_asked_hears_of_it(scheduler):
    said = []

    def body():
        try:
            scheduler.sleep(5)
        except FunctionKilled:
            said.append("dying")
            raise
        said.append("alive")

    task = scheduler.start("a", body, 1, if_killed=lambda: said.append("dead"))
    scheduler.after(1, lambda: scheduler.kill(task))
    scheduler.run(lambda: False)
    assert said == ["dying", "dead"]


def test_what_a_task_raises_is_raised_where_the_scheduler_runs(scheduler):
    def body():
        raise ValueError("a bug")

    scheduler.start("a", body, 1)
    with pytest.raises(ValueError, match="a bug"):
        scheduler.run(lambda: False)
