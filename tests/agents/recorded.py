"""What adapters recorded, as their tests ask for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from behest_core.fold.rules import fold

if TYPE_CHECKING:
    from behest_core.model.record import RunRecord
    from behest_core.model.state import RunState
    from behest_core.testing import LocalStack


class Recorded(NamedTuple):
    """A run as it lies in the log: its record, what its log folds to, and its events as JSON objects."""

    record: RunRecord
    state: RunState
    events: list[dict[str, Any]]

    @property
    def types(self) -> list[str]:
        """The types of the events, in order."""
        return [each["type"] for each in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a type."""
        return [each for each in self.events if each["type"] == kind]

    @property
    def text(self) -> str:
        """What the model wrote, put together."""
        return "".join(each["delta"] for each in self.of("TextDelta"))


def recorded(stack: LocalStack, run_id: str) -> Recorded:
    """Read a run from its log."""
    state = fold(None, stack.store.event_log.commits(run_id)).state
    assert state is not None
    events = [json.loads(each.raw) for each in stack.store.events(run_id)]
    return Recorded(stack.store.get_record(run_id), state, events)


def all_recorded(stack: LocalStack) -> list[Recorded]:
    """Read every run, in the order in which they were created."""
    runs = [recorded(stack, run_id) for run_id in set(stack.store.event_log.run_ids())]
    return sorted(runs, key=lambda run: run.record.created_at)


def the_recorded(stack: LocalStack) -> Recorded:
    """Read the only run there is."""
    [run] = all_recorded(stack)
    return run
