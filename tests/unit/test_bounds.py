"""Whatever a log holds: the state item has room for it, or the run is parked, and the reason shows nothing of it."""

import json

import msgspec
import pytest

from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.errors import MalformedStateError, PluginError
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold, parked_by
from behest_core.model.limits import (
    EXTENSION_BYTES,
    ITEM_BYTES,
    METADATA_BYTES,
    PENDING_ID_BYTES,
    PENDING_IDS,
    TEXT_BYTES,
    slice_size,
)
from behest_core.model.state import RunState
from behest_core.plugins import Extension, ExtensionState
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.projector import Projector
from behest_core.testing import Template
from tests.builders import (
    RUN,
    at,
    commit,
    raw_commit,
    record_commit,
    record_of,
    run_failed,
    run_record,
    run_started,
    text_delta,
)
from tests.contract.fake import FakeDynamoDB
from tests.contract.fake.attributes import stored_item
from tests.largest import (
    CACHED,
    MOST_EXTENSIONS,
    RUN_ID,
    STARTED,
    U64,
    Keeping,
    events_at,
    keeping,
    largest_log,
    largest_state,
    names_of,
    text_of,
    usage,
    values_of,
)

LONG = "2" * 2_000_000


def size_of(state):
    return stored_item(items.state_to_item(state))[1]


@pytest.mark.parametrize("type_", ["TextDelta", "RunCancelled", "approvals.Requested"])
def test_an_event_whose_time_is_without_end_parks_its_run(type_):
    text = json.dumps([{"type": type_, "timestamp": LONG, "delta": ""}]).encode()
    state = fold(None, [commit(1, run_started()), raw_commit(2, 1, text)]).state
    assert (state.sequence, state.parked.sequence, state.parked.error) == (1, 2, "MalformedEventError")
    assert size_of(state) < 2_000


def test_an_id_of_a_commit_without_end_is_kept_in_part():
    item = items.commit_to_item(commit(1, run_started())) | {"commit_id": {"S": "é" * 150_000}}
    state = fold(None, [items.commit_from_item(item)]).state
    assert state.parked is None
    assert size_of(state) < 2_000


@pytest.mark.parametrize("share", ["texts", "metadata"])
def test_texts_and_metadata_beyond_their_shares_park_the_run(share):
    largest = [record_commit(run_record(metadata="m" * 122_000)), commit(1, run_failed(error="e" * 122_000))]
    assert fold(None, largest).state.parked is None
    if share == "texts":
        beyond = fold(None, [*largest, commit(2, run_failed(error="e" * 123_000))]).state
    else:
        beyond = fold(None, [record_commit(run_record(metadata="m" * 123_000))]).state
    assert beyond.parked.error == "StateTooLargeError"
    assert size_of(beyond) < ITEM_BYTES


def test_what_is_kept_of_failed_attempts_is_bounded():
    parked = None
    for _ in range(50):
        parked = parked_by(1, "é" * 100_000, "é" * 100_000).after(parked, at(0))
    assert size_of(RunState(run_id=RUN, parked=parked)) < 8_000


@pytest.mark.parametrize(
    "metadata",
    [{"secret": {"": 1}}, {"secret": int("9" * 40)}, {"secret": json.loads("[" * 31 + "]" * 31)}],
    ids=["an empty key", "too many digits", "too deep"],
)
def test_why_a_record_cannot_be_folded_is_told_without_its_keys(metadata):
    state = fold(None, [record_commit(run_record(metadata=metadata))]).state
    assert state.parked.error == "MalformedRecordError"
    assert "secret" not in state.parked.message


# ---------------------------------------------------------------- every attribute


@pytest.mark.parametrize("extensions", [2, 4, MOST_EXTENSIONS])
def test_an_item_holds_the_largest_value_of_every_attribute_together(extensions):
    state = largest_state(extensions)
    blank = RunState(run_id="")
    default = {name for name in RunState.__struct_fields__ if getattr(state, name) == getattr(blank, name)}
    assert default == {"deleted_at"}, "a new attribute needs its largest value in tests/largest.py"
    assert size_of(state) <= ITEM_BYTES
    tombstone = RunState(run_id=RUN_ID, revision=state.revision, deleted_at=items._UNKNOWN_TIME)
    assert size_of(tombstone) < 2_000


def record(**fields):
    """Return a run record as a writer may put it."""
    whole = {"session_id": "s", "provider": "p", "model": "m", "created_at": at(0), **fields}
    return raw_commit(0, 1, msgspec.json.encode(whole))


def completed(reason):
    return {"type": "RunCompleted", "finish_reason": reason, "iterations": 1}


TEXT = "x" * (TEXT_BYTES + 1)
BEGUN = [record(), events_at(1, STARTED)]
BEYOND = {
    "session_id": ([record(session_id="s" * 256)], "MalformedRecordError"),
    "session_id, of an event": ([events_at(1, {**STARTED, "session_id": "s" * 256})], "MalformedEventError"),
    "provider": ([record(provider=TEXT)], "StateTooLargeError"),
    "provider, of an event": ([events_at(1, {**STARTED, "provider": TEXT})], "StateTooLargeError"),
    "model": ([record(model=TEXT)], "StateTooLargeError"),
    "model, of an event": ([events_at(1, {**STARTED, "model": TEXT})], "StateTooLargeError"),
    "metadata": ([record(metadata="m" * (METADATA_BYTES + 1))], "StateTooLargeError"),
    "metadata, of many values": ([record(metadata=[None] * (METADATA_BYTES // 22))], "StateTooLargeError"),
    "last_finish": ([*BEGUN, events_at(2, completed(TEXT))], "StateTooLargeError"),
    "last_finish, unknown": ([*BEGUN, events_at(2, completed({"unknown": TEXT}))], "StateTooLargeError"),
    "last_error": ([*BEGUN, events_at(2, {"type": "RunFailed", "error": TEXT})], "StateTooLargeError"),
    "iteration": (
        [*BEGUN, events_at(2, {"type": "ModelStarted", "provider": "p", "model": "m", "iteration": U64 + 1})],
        "OverflowError",
    ),
    "total_usage": ([*BEGUN, events_at(2, usage(U64)), events_at(3, usage(1))], "OverflowError"),
    **{
        f"total_usage, {cached}": (
            [*BEGUN, events_at(2, usage(0, **{cached: U64})), events_at(3, usage(0, **{cached: 1}))],
            "OverflowError",
        )
        for cached in CACHED
    },
    "created_at": ([record(created_at="x" * 81)], "MalformedRecordError"),
    "created_at, of an event": ([events_at(1, {**STARTED, "timestamp": "no time"})], "ValueError"),
    "updated_at": ([*BEGUN, events_at(2, {**STARTED, "timestamp": "x" * 81})], "MalformedEventError"),
}
"""Logs that go one step beyond the bound of an attribute, and the error that parks them."""

OTHERS = {
    "run_id": "DynamoDB's: a key has at most 2,048 bytes",
    "status": "one of the words of RunStatus",
    "status_shard": "made of the status",
    "event_count": "no more than the sequence",
    "decisions": "the same",
    "sequence": "test_what_lies_behind_the_last_position_is_no_commit",
    "revision": "test_a_state_whose_counts_are_beyond_their_bound_is_malformed",
    "reducer_version": "the same",
    "parked": "test_what_is_kept_of_failed_attempts_is_bounded",
    "parked_shard": "made of the run id",
    "parked_at": "this process's own time",
    "waiting": "test_what_is_kept_of_a_pause_is_bounded",
    "waiting_shard": "made of the run id",
    "waiting_since": "a time as it sorts",
    "ended_at": "the same",
    "extensions": "test_an_extension_beyond_its_share_is_parked_and_the_run_goes_on",
    "has_record": "true, or absent",
    "annotations": "what goes beyond it is left out: tests/aws/test_annotations.py",
    "commit_id": "test_an_id_of_a_commit_without_end_is_kept_in_part",
    "guard": "this process's own id and time",
}
"""Why no log can bring the others beyond theirs."""


def test_every_attribute_of_the_state_item_has_a_bound_that_is_tested():
    tested = {name.partition(",")[0] for name in BEYOND} | OTHERS.keys()
    assert tested == items.state_to_item(largest_state()).keys()
    assert {reason for reason in OTHERS.values() if reason.startswith("test_")} <= globals().keys()


@pytest.mark.parametrize("attribute", BEYOND)
def test_one_step_beyond_the_bound_of_an_attribute_the_run_parks(attribute):
    log, error = BEYOND[attribute]
    state = fold(None, log).state
    assert state.parked.error == error
    assert state.sequence == log[-1].sequence - (not log[-1].is_record)
    assert size_of(state) < ITEM_BYTES


def test_what_is_kept_of_a_pause_is_bounded():
    ids = ["x" * (PENDING_ID_BYTES + 1), *(f"{n}" for n in range(PENDING_IDS))]
    paused = {"type": "agent.Paused", "reason": "\U0001f680" * 200, "pending": ids}
    waiting = fold(None, [*BEGUN, events_at(2, paused)]).state.waiting
    assert waiting.pending == ids[1:PENDING_IDS]
    assert waiting.reason == "\U0001f680" * 50


def test_what_lies_behind_the_last_position_is_no_commit():
    item = items.commit_to_item(commit(1, run_started()))
    assert items.commit_from_item({**item, "sequence": {"N": str(items.LAST_POSITION)}}).sequence == 10**15
    assert items.commit_from_item({**item, "sequence": {"N": str(items.LAST_POSITION + 1)}}) is None


@pytest.mark.parametrize("count", ["sequence", "revision", "reducer_version", "iteration", "event_count"])
def test_a_state_whose_counts_are_beyond_their_bound_is_malformed(count):
    item = items.state_to_item(largest_state()) | {count: {"N": "1" + "0" * 37}}
    with pytest.raises(MalformedStateError, match=count):
        items.state_from_item(item)


def test_a_state_whose_metadata_is_beyond_its_bound_is_malformed():
    item = items.state_to_item(largest_state()) | {"metadata": {"L": [{"NULL": True}] * 6_000}}
    with pytest.raises(MalformedStateError, match="metadata"):
        items.state_from_item(item)


# ---------------------------------------------------------------- extensions


def test_an_extension_beyond_its_share_is_parked_and_the_run_goes_on():
    fits = values_of(EXTENSION_BYTES)
    dispatch = Dispatch([keeping("a"), keeping("b")])
    log = [*BEGUN, events_at(2, {"type": "bounds.Kept", "values": [0] * (EXTENSION_BYTES // 2)})]
    state = fold(None, log, dispatch).state
    assert {name: parked.error for name, parked in state.parks.items()} == dict.fromkeys("ab", "StateTooLargeError")
    log = [*BEGUN, events_at(2, {"type": "bounds.Kept", "values": fits})]
    state = fold(None, log, dispatch).state
    assert {name: parked.error for name, parked in state.parks.items()} == {"b": "StateTooLargeError"}
    assert state.sequence == 2
    assert size_of(state) < ITEM_BYTES


def test_lists_in_lists_count_as_what_they_take_as_attributes():
    chains = [json.loads("[" * 27 + "]" * 27)] * (EXTENSION_BYTES // 56)
    text = msgspec.json.encode(Keeping(chains))
    assert len(text) < EXTENSION_BYTES
    [(_, size)] = [stored_item({"s": items.to_attribute({"values": chains})})]
    assert len(text) * 3 // 2 < size < slice_size(text) * 3 // 2


def test_more_extensions_than_there_is_room_for_are_refused():
    names = [f"e{n}" for n in range(MOST_EXTENSIONS + 1)]
    Dispatch(map(keeping, names[:-1]))
    with pytest.raises(PluginError, match=r"37 extensions begin with .* allow fewer"):
        Dispatch(map(keeping, names))


def test_an_extension_that_begins_with_more_than_its_share_is_refused():
    class Large(ExtensionState):
        text: str = "x" * EXTENSION_BYTES

    with pytest.raises(PluginError, match="extension large: its state begins with"):
        Dispatch([Extension("large", Large)])


@pytest.mark.parametrize("version", [0, 2**63])
def test_a_version_that_an_item_cannot_hold_is_refused(version):
    with pytest.raises(PluginError, match="is not from 1 to"):
        Extension("a", Keeping, version=version)


# ---------------------------------------------------------------- what DynamoDB refuses all the same


class Untouched(ExtensionState):
    text: str = "x" * 30_000


class Tables(FakeDynamoDB):
    """Both tables, in memory, the log of the largest state in one. `saves` counts the tries to write the other."""

    def __init__(self):
        self.events, self.states = (Template().tables()[name] for name in ("EventTable", "StateTable"))
        super().__init__([self.events.create, self.states.create])
        self.saves = 0
        self.log = largest_log(4, text_of)
        for each in self.log:
            super().put_item(TableName=self.events.name, Item=items.commit_to_item(each))

    def put_item(self, **request):
        self.saves += request["TableName"] == self.states.name
        return super().put_item(**request)

    def having(self, kind, extensions):
        """Return a projector or a CatchUp on the tables, where these extensions are installed."""
        return kind(EventLog(self, self.events.name), StateTable(self, self.states.name), Dispatch(extensions))

    def append(self):
        """Append an event; return the record of it."""
        log = EventLog(self, self.events.name)
        last = log.append(RUN_ID, [text_delta()])
        return record_of(log.last_commit(RUN_ID, last))

    @property
    def state(self):
        return StateTable(self, self.states.name).get(RUN_ID)


def test_a_run_whose_item_has_no_room_for_a_new_extension_is_parked_and_tried_no_more_until_it_is_resumed():
    tables = Tables()
    before = tables.having(Projector, map(keeping, names_of(4)))
    assert before.project(list(map(record_of, tables.log))).first_unfinished is None
    last = tables.state.sequence
    assert tables.state.parks == {}

    untouched = [Extension(f"new{n}", Untouched) for n in range(3)]
    now = tables.having(Projector, untouched)
    report = now.project([tables.append()])
    assert (report.first_unfinished, [each.error for each in report.troubles]) == (None, ["ValidationException"])
    assert (tables.state.sequence, tables.state.parked.sequence) == (last, last + 1)
    assert (tables.state.parked.error, tables.state.parked.attempts) == ("ValidationException", 1)
    assert tables.state.extensions.keys() == set(names_of(4))

    tries = tables.saves
    assert now.project([tables.append()]).first_unfinished is None
    assert tables.having(Projector, untouched).project([tables.append()]).first_unfinished is None
    assert tables.saves == tries

    assert tables.having(CatchUp, untouched).fold(RUN_ID, Fold.RESUME).is_finished
    assert (tables.saves, tables.state.parked.attempts) == (tries + 2, 2)
    assert tables.having(CatchUp, []).fold(RUN_ID, Fold.RESUME).is_finished
    assert (tables.state.parks, tables.state.sequence) == ({}, last + 3)
