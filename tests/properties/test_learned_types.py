"""A process that has learned types reads every commit as one does that has learned nothing."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold
from behest_core.model.decoding import LEARNED_TYPES
from behest_core.model.events import Event, TextDelta, Timed, UnknownEvent
from behest_core.plugins import Extension, ExtensionState
from tests.builders import raw_commit, record_commit


class Rated(Event, tag="a.Rated"):
    stars: int


class Seen(ExtensionState):
    times: list[str] = []
    stars: int = 0


def seen() -> Extension:
    extension = Extension("seen", Seen)

    @extension.on(Rated, TextDelta)
    def look(state: Any, event: Any, run: Any) -> None:
        state.times = [*state.times[-9:], f"{event.timestamp} {run.sequence} {run.event_count}"]
        state.stars += getattr(event, "stars", 0)

    return extension


def rated(old: dict[str, Any]) -> dict[str, Any]:
    return {"stars": old.get("points", 0), **old}


def dispatches() -> list[Dispatch]:
    return [Dispatch(), Dispatch([seen()]), Dispatch([seen()], [], {"a.Rated": rated, "TextDelta": lambda old: old})]


PRIMED = dispatches()
TIME = b'"2026-01-31T12:00:00Z"'
TYPES = [
    *(b'"a.T%d"' % n for n in range(4)),
    b'"a.Rated"',
    b'"TextDelta"',
    b'"UsageRecorded"',
    b'"RunCancelled"',
    rb'"a\u002eT1"',
    b'"a.T\xc3\xa9"',
    rb'"a.T\u0000"',
    rb'"\ud800"',
    b'"\xff"',
    b'"' + b"t" * 255 + b'"',
    b'"' + b"t" * 256 + b'"',
    b'""',
    b"null",
    b"5",
    b'["a.T1"]',
]
FIELDS = st.one_of(
    st.tuples(st.just(b'"type"'), st.sampled_from(TYPES)),
    st.tuples(st.just(b'"timestamp"'), st.sampled_from([TIME, b"5", b"null", b'"' + b"9" * 81 + b'"', b'"\xff"'])),
    st.tuples(
        st.sampled_from([b'"stars"', b'"points"', b'"delta"', b'"other"']),
        st.sampled_from([b"1", b'"x"', b"[[]]", b"{", b'"\xff"', b"1e999", TIME]),
    ),
)
GOOD = st.sampled_from(TYPES[:6]).map(lambda type_: b'{"type":%b,"timestamp":%b,"stars":1,"delta":""}' % (type_, TIME))
ODD = st.lists(FIELDS, max_size=5).map(lambda fields: b"{" + b",".join(b":".join(each) for each in fields) + b"}")
COMMITS = st.lists(st.lists(st.one_of(GOOD, GOOD, ODD, st.just(b"5")), min_size=1, max_size=4), min_size=1, max_size=5)


def what(event: Any) -> tuple[str, Any]:
    """Return what the fold sees of an event: nothing more of one that nobody listens to."""
    if isinstance(event, Timed | UnknownEvent):
        is_looked_at = isinstance(event, Rated | TextDelta) or hasattr(event, "usage")
        return event.timestamp, msgspec.to_builtins(event) if is_looked_at else None
    return event.timestamp, (what(event.event), event.listened, str(event.error))


def json_of(events: list[bytes]) -> bytes:
    return b"[" + b",".join(events) + b"]"


@given(COMMITS)
def test_what_was_learned_changes_nothing(commits):
    for dispatch, primed in zip(dispatches(), PRIMED, strict=True):
        log, sequence = [record_commit()], 1
        for events in commits:
            (decoded, error), (again, same) = dispatch.decode(json_of(events)), primed.decode(json_of(events))
            assert (*map(what, decoded), str(error)) == (*map(what, again), str(same))
            log.append(raw_commit(sequence, len(events), json_of(events)))
            sequence += len(events)
        assert msgspec.json.encode(fold(None, log, dispatch).state) == msgspec.json.encode(
            fold(None, log, primed).state
        )


def test_a_process_learns_so_many_types_and_reads_others_as_before():
    dispatch = Dispatch()
    commits = [json_of([b'{"type":"a.N%d","timestamp":%b}' % (n, TIME)]) for n in range(LEARNED_TYPES + 5)]
    first = [dispatch.decode(each)[0][0] for each in commits]
    again = [dispatch.decode(each)[0][0] for each in commits]
    assert all(isinstance(each, UnknownEvent) for each in first)
    assert sum(isinstance(each, UnknownEvent) for each in again) == 5
    assert {each.timestamp for each in again} == {"2026-01-31T12:00:00Z"}
