"""The simulation is only worth something if it fails where a rule is missing: so each is taken out of the real code in turn."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import FIRST_SEEDS, MUTANTS, RATES, mutate
from tests.simulation.world import SimulationError, World

SEEDS_ALLOWED = 30


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_simulation_notices_code_that(mutant, monkeypatch):
    mutate(monkeypatch, *MUTANTS[mutant])
    first = FIRST_SEEDS.get(mutant, 0)
    for seed in range(first, first + SEEDS_ALLOWED):
        try:
            World(seed, rates=RATES.get(mutant, "drawn")).run()
        except SimulationError:
            return
    pytest.fail(f"{SEEDS_ALLOWED} simulations of code that {mutant} found nothing")
