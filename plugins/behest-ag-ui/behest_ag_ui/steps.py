"""Steps: the steps and subagents of one run that are open, so that each has an id of its own, and an end.

- The protocol's steps have a name only: one that comes again has the name and a number for its id. Its end is that of the latest
  which is open.
- A subagent that does something before it is said to have begun, or that is never said to, begins by that.
- What is open when the run ends, ends with it.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from ag_ui.core import (
    BaseEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
)
from msgspec import UNSET

from behest_ag_ui.translation import error_of, given, step_of, time_of
from behest_core.model.agent_events import StepFinished, StepStarted
from behest_core.model.timestamps import from_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from behest_core.model.events import NewEvent


class Steps:
    """The steps of one run."""

    def __init__(self) -> None:
        self._open: dict[str, datetime] = {}  # when each began, in that order
        self._named: list[tuple[object, str, str]] = []  # those that have a name only: subagent, name, id
        self._names: Counter[str] = Counter()
        self._subagents: set[str] = set()

    def take(self, event: BaseEvent) -> Iterator[NewEvent]:
        """Return the steps that begin or end with this event."""
        at = time_of(event)
        match event:
            case SubagentStartedEvent(subagent_run_id=step_id, name=name):
                yield from self._known(event.parent_subagent_run_id, at)
                if step_id not in self._open:
                    self._subagents.add(step_id)
                    yield self._begun(step_id, name, "agent", event.parent_subagent_run_id, at)
            case SubagentFinishedEvent(subagent_run_id=step_id):
                yield from self._ended(step_id, at)
            case SubagentErrorEvent(subagent_run_id=step_id):
                yield from self._ended(step_id, at, error_of(event))
            case _:
                yield from self._known(step_of(event) or None, at)
                yield from self._by_name(event, at)

    def end_all(self, at: datetime, error: str | None = None) -> Iterator[NewEvent]:
        """Return the ends of the steps that have none, the latest first."""
        for step_id in reversed(list(self._open)):
            yield from self._ended(step_id, at, error)

    def _by_name(self, event: BaseEvent, at: datetime) -> Iterator[NewEvent]:
        lane = step_of(event)
        if isinstance(event, StepStartedEvent):
            name = event.step_name
            self._names[name] += 1
            step_id = name if self._names[name] == 1 else f"{name}#{self._names[name]}"
            self._named.append((lane, name, step_id))
            yield self._begun(step_id, name, "step", lane or None, at)
        elif isinstance(event, StepFinishedEvent):
            named = [each for each in self._named if each[:2] == (lane, event.step_name)]
            if named:
                self._named.remove(named[-1])
                yield from self._ended(named[-1][2], at)

    def _known(self, subagent: str | None, at: datetime) -> Iterator[NewEvent]:
        if subagent and subagent not in self._subagents:
            self._subagents.add(subagent)
            yield self._begun(subagent, subagent, "agent", None, at)

    def _begun(self, step_id: str, name: str, kind: str, parent: str | None, at: datetime) -> StepStarted:
        self._open[step_id] = at
        return StepStarted(
            step_id=step_id, name=name, kind=kind, parent_step_id=given(parent), timestamp=from_datetime(at)
        )

    def _ended(self, step_id: str, at: datetime, error: str | None = None) -> Iterator[NewEvent]:
        began = self._open.pop(step_id, None)
        if began is not None:
            yield StepFinished(
                step_id=step_id,
                error=UNSET if error is None else error,
                duration_ms=max(0, (at - began) // timedelta(milliseconds=1)),
                timestamp=from_datetime(at),
            )
