"""What every part of a simulation has: the time, the one random source, the faults, and somebody to tell what must not be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from behest_core.model.timestamps import from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.simulation.faults import Faults
    from tests.simulation.scheduler import Scheduler


class Finding(NamedTuple):
    """Something that must not be."""

    run_id: str
    what: str


@dataclass(frozen=True)
class Surroundings:
    """`report` takes findings, `note` what happens, for the trace."""

    scheduler: Scheduler
    random: Random
    faults: Faults
    report: Callable[[Finding], None]
    note: Callable[[str], None]

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.scheduler.now, UTC)

    def moment(self) -> str:
        return from_datetime(self.now())

    def soon(self, mean: float) -> float:
        """Draw a time in seconds."""
        return self.random.expovariate(1 / mean)
