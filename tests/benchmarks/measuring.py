"""How two ways to do the same work are compared: by CPU time, in turns, in one process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 9

One = TypeVar("One")
Other = TypeVar("Other")


class Compared(NamedTuple):
    """What two ways to do the same work take: nanoseconds of CPU per event at least, and how they compare."""

    one: float
    other: float
    times: float
    rounds: list[float]

    def __str__(self) -> str:
        return f"{self.times:.2f} times as long, in rounds {self.rounds[0]:.2f} to {self.rounds[-1]:.2f}"


def in_turns(
    pieces: Sequence[tuple[One, Other]],
    events: int,
    one: Callable[[One], object],
    other: Callable[[Other], object],
    *,
    rounds: int = ROUNDS,
    repeats: int = 1,
) -> Compared:
    """Do each piece of work in both ways, in turns: what else the machine does strikes both alike, and the least of all not.

    A piece is given in the form that each way takes; all pieces hold so many events.
    """
    least = [[float("inf"), float("inf")] for _ in pieces]
    ratios = []
    for each in range(rounds + 1):
        sums = [0.0, 0.0]
        for piece, times in zip(pieces, least, strict=True):
            taken = (_taken(one, piece[0], repeats), _taken(other, piece[1], repeats))
            for way, nanoseconds in enumerate(taken):
                times[way] = min(times[way], nanoseconds)
                sums[way] += nanoseconds
        if each:  # the first one warms up
            ratios.append(sums[1] / sums[0])
    total = [sum(times[way] for times in least) / events for way in range(2)]
    return Compared(*total, total[1] / total[0], sorted(ratios))


def _taken(work: Callable[[One], object], piece: One, repeats: int) -> float:
    start = time.process_time_ns()
    for _ in range(repeats):
        work(piece)
    return (time.process_time_ns() - start) / repeats
