import msgspec
import pytest

from behest_core.errors import InvalidValueError
from behest_core.model import events
from behest_core.model.decoding import core_decoder, decode_each, encode, encode_event
from behest_core.model.events import (
    SEED_EVENTS,
    Event,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    ToolExecutionResult,
    UnknownEvent,
)
from behest_core.model.nesting import NESTING
from tests.builders import at, custom, text_delta, whole_run
from tests.golden import SEED_FOLD, golden_runs
from tests.wire import encoded_events_of


def test_the_core_has_the_seeds_seventeen_types_and_cache_metrics():
    seeds = {name for line in golden_runs(SEED_FOLD) for each in line["events"] for name in each["event"]}
    assert {events.type_name(each) for each in SEED_EVENTS} == seeds | {"CacheMetrics"}


def test_type_comes_first():
    assert encode_event(text_delta()).startswith(b'{"type":"TextDelta",')
    assert encode_event({"timestamp": at(1), "delta": "x", "type": "TextDelta"}).startswith(b'{"type":"TextDelta",')


def test_every_golden_event_is_read_and_written_the_same_but_for_unknown_fields():
    for line in golden_runs(SEED_FOLD):
        for encoded in encoded_events_of(line):
            fields = msgspec.json.decode(encoded)
            for unknown in ("future_field", "run_id"):
                fields.pop(unknown, None)
            assert msgspec.to_builtins(core_decoder.decode_one(encoded)) == fields


def test_unknown_fields_stay_in_what_is_written():
    event = {"type": "TextDelta", "timestamp": at(1), "delta": "x", "future": {"a": 1.5}}
    assert msgspec.json.decode(encode_event(event)) == event


def test_an_unknown_type_is_kept_whole():
    encoded = encode_event(custom())
    event = core_decoder.decode_one(encoded)
    assert event == UnknownEvent("approvals.Requested", at(3), encoded)
    assert encode_event(event) == encoded


def test_decoding_gives_the_events_before_the_first_malformed_one_and_its_error():
    payload = b"[" + encode_event(text_delta()) + b"," + encode_event(custom()) + b',{"type":"TextDelta"}]'
    decoded, error = decode_each(payload, core_decoder.decode_one)
    assert [type(each) for each in decoded] == [TextDelta, UnknownEvent]
    assert "timestamp" in str(error)


def test_decoding_a_whole_run_gives_its_events():
    payload = b"[" + b",".join(map(encode_event, whole_run())) + b"]"
    assert decode_each(payload, core_decoder.decode_one) == (whole_run(), None)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"type": "TextDelta", "timestamp": at(1)}, "event"),
        ({"type": "TextDelta", "timestamp": at(1), "delta": 5}, "event.delta"),
        (
            {"type": "UsageRecorded", "timestamp": at(1), "usage": {"input_tokens": -1, "output_tokens": 1}},
            "event.usage.input_tokens",
        ),
        ({"type": "TextDelta", "timestamp": "today", "delta": "x"}, "event.timestamp"),
        ({"type": "a.B"}, "event"),
        ({"timestamp": at(1)}, "event.type"),
        ({"type": "a.B", "timestamp": at(1), "x": {1, 2}.__iter__()}, "event"),
        ({"type": "a.B", "timestamp": at(1), "x": "\ud800"}, "event"),
        (TextDelta(delta=5, timestamp=at(1)), "event.delta"),
        (TextDelta(delta="x", timestamp="2026-01-31"), "event.timestamp"),
        (UnknownEvent("a.B", at(1), b"nonsense"), "event"),
    ],
)
def test_what_could_not_be_folded_is_refused_before_it_is_written(event, path):
    with pytest.raises(InvalidValueError) as caught:
        encode_event(event)
    assert caught.value.path == path


def test_a_tools_result_is_written_as_the_seed_writes_it():
    assert msgspec.json.encode(ToolExecutionResult.ok({"a": 1})) == b'{"Success":{"output":{"a":1}}}'
    assert msgspec.json.encode(ToolExecutionResult.failed("no")) == b'{"Failure":{"error":"no"}}'


# ---------------------------------------------------------------- encoded once


class Rated(Event, tag="ratings.Rated"):
    stars: int


def test_an_encoded_event_says_its_type_and_is_encoded_no_more():
    encoded = encode(custom())
    assert encoded.type == "approvals.Requested"
    assert encode(encoded) is encoded


@pytest.mark.parametrize(
    "event", [text_delta(), custom(), UnknownEvent("a.B", at(1), encode_event({"type": "a.B", "timestamp": at(1)}))]
)
def test_whatever_is_encoded_has_the_type_that_lies_in_the_log(event):
    encoded = encode(event)
    assert msgspec.json.decode(encoded.raw)["type"] == encoded.type


def test_an_event_of_a_plugins_class_is_checked_by_that_class():
    assert encode(Rated(stars=3, timestamp=at(1))).type == "ratings.Rated"
    with pytest.raises(InvalidValueError, match=r"event\.stars"):
        encode(Rated(stars="three", timestamp=at(1)))


@pytest.mark.parametrize("arguments", [object(), {"a": {object()}}, {("a", "b"): 1}, "\ud800", msgspec.Raw(b"junk")])
def test_an_event_that_no_json_can_hold_is_refused_by_name(arguments):
    event = ToolCallCompleted(call=ToolCall("c", "t", arguments), timestamp=at(1))
    with pytest.raises(InvalidValueError, match=r"^event"):
        encode(event)


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "event_of",
    [
        lambda value: {"type": "a.B", "timestamp": at(1), "x": value},
        lambda value: ToolCallCompleted(call=ToolCall("c", "t", {"text": "x", "x": value}), timestamp=at(1)),
        lambda value: UnknownEvent("a.B", at(1), msgspec.json.encode({"type": "a.B", "timestamp": at(1), "x": value})),
    ],
    ids=["an object", "an instance", "one that was read"],
)
def test_an_event_that_nests_deeper_than_a_log_may_is_refused_whatever_the_interpreters_stack_holds(event_of):
    assert encode(event_of(nested(NESTING - 4))).raw
    for levels in (NESTING, NESTING + 100):
        with pytest.raises(InvalidValueError, match="event: nested deeper than 511 levels"):
            encode(event_of(nested(levels)))
