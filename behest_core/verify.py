"""Checks a state against its log, field by field, at the sequence that the state covers: live traffic does not disturb it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from behest_core.commit import until
from behest_core.errors import MalformedStateError
from behest_core.fold import fold
from behest_core.state import RunState
from behest_core.storable import JSON

if TYPE_CHECKING:
    from behest_core.event_log import EventLog
    from behest_core.state_table import StateTable

_FOLDED: Final = (*RunState.__struct_fields__[: RunState.__struct_fields__.index("updated_at") + 1], "sequence")
"""What the log alone decides: the seed's fields and the checkpoint."""


class Difference(Struct, frozen=True):
    """A field in which the stored state isn't what its log folds to."""

    name: str
    stored: JSON
    folded: JSON


class Verdict(Struct, kw_only=True):
    """What checking a run gave.

    `sequence` is what the stored state covers, `behind` how many events of the log it hasn't folded (more may be on their way).
    `problem` says why the run can't be checked or folded whole: its log lacks events, has one that can't be folded, or its state
    item can't be read.
    """

    run_id: str
    sequence: int = 0
    behind: int = 0
    differences: list[Difference] = field(default_factory=list)
    problem: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether the stored state is what its log folds to, as far as it goes."""
        return not self.differences and self.problem is None


def verify(log: EventLog, states: StateTable, run_id: str) -> Verdict:
    """Check one run. A deleted run is right if nothing of its log is left."""
    try:
        stored = states.get(run_id)
    except MalformedStateError as error:
        return Verdict(run_id=run_id, problem=error.reason)
    if stored is not None and stored.deleted_at is not None:
        left = next(log.commits(run_id), None)
        problem = None if left is None else f"deleted, but its log has sequence {left.sequence}; delete it again"
        return Verdict(run_id=run_id, problem=problem)
    if stored is None:
        return _verify_unstored(log, run_id)
    verdict = Verdict(run_id=run_id, sequence=stored.sequence)
    folded = fold(None, until(log.commits(run_id), stored.sequence))
    if folded.state is None:
        verdict.problem = "its log no longer begins at 1"
        return verdict
    if folded.state.parked is not None and stored.parked is None:
        verdict.problem = f"sequence {folded.state.parked.sequence} can't be folded: {folded.state.parked.message}"
    elif folded.gap is not None or folded.state.sequence < stored.sequence:
        verdict.problem = f"its log lacks sequence {folded.gap or folded.state.sequence + 1}"
    elif stored.parked is not None:
        verdict.problem = f"parked at sequence {stored.parked.sequence}: {stored.parked.error}"
    else:
        verdict.behind = max(log.tail(run_id).last - stored.sequence, 0)
    verdict.differences = list(_differences(stored, folded.state))
    return verdict


def _verify_unstored(log: EventLog, run_id: str) -> Verdict:
    behind = log.tail(run_id).last
    is_known = behind > 0 or next(log.commits(run_id), None) is not None
    return Verdict(
        run_id=run_id, behind=max(behind, 1), problem="it has no state" if is_known else "there is no such run"
    )


def _differences(stored: RunState, folded: RunState) -> list[Difference]:
    pairs = ((name, getattr(stored, name), getattr(folded, name)) for name in _FOLDED)
    return [Difference(name, one, other) for name, one, other in pairs if one != other]
