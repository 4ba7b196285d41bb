"""The stream keeps a record for a day. After a longer outage all of them are lost, and the log has the events all the same."""

from __future__ import annotations

import pytest

from tests.simulation.faults import Rates
from tests.simulation.world import Size, World


@pytest.mark.parametrize("seed", range(3))
def test_where_every_record_of_the_stream_was_lost_sweeping_makes_every_run_right(seed, record_property):
    world = World(seed, Size(poison=2), rates=Rates(lost_record=1.0))
    figures = world.run()
    record_property("simulation", figures.as_json())
    assert world.function.mapping.counts.deliveries == 0
    assert figures.writes >= figures.runs
    assert (figures.wrong, figures.lost) == (0, 0)
