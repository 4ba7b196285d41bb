"""Records that are too old are given up."""

from behest_core.testing import InvocationThrottled
from tests.mapping.function import HOUR, Function, raise_on, write


def test_records_past_the_maximum_age_are_given_up_before_they_are_delivered(stream, connect, clock, failures):
    write(stream, "a1", "a2")
    clock.advance(HOUR)
    write(stream, "a3")
    function = Function()
    clock.advance(1)
    connect(function, maximum_record_age_seconds=HOUR).drain()
    assert function.batches == [["a3"]]
    (failure,) = failures
    assert failure["requestContext"]["condition"] == "RecordAgeExceeded"
    assert failure["requestContext"]["approximateInvokeCount"] == 0
    assert failure["DDBStreamBatchInfo"]["batchSize"] == 2
    assert "responseContext" not in failure


def test_a_batch_that_is_retried_is_given_up_when_it_grows_too_old(stream, connect, clock, failures):
    write(stream, "a1", "a2")
    function = Function(always=raise_on("a1"))
    mapping = connect(function, maximum_record_age_seconds=60)
    mapping.step()
    clock.advance(60)
    mapping.step()
    clock.advance(1)
    assert mapping.step() is None
    assert len(function.batches) == 2
    assert failures[0]["requestContext"]["condition"] == "RecordAgeExceeded"
    assert failures[0]["requestContext"]["approximateInvokeCount"] == 2
    assert failures[0]["responseContext"]["functionError"] == "Unhandled"


def test_throttling_lasts_no_longer_than_the_maximum_age(stream, connect, clock, failures):
    write(stream, "a1")
    mapping = connect(Function(always=InvocationThrottled), maximum_record_age_seconds=60)
    for _ in range(10):
        mapping.step()
        clock.advance(10)
    assert mapping.step() is None
    assert failures[0]["requestContext"]["condition"] == "RecordAgeExceeded"


def test_after_a_day_the_stream_itself_has_lost_a_record_and_nobody_hears_of_it(stream, connect, clock, failures):
    write(stream, "a1")
    clock.advance(24 * HOUR + 1)
    write(stream, "a2")
    function = Function()
    mapping = connect(function)
    mapping.drain()
    assert function.batches == [["a2"]]
    assert failures == []
    assert mapping.counts.expired == 1
