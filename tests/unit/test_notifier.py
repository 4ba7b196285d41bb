import json

import pytest

from behest_core.dynamodb import items
from behest_core.fold.rules import fold
from behest_core.model.state import RunState
from behest_core.projection.notifier import DETAIL_TYPE, SOURCE, Notifier, change_of
from tests.builders import RUN, SESSION, at, commit, record_commit, run_completed, run_started

BEFORE = fold(None, [record_commit(), commit(1, run_started())]).state
AFTER = fold(None, [record_commit(), commit(1, run_started(), run_completed())]).state
AFTER.revision = 2


def record(new=AFTER, old=BEFORE, name="MODIFY", number="7"):
    images = {"NewImage": new, "OldImage": old}
    found = {image: items.state_to_item(state) for image, state in images.items() if state is not None}
    return {"eventName": name, "dynamodb": {"SequenceNumber": number, **found}}


class Bus:
    """Stands in for EventBridge; refuses the entries at some places."""

    def __init__(self, *refused):
        self.taken, self.calls, self.refused = [], 0, refused

    def put_events(self, Entries):  # noqa: N803 (boto3's name)
        self.calls += 1
        self.taken += Entries
        return {
            "Entries": [
                {"ErrorCode": "x"} if place in self.refused else {"EventId": "1"} for place in range(len(Entries))
            ]
        }


def test_another_status_is_a_change():
    change = change_of(record())
    assert (change.id, change.run_id, change.before, change.after) == (f"{RUN}#2", RUN, "SessionLoaded", "Completed")
    assert (change.session_id, change.sequence, change.updated_at) == (SESSION, 2, at(5))


def test_a_new_run_is_a_change_from_nothing():
    assert change_of(record(old=None, name="INSERT")).before is None


@pytest.mark.parametrize(
    "unchanged",
    [
        record(new=BEFORE),
        record(new=None, name="REMOVE"),
        record(new=RunState(run_id=RUN, deleted_at=at(1))),
    ],
    ids=["same status", "removed", "deleted"],
)
def test_anything_else_is_no_change(unchanged):
    assert change_of(unchanged) is None


def test_a_change_is_one_event_on_the_bus():
    bus = Bus()
    report = Notifier(bus, "default").notify([record(), record(new=BEFORE)])
    [entry] = bus.taken
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == (SOURCE, DETAIL_TYPE, "default")
    assert json.loads(entry["Detail"]) | {"id": f"{RUN}#2", "after": "Completed"} == json.loads(entry["Detail"])
    assert (report.changes, report.first_unfinished) == (1, None)


def test_ten_events_go_in_a_request():
    bus = Bus()
    assert Notifier(bus, "default").notify([record()] * 25).changes == 25
    assert bus.calls == 3


def test_what_the_bus_does_not_take_is_reported_and_nothing_after_it_told():
    bus, seen = Bus(1), []
    records = [record(number=str(n)) for n in range(12)]
    report = Notifier(bus, "default", [("mine", seen.append)]).notify(records)
    assert (report.changes, report.first_unfinished, len(seen), bus.calls) == (1, "1", 1, 1)


def test_a_reaction_that_raises_stops_nobody():
    seen = []
    reactions = [("broken", lambda _: 1 / 0), ("good", seen.append)]
    report = Notifier(Bus(), "default", reactions).notify([record(), record()])
    assert [(each.plugin, each.error, each.change.run_id) for each in report.failed] == [
        ("broken", "ZeroDivisionError", RUN)
    ] * 2
    assert len(seen) == 2
    assert report.first_unfinished is None
