"""A run's state as it was at a sequence or at a time: its log, cut there and folded. And what one event changed."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.json import Decoder

from behest_core.errors import InvalidValueError, MalformedRecordError, RunNotFoundError, StateNotFoundError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import fold, fold_on
from behest_core.model.decoding import DECODE_ERRORS, split
from behest_core.model.packing import until
from behest_core.model.record import decode_record
from behest_core.model.timestamps import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.model.commit import Commit
    from behest_core.model.state import RunState


class _Timed(Struct, gc=False):
    timestamp: str


_read_timed = Decoder(_Timed).decode


def state_at_sequence(run_id: str, log: Iterable[Commit], sequence: int, dispatch: Dispatch = CORE) -> RunState:
    """Fold a run's whole log up to a sequence; 0 is its record alone.

    Raises StateNotFoundError where the log isn't as long, RunNotFoundError where it is empty, and InvalidValueError.
    """
    if sequence < 0:
        raise InvalidValueError("sequence", f"expected 0 or more, got {sequence}")
    state = _fold(run_id, until(log, sequence), dispatch)
    if state.parked is None and state.sequence < sequence:
        raise _too_short(state, sequence)
    return state


def _too_short(state: RunState, sequence: int) -> StateNotFoundError:
    return StateNotFoundError(state.run_id, f"has no sequence {sequence}: its log ends at {state.sequence}")


class Around(NamedTuple):
    """A run's state before an event, None where there was none, and after it."""

    before: RunState | None
    after: RunState


def states_around(run_id: str, log: Iterable[Commit], sequence: int, dispatch: Dispatch = CORE) -> Around:
    """Fold a run's whole log up to a sequence, and keep the state before its last event as well. The log is gone through once.

    Raises as `state_at_sequence`.
    """
    if sequence < 1:
        return Around(None, state_at_sequence(run_id, log, sequence, dispatch))
    rest: list[Commit] = []
    state = fold(None, _up_to(log, sequence - 1, rest), dispatch).state
    before = deepcopy(state)
    if state is None:
        return Around(None, state_at_sequence(run_id, rest, sequence, dispatch))
    after = fold_on(state, until(rest, sequence), dispatch).state or state
    if after.parked is None and after.sequence < sequence:
        raise _too_short(after, sequence)
    return Around(before, after)


def _up_to(log: Iterable[Commit], sequence: int, rest: list[Commit]) -> Iterator[Commit]:
    """Return the commits up to a sequence, the last cut off there; put the one with what comes next into `rest`."""
    for commit in log:
        if commit.last > sequence:
            rest.append(commit)
            yield from until([commit], sequence)
            return
        yield commit


def state_at_time(run_id: str, log: Iterable[Commit], moment: str, dispatch: Dispatch = CORE) -> RunState:
    """Fold a run's whole log up to its first event that is later than `moment`, a time in canonical form.

    The order is that of sequence, even where clocks went back: what follows a later event isn't looked at. Raises
    StateNotFoundError where the run began later, and RunNotFoundError where the log is empty.
    """
    return _fold(run_id, _until_time(iter(log), moment), dispatch)


def _fold(run_id: str, commits: Iterable[Commit], dispatch: Dispatch) -> RunState:
    state = fold(None, commits, dispatch).state
    if state is None:
        raise RunNotFoundError(run_id)
    return state


def _until_time(commits: Iterator[Commit], moment: str) -> Iterator[Commit]:
    for first in commits:
        if _is_later(first, moment):
            raise StateNotFoundError(first.run_id, f"began after {moment}")
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
    except (MalformedRecordError, ValueError):
        return False


def _count_until(commit: Commit, moment: str) -> int:
    """Count the commit's events before the first that is later; all of them where one can't be read: the fold parks there."""
    count = 0
    try:
        for event in split(commit.read().json):
            if canonical(_read_timed(event).timestamp) > moment:
                return count
            count += 1
    except (*DECODE_ERRORS, ValueError):
        return commit.count
    return commit.count
