"""What the four plugins of this repository cost: folding with them against folding without any, and loading them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import behest_approvals
import behest_cost
import behest_lineage
import behest_tools
import pytest

from behest_core.fold.dispatch import CORE
from behest_core.fold.rules import fold
from behest_core.plugins.loading import compiled, plugin_from
from tests.benchmarks.test_fold_speed import EVENTS_PER_COMMIT, ROUNDS, nanoseconds, runs_of_commits
from tests.golden import ROOT

if TYPE_CHECKING:
    from behest_core.fold.dispatch import Dispatch

OURS = (behest_approvals, behest_cost, behest_lineage, behest_tools)
GOAL = 2.0
LOADING_MS = 30.0
LOADINGS = 7

LOAD = """
import sys, time
import functions.projector.app
from behest_core.plugins.loading import load
before = time.process_time_ns()
loaded = load(sys.argv[1:])
print((time.process_time_ns() - before) / 1e6)
assert not loaded.refused
"""


@pytest.mark.benchmark
def test_decode_and_fold_with_the_four_plugins_against_none():
    loaded = compiled([plugin_from(each, each.__name__) for each in OURS])
    assert loaded.refused == ()
    runs = runs_of_commits()
    events = sum(commit.count for commits in runs for commit in commits)

    def folding(dispatch: Dispatch) -> float:
        return nanoseconds(lambda: [fold(None, commits, dispatch) for commits in runs], events)

    folding(CORE)
    pairs = [(folding(CORE), folding(loaded.dispatch)) for _ in range(ROUNDS)]
    none, four = (min(column) for column in zip(*pairs, strict=True))
    ratios = sorted(with_four / without for without, with_four in pairs)
    print(
        f"\n{events:,} events in commits of {EVENTS_PER_COMMIT}: {none:.0f} ns per event without plugins, {four:.0f} with four; "
        f"{ratios[len(ratios) // 2]:.2f} times as long (goal {GOAL:g}, seen {ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


@pytest.mark.benchmark
def test_loading_the_four_plugins_in_a_cold_projector():
    names = [each.__name__.removeprefix("behest_") for each in OURS]
    command = [sys.executable, "-c", LOAD, *names]
    environment = os.environ | {"AWS_DEFAULT_REGION": "eu-west-1", "POWERTOOLS_METRICS_NAMESPACE": "Behest"}
    found = [
        float(subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment).stdout)
        for _ in range(LOADINGS + 1)
    ]
    times = sorted(found[1:])  # the first one fills the file cache
    print(
        f"\nfinding, importing and compiling four plugins: {times[LOADINGS // 2]:.1f} ms of CPU "
        f"(goal {LOADING_MS:g}, seen {times[0]:.1f} to {times[-1]:.1f})"
    )
