"""What the notifier tells, what it puts aside, and where it stops, against a bus of a few lines."""

import json

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.errors import MalformedEventError, MalformedStateError
from behest_core.fold.rules import fold
from behest_core.model.agent_events import Resumed
from behest_core.model.decoding import encode_event
from behest_core.model.packing import RecordedEvent
from behest_core.model.state import RunState
from behest_core.projection.event_bus import DETAIL_TYPE, REQUEST_BYTES, SOURCE, EventBus, entry_size
from behest_core.projection.notifier import MESSAGE_BYTES, ChangeNotTold, FailedReaction, Notifier, message_of
from tests.builders import RUN, SESSION, at, commit, record_commit, run_completed, run_started

BEFORE = fold(None, [record_commit(), commit(1, run_started())]).state
AFTER = fold(None, [record_commit(), commit(1, run_started(), run_completed())]).state
AFTER.revision = 2
ALL_TYPES = [
    {"S": "x"},
    {"N": "1.5"},
    {"B": "eA=="},
    {"BOOL": True},
    {"NULL": True},
    {"L": [{"S": "x"}]},
    {"M": {"x": {"N": "1"}}},
    {"SS": ["x"]},
    {"NS": ["1"]},
    {"BS": ["eA=="]},
]


def record(new=AFTER, old=BEFORE, name="MODIFY", number="7", **attributes):
    """Return a record of the state table's stream. An attribute of the new image that is given as None is left out."""
    images = {"NewImage": new, "OldImage": old}
    found = {image: items.state_to_item(state) for image, state in images.items() if state is not None}
    for attribute, value in attributes.items():
        found["NewImage"][attribute] = value
        if value is None:
            del found["NewImage"][attribute]
    return {"eventName": name, "dynamodb": {"SequenceNumber": number, **found}}


def provider(text):
    return {"provider": {"S": text}}


class Bus:
    """Stands in for EventBridge: has its limits, and refuses entries by the sequence of their change."""

    def __init__(self, refused=None, failing=()):
        self.taken, self.sizes, self.refused, self.failing = [], [], refused or {}, [*failing]

    def put_events(self, Entries):  # noqa: N803 (boto3's name)
        self.sizes.append(len(Entries))
        if self.failing and (code := self.failing.pop(0)):
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "PutEvents")
        if not 1 <= len(Entries) <= 10 or sum(map(entry_size, Entries)) >= REQUEST_BYTES:
            raise AssertionError("beyond the limits of PutEvents")
        return {"Entries": [self.result(entry) for entry in Entries]}

    def result(self, entry):
        code = self.refused.get(json.loads(entry["Detail"])["sequence"])
        if code is not None:
            return {"ErrorCode": code}
        self.taken.append(entry)
        return {"EventId": "1"}


def notify(bus, records, *reactions):
    return Notifier(EventBus(bus, "default"), reactions).notify(records)


def numbered(count):
    """Return records whose changes have the sequences 0, 1, 2 … and whose sequence numbers are the same."""
    return [record(number=str(n), sequence={"N": str(n)}) for n in range(count)]


# ---------------------------------------------------------------- what is a change


def test_another_status_is_a_change():
    change = items.run_changed(record())
    assert (change.id, change.run_id, change.before, change.after) == (f"{RUN}#2", RUN, "SessionLoaded", "Completed")
    assert (change.session_id, change.sequence, change.updated_at) == (SESSION, 2, at(5))


def test_a_new_run_is_a_change_from_nothing():
    assert items.run_changed(record(old=None, name="INSERT")).before is None


@pytest.mark.parametrize(
    "unchanged",
    [
        record(new=BEFORE),
        record(new=None, name="REMOVE"),
        record(new=RunState(run_id=RUN, deleted_at=at(1))),
        record(deleted_at={"N": "1"}),
        record(status=None),
    ],
    ids=["same status", "removed", "deleted", "deleted, of another type", "without status"],
)
def test_anything_else_is_no_change(unchanged):
    assert items.run_changed(unchanged) is None


@pytest.mark.parametrize("value", [*ALL_TYPES, None], ids=str)
@pytest.mark.parametrize(
    "attribute", ["status", "revision", "sequence", "session_id", "provider", "model", "updated_at", "deleted_at"]
)
def test_an_attribute_of_any_type_is_read_or_refused_by_its_name(attribute, value):
    hostile = record(**({attribute: value} if value or attribute != "deleted_at" else {}))
    found = change_or_error(hostile)
    if isinstance(found, MalformedStateError):
        assert (found.run_id, f"`{attribute}`" in found.reason) == (RUN, True)
    else:
        assert found is None or found.run_id == RUN


def change_or_error(hostile):
    try:
        return items.run_changed(hostile)
    except MalformedStateError as error:
        return error


@pytest.mark.parametrize("value", ALL_TYPES[1:], ids=str)
def test_a_status_before_it_that_cannot_be_read_is_none(value):
    changed = record()
    changed["dynamodb"]["OldImage"]["status"] = value
    assert items.run_changed(changed).before is None


# ---------------------------------------------------------------- what is told


def test_a_change_is_one_event_on_the_bus():
    bus = Bus()
    report = notify(bus, [record(), record(new=BEFORE)])
    [entry] = bus.taken
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == (SOURCE, DETAIL_TYPE, "default")
    assert json.loads(entry["Detail"]) | {"id": f"{RUN}#2", "after": "Completed"} == json.loads(entry["Detail"])
    assert (report.changes, report.not_told, report.first_unfinished) == (1, [], None)


def test_ten_events_go_in_a_request():
    bus = Bus()
    assert notify(bus, [record()] * 25).changes == 25
    assert bus.sizes == [10, 10, 5]


def test_a_batch_without_changes_makes_no_request():
    bus = Bus()
    assert (notify(bus, [record(new=BEFORE)]).changes, bus.sizes) == (0, [])


def test_an_entry_is_counted_in_the_bytes_of_eventbridge():
    entry = {"Source": "ä", "DetailType": "€", "Detail": "😀", "Resources": ["a", "ä"], "EventBusName": "not counted"}
    assert entry_size(entry) == 2 + 3 + 4 + 1 + 2


def test_entries_that_are_too_large_together_go_in_requests_of_their_own():
    bus = Bus()
    report = notify(bus, [record(**provider("x" * 119_000))] * 3)
    assert (report.changes, bus.sizes) == (3, [2, 1])


def test_text_that_is_no_ascii_takes_no_more_than_its_own_bytes():
    bus = Bus()
    assert notify(bus, [record(**provider("😀" * 30_000))]).changes == 1
    assert entry_size(bus.taken[0]) < 121_000


# ---------------------------------------------------------------- what can't be told


def test_the_largest_entry_is_told_and_one_byte_more_is_put_aside():
    room = (
        REQUEST_BYTES - 1 - entry_size(EventBus(Bus(), "default").entry_of(items.run_changed(record(**provider("")))))
    )
    bus = Bus()
    report = notify(bus, [record(**provider("x" * (room + 1))), record(**provider("x" * room))])
    assert entry_size(bus.taken[0]) == REQUEST_BYTES - 1
    [untold] = report.not_told
    assert (untold.run_id, untold.reason) == (
        RUN,
        "its entry has 262,144 bytes, EventBridge takes less than 262,144",
    )
    assert (report.changes, report.first_unfinished) == (1, None)


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (record(revision=None), "`revision` is not a whole number"),
        (record(provider={"N": "1"}), "`provider` is not text"),
        (record(provider={"S": "\ud800"}), "UnicodeEncodeError"),
        (
            {"eventName": "MODIFY", "dynamodb": {"SequenceNumber": "7", "NewImage": {"status": {"S": "Failed"}}}},
            "KeyError",
        ),
        (
            {"eventName": "MODIFY", "dynamodb": {"SequenceNumber": "7", "NewImage": {"status": ["S", "secret"]}}},
            "AttributeError",
        ),
    ],
)
def test_a_record_that_cannot_be_told_is_put_aside_and_the_rest_goes_on(hostile, reason):
    bus = Bus()
    report = notify(bus, [record(number="6"), hostile, record(number="8")])
    [untold] = report.not_told
    assert (untold.sequence_number, untold.reason) == ("7", reason)
    assert (report.changes, len(bus.taken), report.first_unfinished) == (2, 2, None)
    assert "secret" not in message_of(untold)


@pytest.mark.parametrize("code", ["MalformedDetail", "InvalidArgument", "RedactionFailure"])
def test_an_entry_that_is_refused_for_good_is_put_aside_and_the_rest_goes_on(code):
    bus, seen = Bus({1: code}), []
    report = notify(bus, numbered(12), ("mine", seen.append))
    assert [(each.sequence_number, each.reason, each.change.sequence) for each in report.not_told] == [("1", code, 1)]
    assert (report.changes, report.first_unfinished, len(seen)) == (11, None, 12)


def test_a_request_that_is_refused_as_invalid_is_sent_entry_by_entry():
    bus = Bus(failing=["ValidationException", None, "ValidationException"])
    report = notify(bus, numbered(3))
    assert bus.sizes == [3, 1, 1, 1]
    assert [(each.sequence_number, each.reason) for each in report.not_told] == [("1", "ValidationException")]
    assert (report.changes, report.first_unfinished) == (2, None)


# ---------------------------------------------------------------- what isn't told now


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure", "AccessDeniedException", "SomethingNew"])
def test_what_the_bus_does_not_take_now_is_reported_and_nothing_after_it_told(code):
    bus, seen = Bus({1: code}), []
    report = notify(bus, numbered(12), ("mine", seen.append))
    assert (report.changes, report.not_told, report.first_unfinished) == (1, [], "1")
    assert ([change.sequence for change in seen], bus.sizes) == ([0], [10])


def test_what_cannot_be_told_is_put_aside_once_where_the_batch_ends_before_it():
    records = [*numbered(2), record(number="2", revision=None)]
    assert notify(Bus({0: "ThrottlingException"}), records).not_told == []


def test_a_first_request_that_fails_raises():
    with pytest.raises(ClientError):
        notify(Bus(failing=["ThrottlingException"]), numbered(12))


def test_a_later_request_that_fails_leaves_what_was_told():
    report = notify(Bus(failing=[None, "ThrottlingException"]), numbered(12))
    assert (report.changes, report.first_unfinished) == (10, "10")


# ---------------------------------------------------------------- reactions, and messages


def test_a_reaction_that_raises_stops_nobody():
    seen = []
    report = notify(Bus(), [record(), record()], ("broken", lambda _: 1 / 0), ("good", seen.append))
    assert [(each.plugin, each.error, each.run_id) for each in report.failed] == [
        ("broken", "ZeroDivisionError", RUN)
    ] * 2
    assert len(seen) == 2
    assert report.first_unfinished is None


def test_a_plugin_hears_of_a_change_that_is_too_large_for_the_bus():
    seen = []
    notify(Bus(), [record(**provider("x" * REQUEST_BYTES))], ("mine", seen.append))
    assert [change.run_id for change in seen] == [RUN]


@pytest.mark.parametrize("kind", [ChangeNotTold, FailedReaction])
@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        ("x" * (MESSAGE_BYTES // 2), True),
        ("x" * MESSAGE_BYTES, False),
        ("😀" * 30_000, False),
        ("\uffff\ud800\x00", True),
    ],
    ids=["half", "too large", "too large as ASCII", "not for SQS"],
)
def test_a_message_fits_its_queue(kind, text, is_whole):
    change = items.run_changed(record(**provider(text)))
    others = {"sequence_number": "7", "reason": "r"} if kind is ChangeNotTold else {"plugin": "mine", "error": "E"}
    message = message_of(kind(run_id=RUN, change=change, **others))
    assert len(message.encode()) <= MESSAGE_BYTES
    assert message.isascii()
    assert json.loads(message)["run_id"] == RUN
    assert (json.loads(message)["change"] is not None) == is_whole


# ---------------------------------------------------------------- decisions


def decided_record(before=0, after=1, number="9"):
    """Return a record of a state that has counted decisions, and has no other status."""
    return record(
        new=replace(BEFORE, decisions=after, sequence=5),
        old=None if before is None else replace(BEFORE, decisions=before, sequence=2),
        number=number,
    )


def answer(sequence=3, **about):
    event = Resumed(**{"answers": {"c": "granted"}, "by": "anna", "timestamp": at(3), **about})
    return RecordedEvent(RUN, sequence, "", encode_event(event))


def tell(records, read, bus=None):
    """Return the report, the decisions that were heard, and what was read."""
    heard, asked = [], []

    def events(*span):
        asked.append(span)
        return read(*span)

    notifier = Notifier(EventBus(bus or Bus(), "default"), (), [("deciders", heard.append)], events)
    return notifier.notify(records), heard, asked


def test_decisions_are_read_between_the_sequences_of_the_item_before_and_after():
    report, heard, asked = tell([decided_record()], lambda *_: [answer()])
    assert asked == [(RUN, 2, 3)]
    assert [(each.id, each.granted, each.by) for each in heard] == [(f"{RUN}#3#c", True, "anna")]
    assert (report.changes, report.not_told, report.first_unfinished) == (0, [], None)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (0, 0)])
def test_where_no_decision_is_new_nothing_is_read(before, after):
    assert tell([decided_record(before, after)], lambda *_: [answer()])[1:] == ([], [])


def test_a_log_that_cannot_be_read_now_ends_the_batch_there():
    def throttled(*_):
        raise ClientError({"Error": {"Code": "ThrottlingException"}}, "Query")

    report, heard, _ = tell([record(number="7"), decided_record(number="8"), record(number="9")], throttled)
    assert (report.changes, heard, report.first_unfinished) == (1, [], "8")


def test_a_commit_that_cannot_be_cut_is_put_aside_and_stops_nobody():
    def broken(*_):
        raise MalformedEventError(RUN, 3, "broken")

    report, heard, _ = tell([decided_record(number="8"), record(number="9")], broken)
    assert [(each.sequence_number, each.reason) for each in report.not_told] == [("8", "MalformedEventError")]
    assert (report.changes, heard, report.first_unfinished) == (1, [], None)


def test_a_decision_that_is_put_aside_fits_a_message():
    decision = tell([decided_record()], lambda *_: [answer(reason="x" * 300_000)])[1][0]
    failure = FailedReaction(plugin="p", run_id=RUN, change=None, error="E", decision=decision)
    assert json.loads(message_of(failure)) == {
        "plugin": "p",
        "run_id": RUN,
        "change": None,
        "error": "E",
        "decision": None,
    }
