"""Which records are a batch: size, window, and where the stream is read from."""

import pytest

from behest_core.testing import MappingSettings, Returned
from tests.mapping.function import HOUR, Function, keys, write


def test_a_batch_holds_as_many_records_as_the_batch_size_allows(stream, connect):
    write(stream, "a1", "a2", "b1", "a3", "b2")
    function = Function()
    assert connect(function, batch_size=2).drain() == 3
    assert function.batches == [["a1", "a2"], ["b1", "a3"], ["b2"]]


def test_a_batch_ends_before_six_megabytes(stream, connect):
    for sequence in range(1, 9):
        stream.append(keys(f"a{sequence}"), {"events": {"S": "x" * 1_000_000}})
    function = Function()
    connect(function).drain()
    assert [len(batch) for batch in function.batches] == [6, 2]


def test_without_a_window_a_record_is_delivered_at_once(stream, connect):
    write(stream, "a1")
    assert connect(Function()).step() is not None


def test_a_window_gathers_records_until_it_is_over(stream, connect, clock):
    function = Function()
    mapping = connect(function, batching_window_seconds=5)
    write(stream, "a1")
    assert mapping.step() is None
    clock.advance(4)
    write(stream, "a2")
    assert mapping.step() is None
    assert mapping.next_due() == clock() + 1
    clock.advance(1)
    mapping.step()
    assert function.batches == [["a1", "a2"]]


def test_a_full_batch_does_not_wait_for_its_window(stream, connect):
    function = Function()
    mapping = connect(function, batching_window_seconds=300, batch_size=2)
    write(stream, "a1", "a2", "a3")
    mapping.step()
    assert mapping.step() is None
    assert function.batches == [["a1", "a2"]]


def test_the_next_window_begins_when_the_invocation_before_ends(stream, connect, clock):
    function = Function()
    mapping = connect(function, batching_window_seconds=5, batch_size=2)
    write(stream, "a1", "a2")
    mapping.poll()
    delivery = mapping.begin()
    write(stream, "a3")
    mapping.poll()
    clock.advance(10)
    mapping.finish(delivery, Returned())
    assert mapping.next_due() == clock() + 5


def test_a_retry_does_not_wait_for_a_window(stream, connect):
    function = Function(RuntimeError("once"))
    mapping = connect(function, batching_window_seconds=300, batch_size=1)
    write(stream, "a1")
    mapping.step()
    mapping.step()
    assert function.batches == [["a1"], ["a1"]]


def test_draining_takes_windows_and_delays_as_over(stream, connect):
    function = Function(RuntimeError("once"))
    write(stream, "a1")
    connect(function, batching_window_seconds=300, retry_delay=lambda _retry: HOUR).drain()
    assert function.batches == [["a1"], ["a1"]]


def test_trim_horizon_begins_with_the_oldest_record(stream, connect):
    write(stream, "a1")
    function = Function()
    mapping = connect(function, starting_position="TRIM_HORIZON")
    write(stream, "a2")
    mapping.drain()
    assert function.batches == [["a1", "a2"]]


def test_latest_begins_with_the_first_record_after_the_mapping_was_created(stream, connect):
    write(stream, "a1")
    function = Function()
    mapping = connect(function, starting_position="LATEST")
    write(stream, "a2")
    mapping.drain()
    assert function.batches == [["a2"]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batch_size": 10_001},
        {"batching_window_seconds": 301},
        {"maximum_retry_attempts": -2},
        {"maximum_record_age_seconds": 604_801},
        {"maximum_record_age_seconds": 59},
        {"parallelization_factor": 11},
        {"starting_position": "AT_TIMESTAMP"},
    ],
)
def test_settings_that_lambda_refuses_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MappingSettings(**wrong)


def test_more_than_a_page_of_records_is_read_to_the_end(stream, connect):
    write(stream, *[f"a{sequence}" for sequence in range(1, 2502)])
    function = Function()
    connect(function, batch_size=10_000).drain()
    assert [len(batch) for batch in function.batches] == [1000, 1000, 501]
