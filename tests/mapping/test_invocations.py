"""What a function receives from the mapping: a batch, and its context."""

import json

from tests.mapping.function import Function, keys, write


def test_a_function_receives_records_in_the_shape_of_a_dynamodb_event(stream, connect):
    stream.append(keys("a1"), keys("a1") | {"events": {"S": "[]"}})
    function = Function()
    connect(function).drain()
    (event,) = function.events
    (record,) = event.pop("Records")
    assert event == {}
    assert len(record.pop("eventID")) == 32
    assert record == {
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_800_000_000.0,
            "Keys": {"run_id": {"S": "a"}, "sequence": {"N": "1"}},
            "NewImage": {"run_id": {"S": "a"}, "sequence": {"N": "1"}, "events": {"S": "[]"}},
            "SequenceNumber": "100000000000000000000",
            "SizeBytes": record["dynamodb"]["SizeBytes"],
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": stream.stream_arn,
    }


def test_a_deletion_by_time_to_live_names_dynamodb_as_its_author(stream, connect):
    stream.append(keys("a1"), event_name="REMOVE", by_time_to_live=True)
    function = Function()
    connect(function).drain()
    (record,) = function.events[0]["Records"]
    assert record["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def test_a_function_that_changes_its_event_changes_nothing_else(stream, connect):
    (written,) = write(stream, "a1")
    before = json.dumps(written)

    def spoil(event):
        event["Records"][0]["dynamodb"]["Keys"].clear()
        raise RuntimeError

    function = Function(spoil, None)
    connect(function).drain()
    assert function.batches[1] == ["a1"]
    assert json.dumps(written) == before


def test_the_context_tells_request_function_memory_and_time_left(stream, connect, clock):
    write(stream, "a1")
    function = Function()
    mapping = connect(function)
    delivery = mapping.begin() or mapping.step()
    (context,) = function.contexts
    assert context.aws_request_id == delivery.request_id
    assert context.function_name == "projector"
    assert context.invoked_function_arn == "arn:aws:lambda:us-east-1:123456789012:function:projector"
    assert context.memory_limit_in_mb == "512"
    assert context.get_remaining_time_in_millis() == 60_000
    clock.advance(59.5)
    assert context.get_remaining_time_in_millis() == 500
    clock.advance(5)
    assert context.get_remaining_time_in_millis() == 0
