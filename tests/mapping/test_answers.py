"""What the mapping makes of a function's answer: success, failure, failure from a record on."""

import pytest

from behest_core.testing import FunctionKilled, InvocationThrottled
from tests.mapping.function import Function, number, report, write


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, {"other": 1}])
def test_an_empty_answer_is_a_success(stream, connect, answer):
    write(stream, "a1", "a2")
    function = Function(always=answer)
    mapping = connect(function, report_batch_item_failures=True)
    mapping.drain()
    assert function.batches == [["a1", "a2"]]
    assert mapping.counts.failures == 0


def test_the_lowest_reported_record_is_the_checkpoint(stream, connect):
    write(stream, "a1", "a2", "a3", "a4", "a5")
    function = Function(report("a4", "a2", "a3"))
    connect(function, report_batch_item_failures=True).drain()
    assert function.batches == [["a1", "a2", "a3", "a4", "a5"], ["a2", "a3", "a4", "a5"]]


def test_sequence_numbers_are_compared_as_numbers(stream, connect, monkeypatch):
    monkeypatch.setattr(stream, "_numbers", iter([99, 100]))
    write(stream, "a1", "a2")
    function = Function(report("a1", "a2"))
    connect(function, report_batch_item_failures=True).drain()
    assert function.batches == [["a1", "a2"], ["a1", "a2"]]


def test_what_remains_of_a_batch_is_delivered_alone_before_what_is_new(stream, connect):
    write(stream, "a1", "a2", "a3")
    function = Function(report("a2"))
    mapping = connect(function, report_batch_item_failures=True, batch_size=3)
    mapping.step()
    write(stream, "a4")
    mapping.drain()
    assert function.batches == [["a1", "a2", "a3"], ["a2", "a3"], ["a4"]]


@pytest.mark.parametrize(
    "failure",
    [
        {"itemIdentifier": ""},
        {"itemIdentifier": None},
        {"itemIdentifier": 7},
        {"itemIdentifier": "100000000000000099999"},
        {"id": "100000000000000000001"},
        {},
        None,
        "100000000000000000001",
    ],
)
def test_an_identifier_that_is_empty_null_misnamed_or_unknown_fails_the_whole_batch(stream, connect, failure):
    write(stream, "a1", "a2")
    function = Function(lambda event: {"batchItemFailures": [{"itemIdentifier": number(event, "a2")}, failure]})
    connect(function, report_batch_item_failures=True).drain()
    assert function.batches == [["a1", "a2"], ["a1", "a2"]]


@pytest.mark.parametrize(
    "answer", ["ok", 1, [], [{"itemIdentifier": "100000000000000000001"}], {"batchItemFailures": "a"}]
)
def test_an_answer_of_another_form_fails_the_whole_batch(stream, connect, answer):
    write(stream, "a1", "a2")
    function = Function(answer)
    connect(function, report_batch_item_failures=True).drain()
    assert function.batches == [["a1", "a2"], ["a1", "a2"]]


def test_without_report_batch_item_failures_an_answer_means_nothing(stream, connect):
    write(stream, "a1", "a2")
    function = Function(report("a2"))
    connect(function).drain()
    assert function.batches == [["a1", "a2"]]


def test_an_answer_that_is_not_json_fails_the_whole_batch(stream, connect):
    write(stream, "a1")
    function = Function({"batchItemFailures": {1, 2}})
    mapping = connect(function, report_batch_item_failures=True)
    mapping.drain()
    assert len(function.batches) == 2
    assert "TypeError" in mapping.last_failure


@pytest.mark.parametrize("error", [RuntimeError("broken"), FunctionKilled("out of memory"), SystemExit(1)])
def test_an_exception_or_a_dead_process_fails_the_whole_batch(stream, connect, error):
    write(stream, "a1", "a2")
    function = Function(error)
    mapping = connect(function, report_batch_item_failures=True)
    mapping.drain()
    assert function.batches == [["a1", "a2"], ["a1", "a2"]]
    assert type(error).__name__ in mapping.last_failure


def test_a_handler_cannot_catch_the_death_of_its_process():
    assert not issubclass(FunctionKilled, Exception)
    assert not issubclass(InvocationThrottled, Exception)


def test_an_invocation_that_takes_too_long_fails_though_it_answered(stream, connect, clock):
    write(stream, "a1")
    function = Function(lambda _event: clock.advance(61))
    mapping = connect(function, report_batch_item_failures=True)
    mapping.drain()
    assert function.batches == [["a1"], ["a1"]]
    assert "timed out" in mapping.last_failure


def test_an_interrupt_passes_and_the_batch_is_delivered_again(stream, connect):
    write(stream, "a1")
    function = Function(KeyboardInterrupt)
    mapping = connect(function, maximum_retry_attempts=0)
    with pytest.raises(KeyboardInterrupt):
        mapping.step()
    mapping.drain()
    assert function.batches == [["a1"], ["a1"]]
