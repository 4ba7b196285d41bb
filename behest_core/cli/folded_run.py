"""What became of a run that a command lets the projector fold, and how that is said."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from behest_core.errors import LogTruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.projector import Fold, Projector, Work
    from behest_core.state import Parked, RunState


class End(Enum):
    """How folding a run ended. All but WHOLE and DELETED leave something to do."""

    WHOLE = "whole"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    PARKED = "parked"
    GAP = "gap"
    REFUSED = "refused"
    UNFINISHED = "unfinished"


class FoldedRun(NamedTuple):
    """A run that was folded. `is_changed` says whether its state item was written; `line` says what became of the run."""

    run_id: str
    end: End
    line: str
    is_changed: bool = False


def fold_run(projector: Projector, run_id: str, fold: Fold, remaining: Callable[[], float]) -> FoldedRun:
    """Fold a run again, or go on where it is parked."""
    try:
        work = projector.catch_up(run_id, fold, remaining=remaining)
    except LogTruncatedError as error:
        return FoldedRun(run_id, End.REFUSED, str(error))
    end, line = _end(work)
    return FoldedRun(run_id, end, line, work.saves > 0)


def _end(work: Work) -> tuple[End, str]:
    run, state = f"run {work.run_id}", work.state
    if not work.is_finished:
        return End.UNFINISHED, f"{run} could not be folded now: {_why_unfinished(work)}"
    if state is None:
        return End.UNKNOWN, f"there is no {run}"
    if state.deleted_at is not None:
        return End.DELETED, f"{run} was deleted at {state.deleted_at}"
    if state.parked is not None:
        return End.PARKED, f"{run} is parked {_where(state.parked)}"
    return _reached(work, state)


def _reached(work: Work, state: RunState) -> tuple[End, str]:
    folded = f"folded up to sequence {state.sequence}"
    for trouble in work.troubles:
        if trouble.kind == "gap":
            return End.GAP, f"run {work.run_id} is {folded}; its log lacks sequence {trouble.sequence}"
    if not work.saves:
        return End.WHOLE, f"run {work.run_id} is {folded}; there was nothing to do"
    return End.WHOLE, f"run {work.run_id} goes on, {folded}"


def _where(parked: Parked) -> str:
    again = "again " if parked.attempts > 1 else ""
    attempt = f"attempt {parked.attempts}"
    return f"{again}at sequence {parked.sequence}, by {parked.error}: {parked.message} ({attempt})"


def _why_unfinished(work: Work) -> str:
    reasons = [trouble for trouble in work.troubles if trouble.kind == "unfinished"]
    return ", ".join(f"{reason.error} ({reason.message})" if reason.message else reason.error for reason in reasons)
