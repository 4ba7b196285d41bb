"""Runs that have stopped without an end, and how they are given one.

- A run is stuck if it is active, its state covers its log and isn't parked, and its last event and the commit that this came in
  are older than somebody allows. How long an agent may be silent, only its owner knows; with a recorder's `heartbeat` it needs
  to be no longer than some of those.
- A run that waits for somebody (`RunState.waiting_since`) isn't stuck, however long. A state of an earlier reducer can't say so:
  then the run waits if the last event of its log is agent.Paused.
- Who gives a stuck run its end appends it where the log was seen to end: a run that has moved meanwhile goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.dynamodb.items import LAST_POSITION
from behest_core.errors import RunDeletedError, SequenceConflictError
from behest_core.model.agent_events import Paused
from behest_core.model.events import NO_SIGN_OF_LIFE, RunFailed
from behest_core.model.packing import last_event
from behest_core.model.timestamps import from_datetime, is_before

if TYPE_CHECKING:
    from datetime import datetime

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.model.commit import Commit
    from behest_core.model.state import RunState


def last_sign(log: EventLog, state: RunState, before: datetime) -> Commit | None:
    """Return the last commit of a run that is stuck, as it shows nothing since `before`; None where it isn't stuck.

    Reads the log only if the state looks like it. A run that was deleted isn't stuck.
    """
    if state.status.is_terminal or state.parked is not None or state.waiting_since is not None:
        return None
    if not is_before(state.updated_at or "", before):
        return None
    try:
        last = log.last_commit(state.run_id, LAST_POSITION)
    except RunDeletedError:
        return None
    if last is None or last.last != state.sequence or not is_before(last.committed_at, before):
        return None
    return None if isinstance(last_event(last), Paused) else last


def expire(log: EventLog, last: Commit, now: datetime) -> bool:
    """Record that a run has failed whose last commit is this one, and say whether it was: not if anything else came first."""
    failed = RunFailed(error=f"{NO_SIGN_OF_LIFE} {last.committed_at or 'ever'}", timestamp=from_datetime(now))
    try:
        log.append(last.run_id, [failed], expected_sequence=last.last)
    except SequenceConflictError:
        return False
    return True
