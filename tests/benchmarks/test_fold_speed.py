"""Decode and fold of commits of 20 events, against what one writes by hand: `json.loads`, and a function per type in a dict."""

from __future__ import annotations

import json
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from behest_core import interchange
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.packing import array_of
from tests.benchmarks.measuring import ROUNDS, Compared, in_turns
from tests.golden import SEED_FOLD, airline_runs, golden_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from behest_core.model.state import RunState

EVENTS_PER_COMMIT = 20
GOAL = 5.0


def by_hand(run_id: str, payloads: list[bytes]) -> dict[str, Any]:
    """Fold commits the way it is written by hand."""
    state: dict[str, Any] = {
        "run_id": run_id,
        "status": "Pending",
        "iteration": 0,
        "total_usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        "event_count": 0,
    }
    for payload in payloads:
        for event in json.loads(payload):
            handler = BY_HAND.get(event["type"])
            if handler is not None:
                handler(state, event)
            state["event_count"] += 1
            state["updated_at"] = event["timestamp"]
    return state


def _started(state: dict[str, Any], event: dict[str, Any]) -> None:
    state.update(status="SessionLoaded", provider=event["provider"], model=event["model"])


def _model(state: dict[str, Any], event: dict[str, Any]) -> None:
    state.update(status="CallingModel", iteration=event["iteration"])


def _usage(state: dict[str, Any], event: dict[str, Any]) -> None:
    total, usage = state["total_usage"], event["usage"]
    total["input_tokens"] += usage["input_tokens"]
    total["output_tokens"] += usage["output_tokens"]
    total["total_tokens"] = total["input_tokens"] + total["output_tokens"]


BY_HAND: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    "RunStarted": _started,
    "ModelStarted": _model,
    "UsageRecorded": _usage,
    "RunCompleted": lambda state, event: state.update(status="Completed", last_finish=event["finish_reason"]),
    "RunFailed": lambda state, event: state.update(status="Failed", last_error=event["error"]),
    "RunCancelled": lambda state, event: state.update(status="Cancelled"),  # noqa: ARG005 (as all of them)
}


def runs_of_commits(file: Path | None = None) -> list[list[Commit]]:
    runs = []
    for number, line in enumerate(golden_lines(file or airline_runs() or SEED_FOLD), 1):
        run = interchange.read_run("golden", number, line)
        events = iter(run.events)
        commits: list[Commit] = []
        while batch := list(islice(events, EVENTS_PER_COMMIT)):
            first = 1 + len(commits) * EVENTS_PER_COMMIT
            payload = array_of(event.raw for event in batch)
            commits.append(Commit(run_id=run.record.run_id, sequence=first, count=len(batch), payload=payload))
        if commits:
            runs.append(commits)
    return runs


def compared(
    runs: Sequence[Sequence[Commit]],
    one: Callable[[Sequence[Commit]], object],
    other: Callable[[Sequence[Commit]], object],
    *,
    repeats: int = 1,
) -> Compared:
    """Fold each run in both ways, in turns."""
    events = sum(commit.count for commits in runs for commit in commits)
    return in_turns([(commits, commits) for commits in runs], events, one, other, repeats=repeats)


def nanoseconds(work: Callable[[], object], events: int) -> float:
    start = time.process_time_ns()
    work()
    return (time.process_time_ns() - start) / events


@pytest.mark.benchmark
def test_decode_and_fold_against_json_and_a_dict():
    runs = runs_of_commits()
    events = sum(commit.count for commits in runs for commit in commits)

    def ours() -> list[RunState | None]:
        return [fold(None, commits).state for commits in runs]

    def theirs() -> list[dict[str, Any]]:
        return [by_hand(commits[0].run_id, [commit.payload for commit in commits]) for commits in runs]

    for state, hand in zip(ours(), theirs(), strict=True):
        assert state is not None
        assert hand.items() <= msgspec.to_builtins(state).items()
    pairs = [(nanoseconds(ours, events), nanoseconds(theirs, events)) for _ in range(ROUNDS)]
    mine, hand_written = (min(column) for column in zip(*pairs, strict=True))
    ratios = sorted(hand / our for our, hand in pairs)
    print(
        f"\n{events:,} events in commits of {EVENTS_PER_COMMIT}: {mine:.0f} ns per event, by hand {hand_written:.0f}; "
        f"{ratios[len(ratios) // 2]:.1f} times as fast (goal {GOAL:g}, seen {ratios[0]:.1f} to {ratios[-1]:.1f})"
    )
