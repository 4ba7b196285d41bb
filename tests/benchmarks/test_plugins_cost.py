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
from msgspec.structs import replace

from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import fold
from behest_core.plugins.loading import compiled, plugin_from
from tests.benchmarks.test_fold_speed import EVENTS_PER_COMMIT, compared, runs_of_commits
from tests.golden import ROOT, SEED_FOLD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from behest_core.model.commit import Commit
    from tests.benchmarks.measuring import Compared

OURS = (behest_approvals, behest_cost, behest_lineage, behest_tools)
GOAL = 2.3
GOAL_OF_SHORT = 2.0
GOAL_OF_UNKNOWN = 1.1
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


@pytest.fixture(scope="module")
def four() -> Dispatch:
    loaded = compiled([plugin_from(each, each.__name__) for each in OURS])
    assert loaded.refused == ()
    return loaded.dispatch


def whole(dispatch: Dispatch) -> Callable[[Sequence[Commit]], object]:
    """Return what folds a run at once."""
    return lambda commits: fold(None, commits, dispatch)


def commit_by_commit(dispatch: Dispatch) -> Callable[[Sequence[Commit]], object]:
    """Return what folds each commit of a run by itself, onto the state that is at hand, as a warm projector does."""

    def each(commits: Sequence[Commit]) -> None:
        state = None
        for commit in commits:
            state = fold(state, [commit], dispatch).state

    return each


def told(what: str, found: Compared, goal: float) -> None:
    print(
        f"\n{what}: {found.one:.0f} ns per event without plugins, {found.other:.0f} with four; {found} (goal {goal:g})"
    )


@pytest.mark.benchmark
def test_long_runs_with_the_four_plugins_against_none(four):
    runs = runs_of_commits()
    events = sum(commit.count for commits in runs for commit in commits)
    found = compared(runs, whole(CORE), whole(four))
    told(f"{events:,} events in commits of {EVENTS_PER_COMMIT}, a run at once", found, GOAL)


@pytest.mark.benchmark
def test_one_commit_at_a_time_with_the_four_plugins_against_none(four):
    runs = runs_of_commits()
    found = compared(runs, commit_by_commit(CORE), commit_by_commit(four))
    told(f"commits of {EVENTS_PER_COMMIT}, each in a fold of its own", found, GOAL_OF_SHORT)


@pytest.mark.benchmark
def test_short_runs_with_the_four_plugins_against_none(four):
    runs = runs_of_commits(SEED_FOLD)
    events = sum(commit.count for commits in runs for commit in commits)
    found = compared(runs, whole(CORE), whole(four), repeats=10)
    told(f"runs of {events / len(runs):.0f} events", found, GOAL_OF_SHORT)


@pytest.mark.benchmark
@pytest.mark.parametrize("with_plugins", [False, True])
def test_commits_with_an_event_of_a_type_that_nobody_knows_against_those_without(with_plugins, four):
    """Each commit has one more event; it takes as long as any other that nobody listens to."""
    dispatch = four if with_plugins else Dispatch()
    known = [_with_one_more(commits, b"ToolCallDelta") for commits in runs_of_commits()]
    unknown = {commits[0].run_id: _with_one_more(commits, b"unheard.Of") for commits in runs_of_commits()}
    found = compared(known, whole(dispatch), lambda commits: fold(None, unknown[commits[0].run_id], dispatch))
    print(
        f"\none event of an unknown type in each commit, {'four plugins' if with_plugins else 'no plugins'}: "
        f"{found.one:.0f} ns per event without, {found.other:.0f} with; {found} (goal {GOAL_OF_UNKNOWN:g})"
    )


def _with_one_more(commits: Sequence[Commit], type_: bytes) -> list[Commit]:
    event = b'{"type":"%b","timestamp":"2026-01-31T12:00:00Z","call_id":"call-1","delta":"some text"}' % type_
    return [
        replace(
            commit,
            sequence=commit.sequence + place,
            count=commit.count + 1,
            payload=commit.payload[:-1] + b"," + event + b"]",
        )
        for place, commit in enumerate(commits)
    ]


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
