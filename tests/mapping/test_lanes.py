"""What is delivered side by side, and what in order: shards, and lanes within them."""

from random import Random

from behest_core.testing import EventSourceMapping, MappingSettings, MemoryStream, Returned
from tests.mapping.function import Function, keys, raise_on, write


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
