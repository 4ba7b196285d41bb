"""The model of Lambda's event source mapping: each behaviour that AWS documents, one by one."""

import json
from random import Random

import pytest

from behest_core.testing import (
    EventSourceMapping,
    Failed,
    FunctionKilled,
    FunctionSettings,
    InvocationThrottled,
    ManualClock,
    MappingNotIdleError,
    MappingSettings,
    MemoryStream,
    Returned,
    Throttled,
)

HOUR = 3600


class Function:
    """A handler that notes what it got and answers as told; `answers` may hold exceptions."""

    def __init__(self, *answers, always=None):
        self.answers = list(answers)
        self.always = always
        self.events = []
        self.contexts = []
        self.batches = []
        """What it received, by the runs and sequences in the keys: ``["a1", "a2"]``."""

    def __call__(self, event, context):
        self.events.append(event)
        self.batches.append([label(record) for record in event["Records"]])
        self.contexts.append(context)
        answer = self.answers.pop(0) if self.answers else self.always
        answer = answer(event) if callable(answer) and not isinstance(answer, type) else answer
        if isinstance(answer, BaseException) or (isinstance(answer, type) and issubclass(answer, BaseException)):
            raise answer
        return answer


def label(record):
    keys = record["dynamodb"]["Keys"]
    return keys["run_id"]["S"] + keys["sequence"]["N"]


def write(stream, *labels):
    """Append one record for each label, and return them: ``write(stream, "a1", "a2", "b1")``."""
    return [stream.append(keys(one), keys(one) | {"events": {"S": "[]"}}) for one in labels]


def keys(one):
    return {"run_id": {"S": one[0]}, "sequence": {"N": one[1:]}}


def number(event, wanted):
    """The sequence number of a record that a function received."""
    return next(r["dynamodb"]["SequenceNumber"] for r in event["Records"] if label(r) == wanted)


def report(*labels):
    """An answer that reports these records, those of them that are in the batch, as failed."""

    def answer(event):
        there = [label(record) for record in event["Records"]]
        return {"batchItemFailures": [{"itemIdentifier": number(event, one)} for one in labels if one in there]}

    return answer


def raise_on(*labels):
    """An answer that raises where one of these records is in the batch."""

    def answer(event):
        if found := [label(record) for record in event["Records"] if label(record) in labels]:
            raise RuntimeError(f"poison: {found}")

    return answer


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def stream(clock):
    return MemoryStream(clock=clock)


@pytest.fixture
def failures():
    return []


@pytest.fixture
def connect(stream, clock, failures):
    """Make a mapping of the stream to a function: ``connect(function, batch_size=2)``."""

    def connect(function, *, source=stream, random=None, lane_by="partition_key", retry_delay=None, **settings):
        return EventSourceMapping(
            source,
            function,
            MappingSettings(**settings),
            function=FunctionSettings(timeout_seconds=60, memory_mb=512),
            clock=clock,
            random=random,
            on_failure=failures.append,
            lane_by=lane_by,
            retry_delay=retry_delay or (lambda _retry: 0),
        )

    return connect


# ------------------------------------------------------------------------------------------------ what a function gets


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


# -------------------------------------------------------------------------------------------- batches, windows, positions


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


# ---------------------------------------------------------------------------------------------- shards and lanes


def test_shards_are_delivered_independently_of_each_other(clock, connect):
    stream = MemoryStream(shards=2, clock=clock)
    a, b = "a", next(run for run in "bcdefgh" if stream.shard_of(keys(run + "1")) != stream.shard_of(keys("a1")))
    write(stream, a + "1", b + "1", a + "2", b + "2")
    function = Function(always=raise_on(a + "1"))
    mapping = connect(function, source=stream)
    for _ in range(4):
        mapping.step()
    assert [b + "1", b + "2"] in function.batches
    assert [a + "1", a + "2"] in function.batches


def test_a_new_shard_is_read_only_after_the_one_it_came_from_is_delivered(stream, connect):
    write(stream, "a1", "a2")
    (shard,) = stream.shards()
    stream.split(shard.shard_id)
    write(stream, "a3")
    function = Function(RuntimeError("a1 first"))
    mapping = connect(function)
    mapping.step()
    mapping.step()
    assert function.batches == [["a1", "a2"], ["a1", "a2"]]
    mapping.drain()
    assert function.batches[2:] == [["a3"]]


def test_a_new_shard_is_read_from_its_beginning_also_by_a_mapping_from_latest(stream, connect):
    write(stream, "a1")
    function = Function()
    mapping = connect(function, starting_position="LATEST")
    (shard,) = stream.shards()
    stream.split(shard.shard_id)
    write(stream, "a2")
    mapping.drain()
    assert function.batches == [["a2"]]


def test_a_lane_has_one_batch_in_flight(stream, connect):
    write(stream, "a1", "a2")
    mapping = connect(Function(), batch_size=1)
    mapping.poll()
    first = mapping.begin()
    assert mapping.begin() is None
    mapping.finish(first, Returned())
    assert mapping.begin().sequence_numbers != first.sequence_numbers


def test_a_shard_has_as_many_batches_in_flight_as_the_parallelization_factor(stream, connect):
    write(stream, *[run + "1" for run in "abcdefghijklmnop"])
    mapping = connect(Function(), batch_size=1, parallelization_factor=3)
    mapping.poll()
    deliveries = [mapping.begin() for _ in range(4)]
    assert [delivery.lane for delivery in deliveries[:3]] == sorted({0, 1, 2})
    assert deliveries[3] is None


def test_records_of_one_partition_key_share_a_lane_and_stay_in_order(stream, connect):
    labels = [f"{run}{sequence}" for sequence in range(1, 9) for run in "abcdef"]
    write(stream, *labels)
    function = Function()
    connect(function, batch_size=3, parallelization_factor=10, random=Random(7)).drain()
    delivered = [one for batch in function.batches for one in batch]
    assert sorted(delivered) == sorted(labels)
    for run in "abcdef":
        assert [one for one in delivered if one[0] == run] == [one for one in labels if one[0] == run]


def test_lanes_by_item_promise_no_order_between_two_items_of_one_partition_key(stream, connect):
    """The guide promises order "at the item (partition and sort key) level", no more."""
    write(stream, *[f"a{sequence}" for sequence in range(1, 9)])
    mapping = connect(Function(), batch_size=10, parallelization_factor=10, lane_by="item")
    mapping.poll()
    lanes = {delivery.lane for delivery in iter(mapping.begin, None)}
    assert len(lanes) > 1


def test_lanes_by_item_keep_the_changes_of_one_item_in_order(stream, connect):
    for change in range(1, 9):
        stream.append(keys("a1"), {"change": {"N": str(change)}}, event_name="INSERT" if change == 1 else "MODIFY")
    function = Function()
    connect(function, batch_size=2, parallelization_factor=10, lane_by="item", random=Random(7)).drain()
    changes = [r["dynamodb"]["NewImage"]["change"]["N"] for event in function.events for r in event["Records"]]
    assert changes == list("12345678")


def test_a_lane_that_fails_blocks_itself_only(stream, connect):
    write(stream, *[f"{run}{sequence}" for sequence in (1, 2) for run in "abcdefgh"])
    function = Function(always=raise_on("a1"))
    mapping = connect(function, parallelization_factor=10)
    for _ in range(40):
        mapping.step()
    delivered = {one for batch in function.batches for one in batch if "a1" not in batch}
    lane_of_a = {one[0] for batch in function.batches if "a1" in batch for one in batch}
    assert {one[0] for one in delivered} == set("abcdefgh") - lane_of_a
    assert len(lane_of_a) < 8


def test_the_order_of_lanes_is_random_but_the_same_for_the_same_seed(clock):
    def order(seed):
        stream = MemoryStream(clock=clock)
        write(stream, *[f"{run}{sequence}" for sequence in (1, 2) for run in "abcdefgh"])
        function = Function()
        settings = MappingSettings(batch_size=1, parallelization_factor=5)
        EventSourceMapping(stream, function, settings, clock=clock, random=Random(seed)).drain()
        return function.batches, [context.aws_request_id for context in function.contexts]

    assert order(1) == order(1)
    assert order(1) != order(2)


# ---------------------------------------------------------------------------------------------- answers


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


# ---------------------------------------------------------------------------------------------- retries


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


# ---------------------------------------------------------------------------------------------- bisecting


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


# ---------------------------------------------------------------------------------------------- age


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


# ---------------------------------------------------------------------------------------------- the failure queue


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


# ---------------------------------------------------------------------------------------------- driven from outside


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


def test_more_than_a_page_of_records_is_read_to_the_end(stream, connect):
    write(stream, *[f"a{sequence}" for sequence in range(1, 2502)])
    function = Function()
    connect(function, batch_size=10_000).drain()
    assert [len(batch) for batch in function.batches] == [1000, 1000, 501]
