"""Show one history, or run many.

python -m tests.simulation --seed 17 --trace    one, with every call of the database
python -m tests.simulation --seeds 1000         a thousand, of 1,000 events each
python -m tests.simulation --soak               1,000,000 events over 10,000 runs
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.figures import Figures
from tests.simulation.world import SimulationError, Size, World

SOAK_EVENTS, SOAK_RUNS = 1_000_000, 10_000
SOAK_SIZE = Size(events=100_000, runs=1_000, poison=4, agents=40)
"""Of one of the worlds that a soak is made of: as large as fits into half a gigabyte."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--soak", action="store_true", help="as many large ones as make a million events")
    parser.add_argument("--events", type=int, default=Size.events)
    parser.add_argument("--runs", type=int, default=Size.runs)
    parser.add_argument("--poison", type=int, default=Size.poison)
    parser.add_argument("--agents", type=int, default=Size.agents)
    parser.add_argument("--faults", choices=["drawn", "typical", "none"], default="drawn")
    parser.add_argument("--trace", action="store_true", help="show every call of the database")
    given = parser.parse_args()
    stay_on_one_core()
    if given.soak:
        return soak(given.seed)
    size = Size(events=given.events, runs=given.runs, poison=given.poison, agents=given.agents)
    worlds = (
        World(seed, size, rates=given.faults, tracing=given.trace)
        for seed in range(given.seed, given.seed + given.seeds)
    )
    figures, failed, began = Figures(), 0, time.monotonic()
    for world in worlds:
        failed += not let_happen(world, figures)
    show(*figures.lines(), f"{time.monotonic() - began:.1f} s, {failed} simulations failed")
    return 1 if failed else 0


def soak(seed: int) -> int:
    """Run large worlds, with bad days for months in one and the worst of days in the next, until it is a million events."""
    figures, failed, began = Figures(), 0, time.monotonic()
    while figures.events < SOAK_EVENTS or figures.runs < SOAK_RUNS:
        rates = "drawn" if seed % 2 else "typical"
        failed += not let_happen(World(seed, SOAK_SIZE, rates=rates), figures)
        show(
            f"{time.monotonic() - began:6.0f} s: {figures.events:>9,} events, {figures.runs:>6,} runs, {failed} failed"
        )
        if failed:
            break
        seed += 1
    show(*figures.lines(), f"{figures.events / (time.monotonic() - began):,.0f} events a second")
    return 1 if failed else 0


def let_happen(world: World, figures: Figures) -> bool:
    """Run a world and add its figures up; say whether all was right."""
    try:
        figures += world.run()
    except SimulationError as error:
        figures.wrong += len({finding.run_id for finding in world.findings})
        show(str(error))
        return False
    finally:
        show(*world.trace)
    return True


def stay_on_one_core() -> None:
    """Threads that take turns, as the scheduler's do, are handed over twice as fast on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def show(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
