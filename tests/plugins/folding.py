"""Folding events with one extension, as the tests of all plugins do."""

from __future__ import annotations

import random
from functools import reduce
from typing import TYPE_CHECKING, Any

from behest_core.fold.rules import fold
from behest_core.plugins.loading import compiled, plugin_from
from tests.builders import commit, record_commit, run_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from behest_core.fold.dispatch import Dispatch
    from behest_core.model.commit import Commit
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.state import ExtensionSlice, RunState


def table_of(plugin: ModuleType | object) -> Dispatch:
    """Return the compiled table with this plugin alone: a module or object with hooks."""
    loaded = compiled([plugin_from(plugin, "plugin")])
    assert loaded.refused == ()
    return loaded.dispatch


def commits_of(*events: NewEvent, metadata: JSON = None) -> list[Commit]:
    """Return a run's record, and a commit for each event."""
    log = [commit(sequence, event) for sequence, event in enumerate(events, 1)]
    return [record_commit(run_record(metadata=metadata)), *log]


def folded(log: Sequence[Commit], using: Dispatch) -> RunState:
    state = fold(None, log, using).state
    assert state is not None
    assert state.parked is None
    return state


def slice_of(using: Dispatch, *events: NewEvent, metadata: JSON = None) -> Any:
    """Return the state of the table's only extension after these events, and check that it goes on."""
    [piece] = folded(commits_of(*events, metadata=metadata), using).extensions.values()
    assert piece.parked is None, piece.parked
    assert piece.sequence == len(events)
    return piece.state


def slices_of_any_cut(using: Dispatch, log: Sequence[Commit], cuts: int = 20) -> list[dict[str, ExtensionSlice]]:
    """Return the slices after the log came in batches cut at random, several times, some commits twice."""
    draw = random.Random(7)
    found = []
    for _ in range(cuts):
        batches, left = [], list(log)
        while left:
            size = draw.randint(1, 4)
            batches.append(left[:size])
            left = left[size - draw.randint(0, 1) * (len(left) > size > 1) :]
        state = reduce(lambda before, batch: fold(before, batch, using).state, batches, None)
        assert state is not None
        found.append(state.extensions)
    return found


def assert_any_cut_gives_the_same(using: Dispatch, *events: NewEvent, metadata: JSON = None) -> None:
    log = commits_of(*events, metadata=metadata)
    whole = folded(log, using).extensions
    assert all(cut == whole for cut in slices_of_any_cut(using, log))
