"""What became of a run that a command lets the projector fold, and how that is said."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from behest_core.errors import LogTruncatedError
from behest_core.model.state import CORE_FOLD
from behest_core.plugins.loading import allowed_by_environment, load
from behest_core.projection.projector import Fold, Projector
from behest_core.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from behest_core.fold.dispatch import Dispatch
    from behest_core.model.state import Parked, RunState
    from behest_core.projection.projector import Work
    from behest_core.store import RunStore


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


class Folding:
    """Folds runs with the plugins that are used here. Can be shared between threads."""

    def __init__(self, store: RunStore, dispatch: Dispatch) -> None:
        self._projector = Projector(store.event_log, store.state_table, dispatch)
        self._installed = {CORE_FOLD, *(extension.name for extension in dispatch.extensions)}

    def resume(self, run_id: str, remaining: Callable[[], float]) -> FoldedRun:
        """Go on where a run, or an extension of it, is parked."""
        work = self._projector.catch_up(run_id, Fold.RESUME, remaining=remaining)
        return self._ended(work, _parks(work))

    def fold_again(self, run_id: str, remaining: Callable[[], float], extension: str | None = None) -> FoldedRun:
        """Fold a run from the beginning of its log; with `extension`, into that one's slice alone.

        Where an extension isn't installed here, its slice stays as it is.
        """
        try:
            work = self._projector.catch_up(run_id, Fold.AGAIN, extension=extension, remaining=remaining)
        except LogTruncatedError as error:
            return FoldedRun(run_id, End.REFUSED, str(error))
        return self._ended(work, {name: each for name, each in _parks(work).items() if name in self._installed})

    def _ended(self, work: Work, parks: Mapping[str, Parked]) -> FoldedRun:
        run, state = f"run {work.run_id}", work.state
        if not work.is_finished:
            end, line = End.UNFINISHED, f"{run} could not be folded now: {_why_unfinished(work)}"
        elif state is None:
            end, line = End.UNKNOWN, f"there is no {run}"
        elif state.deleted_at is not None:
            end, line = End.DELETED, f"{run} was deleted at {state.deleted_at}"
        elif parks:
            end, line = End.PARKED, f"{run} " + "; ".join(self._where(name, each) for name, each in parks.items())
        else:
            end, line = _reached(work, state)
        return FoldedRun(work.run_id, end, line, work.saves > 0)

    def _where(self, name: str, parked: Parked) -> str:
        if name not in self._installed:
            return f"has extension {name} parked at sequence {parked.sequence}, which is not installed here"
        whose = "is parked" if name == CORE_FOLD else f"has extension {name} parked"
        again = " again" if parked.attempts > 1 else ""
        return f"{whose}{again} at sequence {parked.sequence}, by {parked.error}: {parked.message} (attempt {parked.attempts})"


def dispatch_of_plugins() -> Dispatch:
    """Return what the plugins of BEHEST_PLUGINS fold; name those that can't be used."""
    plugins = load(allowed_by_environment())
    for plugin in plugins.refused:
        say(f"plugin {plugin.name} is not used, and what it has folded stays as it is: {plugin.refused}")
    return plugins.dispatch


def _parks(work: Work) -> dict[str, Parked]:
    return work.state.parks if work.state is not None else {}


def _reached(work: Work, state: RunState) -> tuple[End, str]:
    folded = f"folded up to sequence {state.sequence}"
    for trouble in work.troubles:
        if trouble.kind == "gap":
            return End.GAP, f"run {work.run_id} is {folded}; its log lacks sequence {trouble.sequence}"
    if not work.saves:
        return End.WHOLE, f"run {work.run_id} is {folded}; there was nothing to do"
    return End.WHOLE, f"run {work.run_id} goes on, {folded}"


def _why_unfinished(work: Work) -> str:
    reasons = [trouble for trouble in work.troubles if trouble.kind == "unfinished"]
    return ", ".join(f"{reason.error} ({reason.message})" if reason.message else reason.error for reason in reasons)
