"""Decode and fold of commits of 20 events with the four plugins of this repository, against the same without any."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import behest_approvals
import behest_cost
import behest_lineage
import behest_tools
import pytest

from behest_core.dispatch import CORE
from behest_core.fold import fold
from behest_core.plugins import compiled, plugin_from
from tests.benchmarks.test_fold_speed import EVENTS_PER_COMMIT, ROUNDS, nanoseconds, runs_of_commits

if TYPE_CHECKING:
    from behest_core.dispatch import Dispatch

OURS = (behest_approvals, behest_cost, behest_lineage, behest_tools)
GOAL = 2.0
LOADING_MS = 30.0


@pytest.mark.benchmark
def test_decode_and_fold_with_the_four_plugins_against_none():
    began = time.perf_counter_ns()
    loaded = compiled([plugin_from(each, each.__name__) for each in OURS])
    loading = (time.perf_counter_ns() - began) / 1e6
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
        f"{ratios[len(ratios) // 2]:.2f} times as long (goal {GOAL:g}, seen {ratios[0]:.2f} to {ratios[-1]:.2f}). "
        f"Compiling them took {loading:.1f} ms (goal {LOADING_MS:g}, without importing them)"
    )
