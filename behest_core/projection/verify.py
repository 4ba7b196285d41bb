"""Checks a state against its log, field by field, at the sequence that the state covers: live traffic does not disturb it."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field, to_builtins

from behest_core.errors import MalformedStateError, RunDeletedError
from behest_core.fold.dispatch import CORE
from behest_core.fold.divergence import Along, has_diverged
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.fold.restart import restart
from behest_core.fold.rules import fold_again, reaches_back
from behest_core.model.json import JSON, as_stored
from behest_core.model.packing import until
from behest_core.model.state import CORE_FOLD, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.fold.dispatch import Dispatch
    from behest_core.model.commit import Commit

_FOLDED: Final = (
    *RunState.__struct_fields__[: RunState.__struct_fields__.index("updated_at") + 1],
    "sequence",
    "has_record",
    "annotations",
    "decisions",
)
"""What the log alone decides: the seed's fields, the checkpoint, decisions, and whether there was a record."""

_FOLDED_NOW: Final = ("waiting", "ended_at")
"""What it decides, too, and earlier reducers left out: compared where the state is of this one."""


class Kind(StrEnum):
    """What a verdict is.

    UNSTORED: the run has no state yet, only a log. UNFOLDABLE: its log lacks events that the state covers, or has one among them
    that can't be folded. DIVERGED: its log holds another history than its state was folded from. UNKNOWN: there is no such run.
    """

    RIGHT = "right"
    WRONG = "wrong"
    PARKED = "parked"
    UNFOLDABLE = "unfoldable"
    DIVERGED = "diverged"
    UNSTORED = "unstored"
    UNKNOWN = "unknown"


class Difference(Struct, frozen=True):
    """A field in which the stored state isn't what its log folds to; ``extensions.NAME`` for the slice of an extension."""

    name: str
    stored: JSON
    folded: JSON


class Verdict(Struct, kw_only=True):
    """What checking a run gave.

    `sequence` is what the stored state covers, `reducer_version` which version folded it, `behind` how many events of the log
    it hasn't folded (more may be on their way). `problem` says why the run can't be checked or folded whole: its log lacks
    events, has one that can't be folded, or its state item can't be read. Where the log is UNFOLDABLE or DIVERGED there are
    no differences: its fold ends before the state does, or is another run's.
    """

    run_id: str
    kind: Kind = Kind.RIGHT
    sequence: int = 0
    reducer_version: int = 0
    behind: int = 0
    differences: list[Difference] = field(default_factory=list)
    problem: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether the stored state is what its log folds to, as far as it goes."""
        return self.kind is Kind.RIGHT


def verify(log: EventLog, states: StateTable, run_id: str, dispatch: Dispatch = CORE) -> Verdict:
    """Check one run: what the core folded, and the slices of the extensions that `dispatch` has, where they keep step.

    A deleted run is right if nothing of its log is left, and its state is a tombstone or gone.
    """
    try:
        stored = states.get(run_id)
        if stored is None or stored.is_blank:
            return _verify_unstored(log, run_id)
        if stored.deleted_at is not None:
            return _verify_deleted(log, run_id)
        verdict = _verify_stored(log, stored, dispatch)
        return verdict if verdict.kind is not Kind.UNFOLDABLE or _is_there(states, run_id) else Verdict(run_id=run_id)
    except MalformedStateError as error:
        return Verdict(run_id=run_id, kind=Kind.WRONG, problem=error.reason)
    except RunDeletedError as deleted:
        state = states.get(run_id)
        if state is None or state.is_blank or state.deleted_at is not None:
            return _verify_deleted(log, run_id)
        problem = f"its log was deleted at {deleted.deleted_at}, and its state is still there; rebuild it"
        return Verdict(run_id=run_id, kind=Kind.WRONG, problem=problem)


def _is_there(states: StateTable, run_id: str) -> bool:
    """Return whether the run has not been deleted since its state was read: its log goes last."""
    state = states.get(run_id)
    return state is None or state.deleted_at is None


def _verify_unstored(log: EventLog, run_id: str) -> Verdict:
    behind = log.tail(run_id).last
    if behind or next(log.commits(run_id), None) is not None:
        return Verdict(run_id=run_id, kind=Kind.UNSTORED, behind=max(behind, 1), problem="it has no state")
    return Verdict(run_id=run_id, kind=Kind.UNKNOWN, problem="there is no such run")


def _verify_deleted(log: EventLog, run_id: str) -> Verdict:
    left = next(log.commits(run_id), None)
    if left is None:
        return Verdict(run_id=run_id)
    problem = f"deleted, but its log has sequence {left.sequence}; delete it again"
    return Verdict(run_id=run_id, kind=Kind.WRONG, problem=problem)


def _verify_stored(log: EventLog, stored: RunState, dispatch: Dispatch) -> Verdict:
    verdict = Verdict(run_id=stored.run_id, sequence=stored.sequence, reducer_version=stored.reducer_version)
    along = Along(log.commits(stored.run_id, refuse_deleted=True), stored)
    commits = until(along, stored.sequence)
    _compare(verdict, stored, commits, dispatch)
    deque(commits, maxlen=0)  # where the fold stopped before
    if has_diverged(stored, along.last, datetime.now(UTC)):
        verdict.kind, verdict.differences = Kind.DIVERGED, []
        verdict.problem = _why_diverged(stored, along.last)
    elif verdict.kind is not Kind.UNFOLDABLE and stored.parked is None:
        verdict.behind = max(log.tail(stored.run_id).last - stored.sequence, 0)
    return verdict


def _compare(verdict: Verdict, stored: RunState, commits: Iterator[Commit], dispatch: Dispatch) -> None:
    """Compare a state with what the commits, up to where it ends, fold to."""
    blank = restart(stored, dispatch.extensions, even_parked=True)
    first = next(commits, None)
    if stored.created_at is not None and (first is None or not reaches_back(first, stored)):
        verdict.kind, verdict.problem = Kind.UNFOLDABLE, "its log no longer holds all that its state was folded from"
        return
    folded = fold_again(blank, chain([] if first is None else [first], commits), dispatch)
    state = folded.state or blank
    if stored.created_at is None:  # parked before anything was folded
        state = RunState(run_id=stored.run_id, reducer_version=REDUCER_VERSION)
    verdict.problem = _why_unfoldable(stored, state, folded.gap)
    if verdict.problem is not None:
        verdict.kind = Kind.UNFOLDABLE
        return
    verdict.differences = [*_differences(stored, state), *_slice_differences(stored, state, dispatch)]
    verdict.problem = _why_parked(stored)
    if verdict.differences:
        verdict.kind = Kind.WRONG
    elif verdict.problem is not None:
        verdict.kind = Kind.PARKED


def _why_diverged(stored: RunState, last: Commit | None) -> str:
    end = 0 if last is None else last.last
    if end < stored.sequence:
        what = f"its log ends at sequence {end}, and its state at {stored.sequence}"
    else:
        what = f"its log holds another commit at sequence {stored.sequence} than its state was folded from"
    return f"{what}: one of the tables was restored? `behest rebuild --diverged` takes what the log has"


def _why_unfoldable(stored: RunState, state: RunState, gap: int | None) -> str | None:
    """Return why the log doesn't fold as far as the state goes; None where it does."""
    if state.parked is not None and (stored.parked is None or state.sequence < stored.sequence):
        return f"sequence {state.parked.sequence} can't be folded: {state.parked.message}"
    if gap is not None:
        return f"its log lacks sequence {gap}"
    if state.sequence < stored.sequence and state.parked is None:
        return f"its log ends at sequence {state.sequence}, before its state; one of the tables was restored?"
    return None


def _why_parked(stored: RunState) -> str | None:
    whose = {name: "" if name == CORE_FOLD else f"extension {name} " for name in stored.parks}
    parks = [f"{whose[name]}parked at sequence {each.sequence}: {each.error}" for name, each in stored.parks.items()]
    return "; ".join(parks) or None


def _differences(stored: RunState, folded: RunState) -> Iterator[Difference]:
    folded.metadata = as_stored(folded.metadata)
    names = (*_FOLDED, *_FOLDED_NOW) if stored.reducer_version == REDUCER_VERSION else _FOLDED
    for name in names:
        one, other = getattr(stored, name), getattr(folded, name)
        if one != other:
            yield Difference(name, to_builtins(one), to_builtins(other))


def _slice_differences(stored: RunState, folded: RunState, dispatch: Dispatch) -> Iterator[Difference]:
    """Compare the slices that have come as far as the core; the others catch up, or are parked."""
    for extension in dispatch.extensions:
        one, other = stored.extensions.get(extension.name), folded.extensions.get(extension.name)
        if one is None or other is None or (one.version, one.sequence) != (extension.version, stored.sequence):
            continue
        if one.outdated:
            continue
        name = f"extensions.{extension.name}"
        if other.parked is not None:
            yield Difference(f"{name}.parked", None, other.parked.error)
        elif one.state != as_stored(other.state):
            yield Difference(name, one.state, as_stored(other.state))
