"""A test that starts and ends invocations itself."""

import pytest

from behest_core.testing import Failed, Returned, Throttled
from tests.mapping.function import Function, report, write


def test_invocations_overlap_where_a_simulation_begins_several(stream, connect):
    write(stream, "a1", "b1", "c1", "d1", "e1", "f1")
    mapping = connect(Function(), batch_size=1, parallelization_factor=10)
    mapping.poll()
    deliveries = list(iter(mapping.begin, None))
    assert len(deliveries) > 1
    for delivery in reversed(deliveries):
        mapping.finish(delivery, Returned())
    assert mapping.drain() == 6 - len(deliveries)


def test_a_delivery_can_be_declared_timed_out_while_its_function_still_works(stream, connect):
    write(stream, "a1")
    function = Function()
    mapping = connect(function)
    mapping.poll()
    zombie = mapping.begin()
    mapping.finish(zombie, Failed("timed out"))
    mapping.drain()
    mapping.invoke(zombie)
    assert function.batches == [["a1"], ["a1"]]
    with pytest.raises(ValueError, match="not in flight"):
        mapping.finish(zombie, Returned())


def test_a_throttled_delivery_is_delivered_again(stream, connect):
    write(stream, "a1")
    mapping = connect(Function())
    mapping.poll()
    mapping.finish(mapping.begin(), Throttled())
    assert mapping.drain() == 1


def test_the_counts_say_what_was_done(stream, connect):
    write(stream, "a1", "a2", "a3")
    function = Function(report("a3"))
    mapping = connect(function, report_batch_item_failures=True)
    mapping.drain()
    assert (mapping.counts.deliveries, mapping.counts.records, mapping.counts.failures) == (2, 4, 1)


def test_an_idle_mapping_delivers_nothing(connect):
    mapping = connect(Function())
    assert mapping.step() is None
    assert mapping.drain() == 0
    assert mapping.next_due() is None


def test_a_lost_record_is_never_delivered(stream, connect):
    _, lost, _ = write(stream, "a1", "a2", "a3")
    stream.lose(lost["dynamodb"]["SequenceNumber"])
    function = Function()
    connect(function).drain()
    assert function.batches == [["a1", "a3"]]
