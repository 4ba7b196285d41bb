"""Batches that fail are cut in two."""

from tests.mapping.function import Function, raise_on, report, write


def test_a_failed_batch_is_bisected_until_the_record_that_fails_is_alone(stream, connect, failures):
    write(stream, "a1", "a2", "a3", "a4", "a5")
    function = Function(always=raise_on("a4"))
    connect(function, bisect_batch_on_function_error=True, maximum_retry_attempts=0).drain()
    assert function.batches == [
        ["a1", "a2", "a3", "a4", "a5"],
        ["a1", "a2", "a3"],
        ["a4", "a5"],
        ["a4"],
        ["a5"],
    ]
    assert [failure["DDBStreamBatchInfo"]["batchSize"] for failure in failures] == [1]


def test_bisecting_consumes_no_retry(stream, connect, failures):
    write(stream, "a1", "a2", "a3", "a4")
    function = Function(always=raise_on("a1"))
    connect(function, bisect_batch_on_function_error=True, maximum_retry_attempts=2).drain()
    assert function.batches == [
        ["a1", "a2", "a3", "a4"],
        ["a1", "a2"],
        ["a1"],
        ["a1"],
        ["a1"],
        ["a2"],
        ["a3", "a4"],
    ]
    assert failures[0]["requestContext"]["approximateInvokeCount"] == 5


def test_a_batch_that_fails_is_bisected_also_where_failures_can_be_reported(stream, connect):
    write(stream, "a1", "a2")
    function = Function(RuntimeError("once"))
    connect(function, bisect_batch_on_function_error=True, report_batch_item_failures=True).drain()
    assert function.batches == [["a1", "a2"], ["a1"], ["a2"]]


def test_with_both_a_batch_is_bisected_at_the_reported_record_and_only_the_rest_is_delivered_again(stream, connect):
    write(stream, "a1", "a2", "a3", "a4")
    function = Function(report("a3"))
    connect(function, bisect_batch_on_function_error=True, report_batch_item_failures=True).drain()
    assert function.batches == [["a1", "a2", "a3", "a4"], ["a3", "a4"]]


def test_with_both_a_record_that_always_fails_is_given_up_alone(stream, connect, failures):
    write(stream, "a1", "a2", "a3", "a4")
    (_, poison, _, _) = stream.read(stream.shards()[0].shard_id, None, 4).records
    function = Function(always=report("a2"))
    connect(
        function, bisect_batch_on_function_error=True, report_batch_item_failures=True, maximum_retry_attempts=1
    ).drain()
    assert function.batches == [
        ["a1", "a2", "a3", "a4"],
        ["a2", "a3", "a4"],
        ["a2", "a3"],
        ["a2"],
        ["a2"],
        ["a3"],
        ["a4"],
    ]
    info = failures[0]["DDBStreamBatchInfo"]
    assert info["startSequenceNumber"] == info["endSequenceNumber"] == poison["dynamodb"]["SequenceNumber"]
