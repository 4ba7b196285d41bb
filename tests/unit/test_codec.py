import json
import random
import zlib
from base64 import b64encode

import pytest
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.errors import MalformedStateError
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.limits import WRITE_UNIT_BYTES
from behest_core.model.record import decode_record
from behest_core.model.state import ExtensionSlice, Parked, RunState, UnknownFinishReason
from tests.builders import RUN, at, commit, poison, raw_commit, record_commit, run_record, text_delta, whole_run


def write_units(item):
    size = sum(
        len(name) + len(value if isinstance(value, bytes) else value.encode())
        for name, each in item.items()
        for value in each.values()
    )
    return -(-size // WRITE_UNIT_BYTES)


def state(**changes):
    folded = fold(None, [record_commit(run_record(metadata={"a": [1, 2.5, None, ""]})), commit(1, *whole_run())]).state
    for name, value in changes.items():
        setattr(folded, name, value)
    return folded


# ---------------------------------------------------------------- commits


def test_a_small_commit_is_text():
    item = items.commit_to_item(commit(1, text_delta()))
    assert item["events"] == {"S": '[{"type":"TextDelta","delta":"Hi","timestamp":"2026-01-31T12:00:03Z"}]'}
    assert item["count"] == {"N": "1"}


def test_a_commit_is_compressed_where_that_saves_write_units():
    item = items.commit_to_item(commit(1, *[text_delta()] * 40))
    assert zlib.decompress(item["events"]["B"]).startswith(b"[{")
    assert write_units(item) == 1


def test_a_commit_is_text_where_compressing_saves_nothing():
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789ABCDEF", k=1300))
    assert "S" in items.commit_to_item(commit(1, text_delta(delta=noise)))["events"]


def read(found):
    """Return a commit with its JSON read."""
    return replace(found, payload=found.read().json, text=None, packed=None)


@pytest.mark.parametrize("original", [record_commit(), commit(1, text_delta()), commit(7, *[text_delta()] * 40)])
def test_a_commit_comes_back_from_its_item_and_from_the_stream(original):
    item = items.commit_to_item(original)
    assert read(items.commit_from_item(item)) == original
    as_lambda_delivers = json.loads(json.dumps(item, default=lambda binary: b64encode(binary).decode()))
    assert read(items.commit_from_item(as_lambda_delivers)) == original


def test_a_record_comes_back_without_its_nulls():
    record = run_record(metadata={"a": None})
    assert decode_record(record_commit(record)) == record
    assert b"client_request_id" not in record_commit(record).payload


def item_of(sequence="6", **attributes):
    return {"run_id": {"S": "run-1"}, "sequence": {"N": sequence}} | attributes


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"count": {"N": "1"}},
        {"count": {"N": "0"}, "events": {"S": "[]"}},
        {"count": {"N": "1.5"}, "events": {"S": "[]"}},
        {"count": {"S": "1"}, "events": {"S": "[]"}},
        {"count": {"N": "1"}, "events": {"L": []}},
        {"count": {"N": "1"}, "events": {"B": b"no zlib"}},
        {"count": {"N": "1"}, "events": {"B": "no base64!"}},
        {"count": {"N": "1"}, "events": {"B": zlib.compress(b"[1]")[:-3]}},
        {"count": {"N": "1"}, "events": {"B": zlib.compress(b" " * 17 * 1024 * 1024)}},
    ],
)
def test_an_item_that_cannot_be_read_is_a_commit_with_a_problem(attributes):
    broken = items.commit_from_item(item_of(**attributes))
    assert broken.sequence == 6
    assert broken.read().error


@pytest.mark.parametrize("sequence", ["-1", "1.5", "1E-3"])
def test_an_item_that_lies_at_no_position_is_no_commit(sequence):
    assert items.commit_from_item(item_of(sequence)) is None
    assert items.last_of(item_of(sequence)) is None


def test_the_last_position_of_an_item_needs_its_key_and_count_only():
    assert items.last_of(item_of(count={"N": "4"})) == 9
    assert items.last_of(item_of()) == 6
    assert items.last_of(item_of("0")) == 0


# ---------------------------------------------------------------- states


@pytest.mark.parametrize(
    "original",
    [
        state(),
        state(last_finish=UnknownFinishReason("pause_turn"), last_error=""),
        state(extensions={"cost": ExtensionSlice.of({"usd": 0.25}, sequence=5, version=1)}, revision=7),
        fold(None, [poison(1)]).state.stamped({}, at(1)),
        state(metadata={"big": 10**38 - 1, "small": 1e-7, "far": 1e22, "false": False, "empty": {}, "list": []}),
        RunState(run_id="run-2", parked=Parked(sequence=0, error="E", message="m", version=1, parked_at=at(1))),
    ],
)
def test_a_state_comes_back_from_its_item(original):
    assert items.state_from_item(items.state_to_item(original)) == original


def test_an_absent_value_is_an_absent_attribute():
    assert not {"last_error", "parked", "extensions"} & items.state_to_item(state()).keys()


def test_a_state_item_has_native_attributes_and_its_status_shard():
    item = items.state_to_item(state())
    assert item["status_shard"] == {"S": "Completed#3"}
    assert item["total_usage"]["M"]["total_tokens"] == {"N": "15"}
    assert item["metadata"] == {"M": {"a": {"L": [{"N": "1"}, {"N": "2.5"}, {"NULL": True}, {"S": ""}]}}}


def test_the_shard_of_a_run_never_changes():
    shards = [items.shard_of("Failed", each) for each in ("run-1", "run-2", "日本")]
    assert shards == ["Failed#3", "Failed#1", "Failed#4"]
    assert set(shards) <= set(items.shards_of("Failed"))


def test_a_state_item_that_something_else_wrote_is_refused_by_name():
    item = items.state_to_item(state()) | {"iteration": {"S": "many"}, "revision": {"N": "9"}}
    with pytest.raises(MalformedStateError, match="run-1"):
        items.state_from_item(item)
    assert items.repaired_state(item) == RunState(run_id="run-1", revision=9)


NO_JSON = [{"B": b"x"}, {"BS": [b"x"]}, {"SS": ["x"]}, {"NS": ["1"]}]


@pytest.mark.parametrize("value", NO_JSON, ids=str)
@pytest.mark.parametrize("place", ["metadata", "in metadata", "a slice"])
def test_a_state_item_with_a_value_that_is_no_json_is_refused_by_name(value, place):
    item = items.state_to_item(state(extensions={"cost": ExtensionSlice.of({}, sequence=5, version=1)}))
    if place == "a slice":
        item["extensions"]["M"]["cost"]["M"]["state"] = value
    elif place == "in metadata":
        item["metadata"] = {"M": {"a": {"L": [value]}}}
    else:
        item["metadata"] = value
    with pytest.raises(MalformedStateError, match=r"an attribute of type \w+ is no JSON"):
        items.state_from_item(item)


@pytest.mark.parametrize("value", NO_JSON, ids=str)
def test_a_state_item_may_have_attributes_of_any_type_that_are_not_behests(value):
    assert items.state_from_item(items.state_to_item(state()) | {"mine": value}) == state()


@pytest.mark.parametrize("name", ["sequence", "revision", "iteration", "event_count", "reducer_version"])
@pytest.mark.parametrize("value", ["-1", "0.5", "1E+37"])
def test_a_state_item_with_a_count_that_is_none_is_refused_by_name(name, value):
    with pytest.raises(MalformedStateError, match=name):
        items.state_from_item(items.state_to_item(state()) | {name: {"N": value}})


PARKED = Parked(sequence=0, error="E", message="m", version=1, at=at(1), parked_at=at(1))


@pytest.mark.parametrize("value", [{"S": ""}, {"S": "soon"}, {"S": "2" * 2_000}, None], ids=str)
@pytest.mark.parametrize("place", ["run", "slice"])
def test_a_state_item_in_which_the_time_of_parking_is_none_is_refused_by_name(place, value):
    """It becomes a range key: DynamoDB would refuse the item for ever, or no list would show the run."""
    piece = ExtensionSlice.of({}, sequence=5, version=1, parked=PARKED if place == "slice" else None)
    original = state(extensions={"cost": piece}, parked=PARKED if place == "run" else None)
    item = items.state_to_item(original)
    assert items.state_from_item(item) == original
    parked = item["parked"] if place == "run" else item["extensions"]["M"]["cost"]["M"]["parked"]
    parked["M"] = {name: each for name, each in (parked["M"] | {"parked_at": value}).items() if each is not None}
    with pytest.raises(MalformedStateError, match="`parked_at` is not an RFC 3339 time"):
        items.state_from_item(item)


def test_a_state_item_that_was_created_at_no_time_is_refused_by_name():
    with pytest.raises(MalformedStateError, match="`created_at` is not an RFC 3339 time"):
        items.state_from_item(items.state_to_item(state()) | {"created_at": {"S": "soon"}})


# ---------------------------------------------------------------- stream records


def record(name, image=None, **more):
    keys = {"run_id": {"S": "run-1"}, "sequence": {"N": "6"}}
    return {"eventName": name, "dynamodb": {"Keys": keys, "SequenceNumber": "100", "NewImage": image}} | more


def test_an_insert_brings_a_commit():
    assert items.change_of(record("INSERT", items.commit_to_item(raw_commit(6, 1, b"[]")))).sequence == 6


@pytest.mark.parametrize(
    ("given", "change"),
    [
        (
            record("REMOVE", userIdentity={"type": "Service", "principalId": "dynamodb.amazonaws.com"}),
            items.Change.EXPIRED,
        ),
        (record("REMOVE"), items.Change.REMOVED),
        (record("REMOVE", userIdentity=None), items.Change.REMOVED),
        (record("MODIFY", item_of()), items.Change.MODIFIED),
        (record("INSERT", item_of("1.5")), items.Change.MISPLACED),
    ],
)
def test_anything_else_is_told_apart(given, change):
    assert items.change_of(given) is change
    assert items.key_of(given) == ("run-1", 6)
    assert items.sequence_number_of(given) == "100"


def test_commits_have_a_last_position():
    assert (Commit(run_id="r", sequence=4, count=3).last, record_commit().last) == (6, 0)


def test_a_slice_that_is_not_parked_has_no_attribute_parked():
    state = RunState(run_id=RUN, extensions={"cost": ExtensionSlice.of({"cents": 1}, sequence=3, version=1)})
    item = items.state_to_item(state)
    assert item["extensions"]["M"]["cost"]["M"].keys() == {"state", "sequence", "version"}
    assert items.state_from_item(item) == state
