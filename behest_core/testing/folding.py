"""Folding events with a plugin, for tests that look at the whole slice, or at commits that no agent would write.

`given` of `given_when_then` is simpler where a test says what a few events do to a few fields.
"""

from __future__ import annotations

import random
from functools import reduce
from typing import TYPE_CHECKING, Any

from behest_core.fold.rules import fold
from behest_core.plugins.loading import compiled
from behest_core.testing.builders import commit, record_commit, run_record
from behest_core.testing.given_when_then import used

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.fold.dispatch import Dispatch
    from behest_core.model.commit import Commit
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.state import ExtensionSlice, RunState

_MOST_IN_A_BATCH = 4


def table_of(plugin: object) -> Dispatch:
    """Return the compiled table with this plugin alone: a module or object with hook implementations.

    Raises AssertionError where behest refuses it.
    """
    return compiled([used(plugin)]).dispatch


def commits_of(*events: NewEvent, metadata: JSON = None) -> list[Commit]:
    """Return a run's record, and a commit for each event."""
    log = [commit(sequence, event) for sequence, event in enumerate(events, 1)]
    return [record_commit(run_record(metadata=metadata)), *log]


def folded(log: Sequence[Commit], using: Dispatch) -> RunState:
    """Return the state that a log folds to. Raises AssertionError where the run is parked."""
    state = fold(None, log, using).state
    assert state is not None  # noqa: S101 (asserting is what it is for)
    assert state.parked is None, f"the run is parked: {state.parked}"  # noqa: S101
    return state


def slice_of(using: Dispatch, *events: NewEvent, metadata: JSON = None) -> Any:  # noqa: ANN401 (what the extension keeps)
    """Return the state of the table's only extension after these events. Raises AssertionError where it is parked or behind."""
    [piece] = folded(commits_of(*events, metadata=metadata), using).extensions.values()
    assert piece.parked is None, f"the slice is parked: {piece.parked}"  # noqa: S101
    assert piece.sequence == len(events), f"the slice is at {piece.sequence}, the log at {len(events)}"  # noqa: S101
    return piece.state


def slices_of_any_cut(using: Dispatch, log: Sequence[Commit], cuts: int = 20) -> list[dict[str, ExtensionSlice]]:
    """Return the slices after the log came in batches cut at random, `cuts` times, some commits twice."""
    draw = random.Random(7)
    found = []
    for _ in range(cuts):
        batches, left = [], list(log)
        while left:
            size = draw.randint(1, _MOST_IN_A_BATCH)
            batches.append(left[:size])
            left = left[size - draw.randint(0, 1) * (len(left) > size > 1) :]
        state: RunState | None = reduce(lambda before, batch: fold(before, batch, using).state, batches, None)
        assert state is not None  # noqa: S101
        found.append(state.extensions)
    return found


def assert_any_cut_gives_the_same(using: Dispatch, *events: NewEvent, metadata: JSON = None) -> None:
    """Assert that the slices don't depend on how the log came in batches. Raises AssertionError."""
    log = commits_of(*events, metadata=metadata)
    whole = folded(log, using).extensions
    assert all(cut == whole for cut in slices_of_any_cut(using, log))  # noqa: S101
