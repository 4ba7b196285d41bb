"""A long run's conversation, part by part."""

from __future__ import annotations

from behest_core.model.events import ModelStarted, TextDelta
from behest_core.web.parts import read_part
from tests.builders import RUN, at, commit, poison, record_commit, run_completed, run_started, text_delta


def call(name, second, words=3):
    started = ModelStarted(provider="p", model="m", iteration=1, model_call_id=name, timestamp=at(second))
    return [started, *(TextDelta(delta="a", model_call_id=name, timestamp=at(second)) for _ in range(words))]


def log_of(calls):
    events = [
        run_started(1),
        *(event for number in range(calls) for event in call(f"c{number}", number + 1)),
        run_completed(59),
    ]
    return events, [record_commit(), commit(1, *events)]


def parts_of(calls, most):
    log = log_of(calls)[1]
    after: int | None = 0
    while after is not None:
        part = read_part(RUN, log if after == 0 else log[1:], after, most_events=most)
        yield part
        after = part.next_after


def test_a_short_run_is_one_part_with_what_its_record_says():
    part = read_part(RUN, log_of(2)[1])
    assert (part.last, part.next_after, part.problem) == (10, None, None)
    assert (part.transcript.started_at, part.until) == (at(0), at(59))
    assert len(part.transcript.entries) == 3


def test_a_part_ends_before_a_call_so_that_each_is_whole_in_one():
    parts = list(parts_of(9, most=10))
    texts = [each.text for part in parts for each in part.transcript.entries if hasattr(each, "text")]
    assert texts == ["aaa"] * 9
    assert all(part.last - part.after <= 10 for part in parts)
    assert parts[-1].transcript.ended_at == at(59)


def test_a_call_longer_than_a_part_is_cut():
    events = call("c", 1, words=50)
    part = read_part(RUN, [commit(1, *events)], most_events=20)
    assert (part.last, part.next_after, part.transcript.entries[0].text) == (20, 20, "a" * 19)
    rest = read_part(RUN, [commit(1, *events)], 20, most_events=100)
    assert (rest.next_after, rest.transcript.entries[0].text) == (None, "a" * 31)


def test_a_part_is_bounded_in_bytes_as_well():
    part = read_part(RUN, [commit(1, *(text_delta(1, "x" * 1_000) for _ in range(50)))], most_bytes=10_000)
    assert part.next_after == 10


def test_an_event_that_cannot_be_read_ends_it_and_is_told():
    part = read_part(RUN, [record_commit(), commit(1, run_started(1), text_delta(2)), poison(3)])
    assert (part.last, part.next_after) == (3, None)
    assert part.problem is not None
    assert "secret" not in part.problem
    assert part.transcript.entries[0].text == "Higood"


def test_a_run_without_events_has_an_empty_part():
    assert read_part(RUN, [record_commit()]).transcript.entries == []
