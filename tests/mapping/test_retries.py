"""How often a batch is delivered again."""

import pytest

from behest_core.testing import InvocationThrottled, MappingNotIdleError
from tests.mapping.function import Function, raise_on, report, write


def test_a_failed_batch_is_retried_as_often_as_allowed_and_then_given_up(stream, connect, failures):
    write(stream, "a1", "a2", "b1")
    function = Function(always=raise_on("a1"))
    mapping = connect(function, batch_size=2, maximum_retry_attempts=2)
    mapping.drain()
    assert function.batches == [["a1", "a2"], ["a1", "a2"], ["a1", "a2"], ["b1"]]
    assert len(failures) == 1
    assert mapping.counts.discarded == 2


def test_without_retries_a_failed_batch_is_given_up_at_once(stream, connect, failures):
    write(stream, "a1")
    function = Function(always=raise_on("a1"))
    connect(function, maximum_retry_attempts=0).drain()
    assert function.batches == [["a1"]]
    assert len(failures) == 1


def test_infinite_retries_go_on(stream, connect, failures):
    write(stream, "a1")
    function = Function(*[RuntimeError("not yet")] * 500)
    connect(function, maximum_retry_attempts=-1).drain()
    assert len(function.batches) == 501
    assert failures == []


def test_draining_ends_with_an_error_where_a_function_always_fails(stream, connect):
    write(stream, "a1")
    mapping = connect(Function(always=raise_on("a1")))
    with pytest.raises(MappingNotIdleError, match=r"20 deliveries.*poison: \['a1'\]"):
        mapping.drain(deliveries=20)


def test_draining_makes_as_many_deliveries_as_allowed_without_an_error(stream, connect):
    write(stream, "a1", "a2")
    assert connect(Function(), batch_size=1).drain(deliveries=2) == 2


def test_retries_are_counted_anew_where_the_checkpoint_moved(stream, connect, failures):
    """Retries count the same batch sent again; users have seen it, AWS doesn't document it."""
    write(stream, "a1", "a2", "a3")
    function = Function(always=report("a2"))
    connect(function, report_batch_item_failures=True, maximum_retry_attempts=1).drain()
    assert function.batches == [["a1", "a2", "a3"], ["a2", "a3"], ["a2", "a3"]]
    assert failures[0]["DDBStreamBatchInfo"]["batchSize"] == 2


def test_throttling_by_lambda_itself_counts_no_retry(stream, connect, failures):
    write(stream, "a1")
    function = Function(*[InvocationThrottled] * 5)
    mapping = connect(function, maximum_retry_attempts=0)
    mapping.drain()
    assert len(function.batches) == 6
    assert failures == []
    assert mapping.counts.failures == 5


def test_a_retry_waits_as_long_as_its_delay_says(stream, connect, clock):
    write(stream, "a1")
    mapping = connect(Function(always=raise_on("a1")), retry_delay=lambda retry: 2.0**retry)
    mapping.step()
    assert mapping.next_due() == clock() + 2
    assert mapping.step() is None
    clock.advance(2)
    mapping.step()
    assert mapping.next_due() == clock() + 4
