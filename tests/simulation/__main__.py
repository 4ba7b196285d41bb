"""Shows one history, or runs many: ``python -m tests.simulation --seed 17``."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.faults import TYPICAL, Rates
from tests.simulation.figures import Figures
from tests.simulation.world import SimulationError, Size, World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--events", type=int, default=Size.events)
    parser.add_argument("--runs", type=int, default=Size.runs)
    parser.add_argument("--poison", type=int, default=Size.poison)
    parser.add_argument("--agents", type=int, default=Size.agents)
    parser.add_argument("--faults", choices=["drawn", "typical", "none"], default="drawn")
    parser.add_argument("--trace", action="store_true", help="print every call of the database")
    given = parser.parse_args()
    size = Size(events=given.events, runs=given.runs, poison=given.poison, agents=given.agents)
    rates = {"drawn": None, "typical": TYPICAL, "none": Rates.none()}[given.faults]
    figures, failed, began = Figures(), 0, time.monotonic()
    for seed in range(given.seed, given.seed + given.seeds):
        world = World(seed, size, rates=rates, tracing=given.trace)
        try:
            figures += world.run()
        except SimulationError as error:
            failed += 1
            show(str(error))
        finally:
            show(*world.trace)
    show(*figures.lines(), f"{time.monotonic() - began:.1f} s")
    return 1 if failed else 0


def show(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
