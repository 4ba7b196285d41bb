"""Events into commits, and commits into events: in one place."""

from __future__ import annotations

import pytest

from behest_core.errors import EventTooLargeError, IncompleteLogError, MalformedEventError
from behest_core.model.commit import Commit
from behest_core.model.decoding import encode
from behest_core.model.events import EncodedEvent
from behest_core.model.limits import EVENT_BYTES
from behest_core.model.packing import array_of, cut, lots, recorded, until, without_gaps
from tests.builders import RUN, commit, raw_commit, record_commit, text_delta


def of_size(size: int) -> EncodedEvent:
    return EncodedEvent("x.Y", b"x" * size)


def deltas(*texts: str) -> list:
    return [text_delta(delta=each) for each in texts]


# ---------------------------------------------------------------- into a log


@pytest.mark.parametrize("sizes", [[], [1], [1] * 1000, [100_000] * 10, [EVENT_BYTES - 2] * 3, [EVENT_BYTES - 3, 1, 2]])
def test_lots_hold_all_events_in_order_and_fit_an_item_each(sizes):
    events = [of_size(size) for size in sizes]
    packed = list(lots(RUN, events))
    assert [event for lot in packed for event in lot] == events
    assert all(lot and len(array_of([event.raw for event in lot])) <= EVENT_BYTES for lot in packed)


def test_no_lot_ends_while_the_next_event_fits():
    half = EVENT_BYTES // 2
    assert [len(lot) for lot in lots(RUN, [of_size(half - 2), of_size(EVENT_BYTES - half - 1), of_size(1)])] == [2, 1]


def test_an_event_that_fits_no_item_is_refused():
    with pytest.raises(EventTooLargeError, match=r"one x\.Y is 405,503 bytes"):
        list(lots(RUN, [of_size(1), of_size(EVENT_BYTES - 1)]))


# ---------------------------------------------------------------- out of it


def test_a_commit_is_cut_into_the_events_it_was_made_of():
    events = [encode(each).raw for each in deltas("a", "b")]
    assert cut(raw_commit(3, 2, array_of(events))) == events
    assert [(each.sequence, each.raw) for each in recorded([record_commit(), raw_commit(1, 2, array_of(events))])] == [
        (1, events[0]),
        (2, events[1]),
    ]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (raw_commit(4, 1, b"nonsense"), "JSON is malformed"),
        (raw_commit(4, 3, b"[{},{}]"), "`count` says 3 events, `events` has 2"),
        (Commit(run_id=RUN, sequence=4, problem="`events` is neither text nor binary"), "neither text nor binary"),
    ],
)
def test_a_commit_that_does_not_hold_what_it_says_is_named_and_not_cut(broken, reason):
    with pytest.raises(MalformedEventError, match=f"run {RUN}, sequence 4: .*{reason}"):
        cut(broken)
    assert list(until([broken], 4)) == [broken]


def test_a_log_is_cut_off_behind_a_sequence_inside_a_commit_too():
    log = [record_commit(), commit(1, *deltas("a", "b")), commit(3, *deltas("c"))]
    assert [(each.sequence, each.last) for each in until(log, 1)] == [(0, 0), (1, 1)]
    assert [each.event.delta for each in recorded(until(log, 1))] == ["a"]
    assert list(until(log, 2)) == log[:2]
    assert list(until(log, 9)) == log


@pytest.mark.parametrize(
    ("positions", "missing"), [([1, 3], (2, 2)), ([0, 5], (1, 4)), ([2], (1, 1)), ([0, 1, 2, 9], (3, 8))]
)
def test_a_log_with_a_gap_is_not_whole(positions, missing):
    log = [record_commit() if at == 0 else commit(at, *deltas("x")) for at in positions]
    with pytest.raises(IncompleteLogError, match="lacks the events from sequence {} to {};".format(*missing)):
        list(without_gaps(RUN, log))


def test_a_log_without_a_gap_is_whole_with_a_record_and_without():
    log = [record_commit(), commit(1, *deltas("a", "b")), commit(3, *deltas("c"))]
    assert list(without_gaps(RUN, log)) == log
    assert list(without_gaps(RUN, log[1:])) == log[1:]
