"""Lines of JSON in the seed's shapes: read, folded, written, and refused with the place of what is wrong."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from behest_core.errors import MalformedEventError, MalformedLineError
from behest_core.interchange import fold_line, numbered, read_run, same_event, same_record, write_run, write_state
from behest_core.model.events import EncodedEvent
from behest_core.model.packing import RecordedEvent
from behest_core.model.state import RunState
from tests.builders import RUN, at, run_record
from tests.docs.test_vocabulary import LINES
from tests.golden import differences, golden_files, golden_lines

RECORD = {
    "id": RUN,
    "session_id": "session-1",
    "status": "Pending",
    "provider": "openai",
    "model": "gpt-4o",
    "metadata": None,
    "client_request_id": None,
    "created_at": at(0),
    "updated_at": at(0),
}


TOO_DEEP = "maximum recursion depth exceeded while deserializing an object"
TOO_LONG = "a number of 41 digits; DynamoDB keeps 38, write it as text"
NO_TIME = "expected an RFC 3339 time such as 2026-01-31T12:00:00.5Z"


def event_record(sequence: int, tag: str = "TextDelta", /, record_time: str = at(1), **fields: Any) -> dict[str, Any]:
    body = {"run_id": RUN, "delta": "Hi", "timestamp": at(1), **fields}
    return {"sequence": sequence, "run_id": RUN, "event": {tag: body}, "timestamp": record_time}


def line(*events: Any, record: Any = RECORD) -> bytes:
    return json.dumps({"record": record, "events": events}).encode()


def read(*events: Any, record: Any = RECORD) -> Any:
    return read_run("runs.jsonl", 7, line(*events, record=record))


def written(run: Any) -> Any:
    events = [RecordedEvent(run.run_id, n, "", event.raw) for n, event in enumerate(run.events, 1)]
    return json.loads(write_run(run.record, events))


def refused(data: bytes) -> tuple[str, str]:
    with pytest.raises(MalformedLineError) as caught:
        read_run("runs.jsonl", 7, data)
    assert (caught.value.source, caught.value.number) == ("runs.jsonl", 7)
    return caught.value.field, caught.value.expected


# ---------------------------------------------------------------- the golden files


@pytest.mark.parametrize("file", golden_files())
def test_every_golden_line_folds_to_its_state(file):
    for number, data in numbered(golden_lines(file)):
        expected = json.loads(data)["state"]
        actual = json.loads(write_state(fold_line(file.name, number, data)))
        assert list(actual) == list(expected)
        assert differences(expected, actual) == []


@pytest.mark.parametrize("file", golden_files())
def test_every_golden_line_is_written_back_as_it_was_but_for_its_sequences(file):
    for number, data in numbered(golden_lines(file)):
        expected = json.loads(data)
        del expected["state"]
        for sequence, event in enumerate(expected["events"], start=1):
            event["sequence"] = sequence
        assert expected == written(read_run(file.name, number, data))


@pytest.mark.parametrize("file", golden_files())
def test_events_cut_out_of_a_line_are_those_that_are_taken_apart(file, monkeypatch):
    lines = [*islice(numbered(golden_lines(file)), 40)]
    at_once = [read_run(file.name, number, data).events for number, data in lines]
    monkeypatch.setattr("behest_core.interchange._cut_out", lambda *_: None)
    assert at_once == [read_run(file.name, number, data).events for number, data in lines]


# ---------------------------------------------------------------- reading


def test_an_event_lies_in_the_log_with_its_type_first_and_without_its_run():
    [event] = read(event_record(1)).events
    assert event == EncodedEvent("TextDelta", b'{"type":"TextDelta","delta":"Hi","timestamp":"%b"}' % at(1).encode())


def test_the_time_of_an_event_record_that_is_not_the_events_own_is_kept_in_the_event():
    [event] = read(event_record(1, record_time=at(2))).events
    assert json.loads(event.raw)["recorded_at"] == at(2)


def test_unknown_types_and_fields_are_kept_number_by_number():
    data = line(event_record(1, "approvals.Requested", cost="COST")).replace(b'"COST"', b"1.50")
    [event] = read_run("runs.jsonl", 1, data).events
    assert event.raw.endswith(b'"cost":1.50}')
    assert event.raw.startswith(b'{"type":"approvals.Requested"')


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line)["type"])
def test_every_event_with_all_that_it_can_say_comes_back_as_it_was(line):
    event = {**json.loads(line), "step_id": "s-1", "future": [1.50, None]}
    kept = json.dumps(event, separators=(",", ":")).encode()
    written = write_run(run_record(), [RecordedEvent(RUN, 1, "", kept)])
    [read] = read_run("file", 1, written).events
    assert json.loads(read.raw) == event
    assert same_event(RUN, read.raw, kept)
    assert b"1.5" in read.raw


def test_what_a_line_has_beside_its_run_is_ignored():
    data = json.dumps({"state": 1, "record": {**RECORD, "more": 1}, "events": [], "else": None}).encode()
    assert read_run("runs.jsonl", 1, data).record == run_record()


@pytest.mark.parametrize("first", [0, 1, 40])
def test_sequences_may_begin_anywhere(first):
    assert len(read(event_record(first), event_record(first + 1)).events) == 2


def test_a_run_without_record_is_known_by_its_events():
    run = read(event_record(1), record=None)
    assert (run.run_id, run.record) == (RUN, None)
    assert written(run)["record"] is None


def test_blank_lines_are_passed_over_but_numbered():
    assert list(numbered([b"\n", b"{}\n", b"  \n", b"[]"])) == [(2, b"{}\n"), (4, b"[]")]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", ("line", "input data was truncated")),
        (b"[]", ("line", "expected `object`, got `array`")),
        (b'{"record":null}', ("events", "expected, but missing")),
        (b'\xff{"record":null,"events":[]}', ("line", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte")),
        (b'{"record":null,"events":[]}', ("record", "expected a run record, as there are no events to name the run")),
    ],
    ids=["cut short", "an array", "no events", "not UTF-8", "no run"],
)  # fmt: skip
def test_a_line_that_is_none_is_refused(data, expected):
    assert refused(data) == expected


def test_a_line_that_is_nested_too_deep_is_refused():
    depth = 100_000  # beyond any interpreter's stack; how deep is too deep, and so where it shows, is the interpreter's
    field, expected = refused(b'{"record":' + b"[" * depth + b"]" * depth + b',"events":[]}')
    assert field in {"line", "record"}
    assert expected == TOO_DEEP


def test_an_event_that_nests_deeper_than_a_log_may_is_refused():
    deep = json.loads("[" * 600 + "]" * 600)
    assert refused(line(event_record(1, more=deep))) == ("events[0].event.TextDelta", "nested deeper than 511 levels")


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"id": ""}, "record.id", "expected `str` of length >= 1"),
        ({"model": 4}, "record.model", "expected `str`, got `int`"),
        ({"created_at": "yesterday, at about noon"}, "record", NO_TIME),
        ({"metadata": {"limits": [1, 10**40]}}, "record.metadata.limits[1]", TOO_LONG),
        ({"metadata": {"": 1}}, "record.metadata", "a key is empty; DynamoDB has no empty attribute names"),
    ],
)  # fmt: skip
def test_a_wrong_record_is_refused_with_its_field(change, field, expected):
    data = line(record={**RECORD, **change})
    if change == {"metadata": {"limits": [1, 10**40]}}:
        data = data.replace(str(10**40).encode(), b"1" * 41)
    assert refused(data) == (field, expected)


def test_a_missing_field_of_the_record_is_named():
    record = {name: value for name, value in RECORD.items() if name != "session_id"}
    assert refused(line(record=record)) == ("record.session_id", "expected, but missing")


@pytest.mark.parametrize(
    ("event", "field", "expected"),
    [
        (
            event_record(1, "UsageRecorded", usage={"input_tokens": "1", "output_tokens": 1}),
            "events[1].event.UsageRecorded.usage.input_tokens",
            "expected `int`, got `str`",
        ),
        (event_record(1, "UsageRecorded"), "events[1].event.UsageRecorded.usage", "expected, but missing"),
        (
            event_record(1, timestamp="2026-01-31 at noon, or so", record_time=at(1)),
            "events[1].event.TextDelta.timestamp",
            NO_TIME,
        ),
        (
            event_record(1, record_time="noon"),
            "events[1].timestamp",
            NO_TIME,
        ),
        (event_record(3), "events[1].sequence", "expected 1, got 3"),
        (event_record(0), "events[1].sequence", "expected 1, got 0"),
        (event_record(1) | {"run_id": "other"}, "events[1].run_id", f"expected the run's id {RUN}, got other"),
        (
            event_record(1, run_id="other"),
            "events[1].event.TextDelta.run_id",
            f"expected the run's id {RUN}, got other",
        ),
        (event_record(1) | {"event": "RunCancelled"}, "events[1].event", "expected `object`, got `str`"),
        (event_record(1) | {"event": {}}, "events[1].event", "expected one field, the event's type; got 0"),
        (event_record(1) | {"event": {"TextDelta": 1}}, "events[1].event.TextDelta", "expected `object`, got `int`"),
        (
            event_record(1, type="x"),
            "events[1].event.TextDelta.type",
            "expected no field of this name, which is the type's own in the log",
        ),
        (
            event_record(1, type="TextDelta"),
            "events[1].event.TextDelta.type",
            "expected no field of this name, which is the type's own in the log",
        ),
        (
            event_record(1, recorded_at=at(9)),
            "events[1].event.TextDelta.recorded_at",
            "expected no field of this name, in which the log keeps the record's time",
        ),
    ],
)
def test_a_wrong_event_is_refused_with_its_field(event, field, expected):
    assert refused(line(event_record(0), event)) == (field, expected)


# ---------------------------------------------------------------- folding


def test_an_event_that_cannot_be_folded_is_refused_with_its_place():
    tokens = {"input_tokens": 2**64 - 1, "output_tokens": 1}
    run = line(event_record(1), event_record(2, "UsageRecorded", usage=tokens))
    with pytest.raises(
        MalformedLineError, match=r"^runs.jsonl:7: events\[1\].event.UsageRecorded: total_usage does not fit"
    ):
        fold_line("runs.jsonl", 7, run)


def test_a_run_without_record_folds_to_nulls_where_nothing_is_known():
    state = json.loads(write_state(fold_line("runs.jsonl", 7, line(event_record(1), record=None))))
    assert (state["session_id"], state["provider"], state["metadata"]) == (None, None, None)
    assert state["event_count"] == 1


def test_extensions_are_written_where_there_are_any():
    assert "extensions" not in json.loads(write_state(RunState(run_id=RUN)))
    assert json.loads(write_state(RunState(run_id=RUN, extensions={"x": {"n": 1}})))["extensions"] == {"x": {"n": 1}}


# ---------------------------------------------------------------- writing


def logged(**fields: Any) -> RecordedEvent:
    event = {"type": "TextDelta", "delta": "Hi", "timestamp": at(1), **fields}
    return RecordedEvent(RUN, 4, "", json.dumps(event, indent=1).encode())


def test_an_event_of_any_writer_stays_on_its_line():
    data = write_run(None, [logged()])
    assert b"\n" not in data
    assert json.loads(data)["events"] == [event_record(4)]


def test_a_record_that_was_never_updated_was_updated_when_it_was_created():
    assert json.loads(write_run(run_record(), []))["record"] == RECORD


@pytest.mark.parametrize("recorded_at", [at(9), at(1), 12, "once", None])
def test_a_field_recorded_at_of_whatever_kind_comes_back(recorded_at):
    event = logged(recorded_at=recorded_at).raw
    [back] = read_run("", 1, write_run(None, [RecordedEvent(RUN, 1, "", event)])).events
    assert same_event(RUN, event, back.raw)


def test_an_event_that_names_another_run_has_no_line():
    with pytest.raises(MalformedEventError, match=f"run {RUN}, sequence 4: its own field `run_id` names another run"):
        write_run(None, [logged(run_id="other")])


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"type":1}', b'{"type":"X"}', b"{"])
def test_an_event_that_is_none_has_no_line(raw):
    with pytest.raises(MalformedEventError, match=f"run {RUN}, sequence 4: "):
        write_run(None, [RecordedEvent(RUN, 4, "", raw)])


def test_events_are_the_same_whatever_the_order_of_their_fields():
    one, other = b'{"type":"X","timestamp":"T","n":1}', b'{"n": 1,"type":"X","timestamp":"T"}'
    assert same_event(RUN, one, other)
    assert not same_event(RUN, one, other.replace(b"1", b"2"))


def test_records_are_the_same_whether_or_not_they_say_that_they_were_never_updated():
    assert same_record(run_record(), read_run("", 1, line()).record)
    assert not same_record(run_record(), None)
    assert not same_record(run_record(), run_record(metadata=1))
