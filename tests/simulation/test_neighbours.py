"""A poisoned run is its own trouble: the others need hardly more deliveries than if it weren't there."""

from __future__ import annotations

import pytest

from behest_core.testing import MappingSettings
from tests.simulation.faults import Rates
from tests.simulation.world import Size, World

SETTINGS = MappingSettings(
    batch_size=100,
    batching_window_seconds=1,
    maximum_retry_attempts=5,
    maximum_record_age_seconds=21_600,
    bisect_batch_on_function_error=True,
    report_batch_item_failures=True,
)


@pytest.mark.parametrize("seed", range(5))
def test_with_poisoned_runs_the_others_are_delivered_no_more_than_a_tenth_more_often(seed, record_property):
    world = World(seed, Size(events=4_000, runs=100, poison=4), rates=Rates.none(), settings=SETTINGS)
    figures = world.run()
    poisoned = world.oracle.poisoned_runs
    clean = sum(count for run_id, count in world.feed.records_of.items() if run_id not in poisoned)
    delivered = sum(count for run_id, count in world.function.delivered.items() if run_id not in poisoned)
    record_property("simulation", figures.as_json())
    assert poisoned
    assert clean <= delivered <= 1.1 * clean
