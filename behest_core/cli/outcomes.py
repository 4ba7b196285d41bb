"""What became of each run that a command folds, or checks against its log, and how that is said."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.json import encode
from rich.text import Text

from behest_core.cli.runs import Boundary, SideBySide, told
from behest_core.errors import ConfigurationError, LogDivergedError, LogTruncatedError
from behest_core.model.state import CORE_FOLD
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.trouble import TroubleKind
from behest_core.projection.verify import Kind, Verdict, verify
from behest_core.terminal import clean, json_text
from behest_core.wording import amount, count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rich.console import Console

    from behest_core.cli.progress import RunsBar
    from behest_core.fold.dispatch import Dispatch
    from behest_core.model.state import Parked, RunState
    from behest_core.projection.one_run import Work
    from behest_core.store import RunStore


# ---------------------------------------------------------------- runs that were folded


class End(Enum):
    """How folding a run ended. All but WHOLE and DELETED leave something to do."""

    WHOLE = "whole"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    PARKED = "parked"
    GAP = "gap"
    REFUSED = "refused"
    DIVERGED = "diverged"
    UNFINISHED = "unfinished"


class FoldedRun(NamedTuple):
    """A run that was folded. `is_changed` says whether its state item was written; `line` says what became of the run.

    `holds_up` is the extension that was to be folded, where it could not be as the run itself is parked. `is_taken` says that
    the log's history took the place of another one.
    """

    run_id: str
    end: End
    line: str
    is_changed: bool = False
    holds_up: str | None = None
    is_taken: bool = False


class Folding:
    """Folds runs with the plugins that are used here. Can be shared between threads."""

    def __init__(self, store: RunStore, dispatch: Dispatch) -> None:
        self._catch_up = CatchUp(store.event_log, store.state_table, dispatch)
        self._installed = {CORE_FOLD, *(extension.name for extension in dispatch.extensions)}

    def resume(self, run_id: str, remaining: Callable[[], float]) -> FoldedRun:
        """Go on where a run, or an extension of it, is parked."""
        try:
            work = self._catch_up.fold(run_id, Fold.RESUME, remaining=remaining)
        except Exception as error:  # noqa: BLE001 (one run's error: the others go on)
            return _failed(run_id, error)
        return self._ended(work, _parks(work))

    def fold_again(
        self,
        run_id: str,
        remaining: Callable[[], float],
        extension: str | None = None,
        *,
        diverged: bool = False,
    ) -> FoldedRun:
        """Fold a run from the beginning of its log; with `extension`, into that one's slice alone.

        With `diverged`, also where the log holds another history than the state. Where an extension isn't installed here, its
        slice stays as it is.
        """
        try:
            work = self._catch_up.fold(run_id, Fold.AGAIN, extension=extension, diverged=diverged, remaining=remaining)
        except LogTruncatedError as error:
            return FoldedRun(run_id, End.REFUSED, str(error))
        except LogDivergedError as error:
            return FoldedRun(run_id, End.DIVERGED, str(error))
        except Exception as error:  # noqa: BLE001 (one run's error: the others go on)
            return _failed(run_id, error)
        parks = {name: each for name, each in _parks(work).items() if name in self._installed}
        return self._ended(work, parks)._replace(holds_up=extension if CORE_FOLD in parks else None)

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
        return FoldedRun(work.run_id, end, line, work.saves > 0, is_taken=work.replaced is not None)

    def _where(self, name: str, parked: Parked) -> str:
        if name not in self._installed:
            return f"has extension {name} parked at sequence {parked.sequence}, which is not installed here"
        whose = "is parked" if name == CORE_FOLD else f"has extension {name} parked"
        again = " again" if parked.attempts > 1 else ""
        return f"{whose}{again} at sequence {parked.sequence}, by {parked.error}: {parked.message} (attempt {parked.attempts})"


def _failed(run_id: str, error: Exception) -> FoldedRun:
    """Return what became of a run that met an error of its own; raise one that is the tables'."""
    if isinstance(error, ConfigurationError):
        raise error
    return FoldedRun(run_id, End.UNFINISHED, told(run_id, "folded", error))


def _parks(work: Work) -> dict[str, Parked]:
    return work.state.parks if work.state is not None else {}


def _reached(work: Work, state: RunState) -> tuple[End, str]:
    folded = f"folded up to sequence {state.sequence}"
    if work.replaced is not None:
        folded = f"{folded} of what its log has; its state covered {work.replaced}"
    for trouble in work.troubles:
        if trouble.kind is TroubleKind.GAP:
            return End.GAP, f"run {work.run_id} is {folded}; its log lacks sequence {trouble.sequence}"
    if not work.saves:
        return End.WHOLE, f"run {work.run_id} is {folded}; there was nothing to do"
    return End.WHOLE, f"run {work.run_id} goes on, {folded}"


def _why_unfinished(work: Work) -> str:
    reasons = [trouble for trouble in work.troubles if trouble.kind is TroubleKind.UNFINISHED]
    return ", ".join(f"{reason.error} ({reason.message})" if reason.message else reason.error for reason in reasons)


# ---------------------------------------------------------------- runs that were checked

_WORDS: Final = {
    Kind.RIGHT: "right",
    Kind.UNSTORED: "behind",
    Kind.WRONG: "wrong",
    Kind.PARKED: "parked",
    Kind.UNFOLDABLE: "can't be folded",
    Kind.DIVERGED: "diverged",
    Kind.UNKNOWN: "not there",
}
_UNREACHED: Final = "not checked"
_ORDER: Final = ("right", "behind", "wrong", "parked", "can't be folded", "diverged", "not there", _UNREACHED)


class Check:
    """Checks runs against their logs side by side, and counts how many there are of each kind.

    One that is `behind` is right as far as it has come.
    """

    def __init__(self, store: RunStore, dispatch: Dispatch, bar: RunsBar) -> None:
        self._store = store
        self._dispatch = dispatch
        self._boundary = Boundary("checked", bar)
        self._found: Counter[str] = Counter()

    def verdicts(self, run_ids: Iterable[str]) -> Iterator[Verdict]:
        """Check runs, and yield the verdicts, in order."""
        with SideBySide() as side:
            for _, verdict in self._boundary.results(side.map(self._verify, run_ids)):
                is_behind = verdict.kind is Kind.RIGHT and verdict.behind
                self._found["behind" if is_behind else _WORDS[verdict.kind]] += 1
                yield verdict

    def _verify(self, run_id: str) -> Verdict:
        return verify(self._store.event_log, self._store.state_table, run_id, self._dispatch)

    @property
    def unreached(self) -> int:
        """How many runs could not be checked now."""
        return self._boundary.failures

    @property
    def is_fine(self) -> bool:
        """Whether all runs are right, or on their way to be."""
        return not self.unreached and self._found.keys() <= {"right", "behind"}

    def __str__(self) -> str:
        counts = self._found + Counter({_UNREACHED: self.unreached})
        found = ", ".join(f"{count_text(counts[word])} {word}" for word in _ORDER if counts[word])
        return f"checked {amount(counts.total(), 'run')}" + (f": {found}" if found else "")


def is_on_its_way(verdict: Verdict) -> bool:
    """Return whether there is nothing to tell about the run: it is right, or the projector hasn't got to it yet."""
    return verdict.kind in {Kind.RIGHT, Kind.UNSTORED}


def verdict_line(verdict: Verdict) -> bytes:
    """Return a verdict as JSON."""
    return encode(verdict)


def write_verdict(verdict: Verdict, console: Console) -> None:
    """Write what is not right about a run: a line for its problem, and one for each field that differs."""
    run = Text(clean(verdict.run_id), style="bold")
    if verdict.problem is not None:
        style = "yellow" if verdict.kind is Kind.PARKED else "red"
        console.print(Text.assemble(run, "  ", (clean(verdict.problem), style)), soft_wrap=True)
    for difference in verdict.differences:
        stored, folded = json_text(difference.stored), json_text(difference.folded)
        row = Text.assemble(
            run, "  ", (difference.name, "red"), (": stored ", "dim"), stored, (", folded ", "dim"), folded
        )
        console.print(row, soft_wrap=True)
