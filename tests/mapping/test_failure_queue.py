"""What is told of records that are given up."""

import json

from behest_core.testing import EventSourceMapping, MappingSettings
from tests.mapping.function import Function, raise_on, report, write


def test_the_failure_queue_gets_positions_in_the_documented_form(stream, connect, failures, clock):
    first, _, last = write(stream, "a1", "a2", "a3")
    clock.advance(0.25)
    function = Function(always=raise_on("a1"))
    connect(function, maximum_retry_attempts=1).drain()
    assert json.loads(json.dumps(failures)) == [
        {
            "requestContext": {
                "requestId": function.contexts[-1].aws_request_id,
                "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:projector",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 2,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": "2027-01-15T08:00:00.250Z",
            "DDBStreamBatchInfo": {
                "shardId": stream.shards()[0].shard_id,
                "startSequenceNumber": first["dynamodb"]["SequenceNumber"],
                "endSequenceNumber": last["dynamodb"]["SequenceNumber"],
                "approximateArrivalOfFirstRecord": "2027-01-15T08:00:00Z",
                "approximateArrivalOfLastRecord": "2027-01-15T08:00:00Z",
                "batchSize": 3,
                "streamArn": stream.stream_arn,
            },
        }
    ]


def test_records_that_the_function_itself_reports_to_the_end_carry_no_function_error(stream, connect, failures):
    write(stream, "a1")
    function = Function(always=report("a1"))
    connect(function, report_batch_item_failures=True, maximum_retry_attempts=0).drain()
    assert failures[0]["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}


def test_without_a_failure_queue_what_is_given_up_is_lost(stream, clock):
    write(stream, "a1", "b1")
    function = Function(RuntimeError("once"))
    settings = MappingSettings(maximum_retry_attempts=0, batch_size=1)
    mapping = EventSourceMapping(stream, function, settings, clock=clock)
    mapping.drain()
    assert function.batches == [["a1"], ["b1"]]
    assert mapping.counts.discarded == 1
