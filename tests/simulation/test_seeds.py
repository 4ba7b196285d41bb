"""100 histories of 1,000 events each. What they have to show is printed at the end of the test run."""

from __future__ import annotations

import pytest

from tests.simulation.world import World

SEEDS = 100


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_run_is_right_in_the_end_whatever_befalls(seed, record_property):
    figures = World(seed).run()
    record_property("simulation", figures.as_json())
    assert (figures.wrong, figures.lost) == (0, 0)
