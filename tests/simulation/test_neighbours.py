"""A poisoned run is its own trouble: the others need hardly more deliveries than if it weren't there."""

from __future__ import annotations

import pytest

from behest_core.testing import MappingSettings
from tests.simulation.faults import Rates
from tests.simulation.poison import KINDS
from tests.simulation.world import Size, World

SETTINGS = MappingSettings(
    batch_size=100,
    batching_window_seconds=1,
    maximum_retry_attempts=5,
    maximum_record_age_seconds=21_600,
    bisect_batch_on_function_error=True,
    report_batch_item_failures=True,
)


def deliveries_of_the_others(seed, kinds, record_property):
    """Return how many records the runs without poison have, and how often those were delivered, in a world without faults."""
    size = Size(events=4_000, runs=100, poison=4, kinds=kinds)
    world = World(seed, size, rates=Rates.none(), settings=SETTINGS)
    record_property("simulation", world.run().as_json())
    others = world.feed.records_of.keys() - world.oracle.poisoned_runs
    assert len(others) < len(world.feed.records_of)
    return sum(world.feed.records_of[run_id] for run_id in others), sum(
        world.function.delivered[run_id] for run_id in others
    )


@pytest.mark.parametrize("seed", range(2))
def test_with_poisoned_runs_each_record_of_the_others_is_delivered_once(seed, record_property):
    records, delivered = deliveries_of_the_others(seed, KINDS.keys() - {"deadly"}, record_property)
    assert delivered == records


def test_with_runs_that_kill_their_process_the_others_are_delivered_less_than_twice_as_often(record_property):
    """A batch that died is delivered again, in ever smaller parts, until the one record is found. This is with 8 in 200 runs."""
    worlds = [deliveries_of_the_others(seed, {"deadly"}, record_property) for seed in range(2)]
    records, delivered = map(sum, zip(*worlds, strict=True))
    assert records < delivered < 2 * records
