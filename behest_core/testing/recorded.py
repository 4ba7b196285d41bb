"""What an adapter to an agent framework recorded, as its tests ask for it, and what may stand in its way.

    agent("How warm is it in Oslo?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "RunCompleted"]

The fixture `stack` is one of `behest_core.testing.fixtures`.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from behest_core.fold.rules import fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.model.record import RunRecord
    from behest_core.model.state import RunState
    from behest_core.store import RunStore
    from behest_core.testing.local_stack import LocalStack


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


def recorded(store: RunStore, run_id: str) -> Recorded:
    """Return a run, read from its log."""
    state = fold(None, store.event_log.commits(run_id)).state
    assert state is not None, f"nothing was recorded of run {run_id}"  # noqa: S101 (asserting is what it is for)
    events = [json.loads(each.raw) for each in store.events(run_id)]
    return Recorded(store.get_record(run_id), state, events)


def all_recorded(store: RunStore) -> list[Recorded]:
    """Return every run, in the order in which they were created."""
    runs = [recorded(store, run_id) for run_id in set(store.event_log.run_ids())]
    return sorted(runs, key=lambda run: run.record.created_at)


def the_recorded(store: RunStore) -> Recorded:
    """Return the only run. Raises AssertionError where there is none, or several."""
    runs = all_recorded(store)
    assert len(runs) == 1, f"{len(runs)} runs were recorded: {[run.record.run_id for run in runs]}"  # noqa: S101
    return runs[0]


def when_answered(seconds: float = 30) -> None:
    """Wait until all answers to paused runs that were given are in the logs; they are told in the background."""
    for thread in threading.enumerate():
        if thread.name.startswith("behest-answer-"):
            thread.join(seconds)


def refuse_writes(stack: LocalStack) -> Callable[[], None]:
    """Throttle every write from now on. Return the function that lets them through again."""
    events, name = stack.dynamodb.meta.events, "before-call.dynamodb.PutItem"

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "PutItem")

    events.register_first(name, refuse)
    return lambda: events.unregister(name, refuse)
