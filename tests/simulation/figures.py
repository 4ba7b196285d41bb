"""What simulations have to show for themselves, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Figures:
    """`wrong` are runs, `lost` events; the other counts speak for themselves.

    `mistaken` are runs that were parked as deadly, as something else killed three folds of them, and were right when resumed.
    """

    simulations: int = 0
    runs: int = 0
    events: int = 0
    commits: int = 0
    deliveries: int = 0
    writes: int = 0
    parked: int = 0
    mistaken: int = 0
    deleted: int = 0
    wrong: int = 0
    lost: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    slices: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Figures) -> Self:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "faults": dict(self.faults), "slices": dict(self.slices)}

    @classmethod
    def from_json(cls, figures: dict[str, Any]) -> Self:
        return cls(**{**figures, "faults": Counter(figures["faults"]), "slices": Counter(figures["slices"])})

    def lines(self) -> list[str]:
        """Return the figures as text."""
        return [
            f"{self.simulations:,} simulations of {self.runs:,} runs, {self.events:,} events in {self.commits:,} commits",
            f"{self.deliveries:,} deliveries, {self.writes:,} states written, {self.parked:,} parked, {self.deleted:,} deleted",
            f"{self.mistaken:,} parked as deadly by mistake, and resumed",
            f"faults: {_listed(self.faults)}",
            f"slices: {_listed(self.slices)}",
            f"{self.wrong:,} wrong runs, {self.lost:,} lost events",
        ]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
