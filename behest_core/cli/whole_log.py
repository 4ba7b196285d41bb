"""A run's whole log, in one query: its record and its events, with no gap between them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from behest_core.dynamodb.event_table import RecordedEvent
from behest_core.errors import IncompleteLogError, MalformedEventError
from behest_core.model.decoding import DECODE_ERRORS, split
from behest_core.model.record import decode_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.model.commit import Commit
    from behest_core.model.record import RunRecord


def whole_log(log: EventLog, run_id: str) -> Iterator[Commit]:
    """Read all commits of a run, the record among them. Raises IncompleteLogError at a gap, a missing beginning included."""
    end = 0
    for commit in log.commits(run_id):
        if commit.sequence > end + 1:
            raise IncompleteLogError(run_id, end + 1, commit.sequence)
        end = commit.last
        yield commit


def record_and_events(log: EventLog, run_id: str) -> tuple[RunRecord | None, Iterator[RecordedEvent]]:
    """Read a run's record, if it has one, and its events.

    Raises MalformedRecordError; reading the events raises MalformedEventError at a commit that can't be cut into events, and
    IncompleteLogError.
    """
    commits = whole_log(log, run_id)
    first = next(commits, None)
    if first is None:
        return None, iter(())
    if first.is_record:
        return decode_record(first), _events(commits)
    return None, _events(chain([first], commits))


def _events(commits: Iterable[Commit]) -> Iterator[RecordedEvent]:
    for commit in commits:
        if commit.problem is not None:
            raise MalformedEventError(commit.run_id, commit.sequence, commit.problem)
        try:
            events = split(commit.payload)
        except DECODE_ERRORS as error:
            raise MalformedEventError(commit.run_id, commit.sequence, str(error)) from error
        if len(events) != commit.count:
            reason = f"`count` says {commit.count} events, `events` has {len(events)}"
            raise MalformedEventError(commit.run_id, commit.sequence, reason)
        for sequence, event in enumerate(events, start=commit.sequence):
            yield RecordedEvent(commit.run_id, sequence, commit.committed_at, bytes(event))
