"""A run's state as it was at a sequence or at a time: its log, cut there and folded."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.json import Decoder

from behest_core.cli.failures import CommandError
from behest_core.cli.whole_log import whole_log
from behest_core.errors import MalformedRecordError, RunNotFoundError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import fold
from behest_core.model.commit import until
from behest_core.model.decoding import DECODE_ERRORS, split
from behest_core.model.record import decode_record
from behest_core.model.timestamps import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.model.commit import Commit
    from behest_core.model.state import RunState


class _Timed(Struct, gc=False):
    timestamp: str


_read_timed = Decoder(_Timed).decode


def state_at_sequence(log: EventLog, run_id: str, sequence: int, dispatch: Dispatch = CORE) -> RunState:
    """Fold a run's log up to a sequence; 0 is its record alone.

    Raises CommandError where the log isn't as long, RunNotFoundError, and IncompleteLogError where its beginning has expired.
    """
    state = _fold(run_id, until(whole_log(log, run_id), sequence), dispatch)
    if state.parked is None and state.sequence < sequence:
        raise CommandError(f"run {run_id} has no sequence {sequence}: its log ends at {state.sequence}")
    return state


def state_at_time(log: EventLog, run_id: str, moment: str, dispatch: Dispatch = CORE) -> RunState:
    """Fold a run's log up to its first event that is later than `moment`, a time in canonical form.

    The order is that of sequence, even where clocks went back: what follows a later event isn't looked at. Raises CommandError
    where the run began later, RunNotFoundError, and IncompleteLogError where the log's beginning has expired.
    """
    return _fold(run_id, _until_time(whole_log(log, run_id), moment), dispatch)


def _fold(run_id: str, commits: Iterable[Commit], dispatch: Dispatch) -> RunState:
    state = fold(None, commits, dispatch).state
    if state is None:
        raise RunNotFoundError(run_id)
    return state


def _until_time(commits: Iterator[Commit], moment: str) -> Iterator[Commit]:
    for first in commits:
        if _is_later(first, moment):
            raise CommandError(f"run {first.run_id} began after {moment}")
        for commit in chain([first], commits):
            count = commit.count if commit.is_record else _count_until(commit, moment)
            if count < commit.count:
                yield from until([commit], commit.sequence + count - 1)
                return
            yield commit


def _is_later(first: Commit, moment: str) -> bool:
    """Return whether a run began after the moment, given the first commit of its log."""
    if not first.is_record:
        return _count_until(first, moment) == 0
    try:
        return canonical(decode_record(first).created_at) > moment
    except MalformedRecordError:
        return False


def _count_until(commit: Commit, moment: str) -> int:
    """Count the commit's events before the first that is later; all of them where one can't be read: the fold parks there."""
    count = 0
    try:
        for event in split(commit.payload):
            if canonical(_read_timed(event).timestamp) > moment:
                return count
            count += 1
    except (*DECODE_ERRORS, ValueError):
        return commit.count
    return commit.count
