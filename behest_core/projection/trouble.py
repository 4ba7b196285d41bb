"""What projecting did, in numbers, and what an operator should know of."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from msgspec import Struct, field


class TroubleKind(StrEnum):
    """What kind of trouble it is: each is a metric (runtime.py).

    PARKED, EXTENSION_PARKED: a fold has stopped at an event. GAP: the log lacks `sequence`. TAMPERED: an item of the event
    table was changed, deleted, or lies at no position of a run. DIVERGED: the log holds another commit at a position that the
    state covers. AHEAD: the state covers more than the log holds. UNFINISHED: what is left to a later delivery. RAISED: a run
    that raised what nobody expected.
    """

    PARKED = "parked"
    EXTENSION_PARKED = "extension_parked"
    GAP = "gap"
    TAMPERED = "tampered"
    DIVERGED = "diverged"
    AHEAD = "ahead"
    UNFINISHED = "unfinished"
    RAISED = "raised"


class Trouble(Struct, frozen=True):
    """Something an operator should know of. `error` is its class, or what was seen. It never holds payload."""

    kind: TroubleKind
    run_id: str
    sequence: int
    error: str
    message: str = ""


class Counts(Struct):
    """What was done to runs. `log_reads` counts runs, `saves` and `conflicts` writes of state items."""

    events: int = 0
    duplicates: int = 0
    log_reads: int = 0
    saves: int = 0
    conflicts: int = 0
    troubles: list[Trouble] = field(default_factory=list)

    def __iadd__(self, other: Counts) -> Self:
        """Add what was done elsewhere."""
        for name in Counts.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self
