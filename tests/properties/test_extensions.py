"""A slice is the same however its commits were cut into batches, also where handlers do what they shouldn't."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from behest_core.dynamodb import items
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold
from behest_core.model.events import ModelStarted, TextDelta, UsageRecorded
from behest_core.plugins import Extension, ExtensionState
from tests.builders import at, commit, model_started, record_commit, text_delta, usage_recorded
from tests.contract.fake.attributes import stored_item


class Odd(ExtensionState):
    count: int = 0
    share: float = 0.0
    maybe: float | None = None
    texts: list[str] = []
    others: list[str] = []
    by_name: dict[str, int] = {}
    anything: Any = None
    is_on: bool = False
    seen: list[tuple[int, int, str, int]] = []


def _raise(state):
    raise RuntimeError


def _share_a_list(state):
    state.others = state.texts


DEEDS = {
    "count": lambda state: setattr(state, "count", state.count + 1),
    "raise": _raise,
    "NaN": lambda state: setattr(state, "share", float("nan")),
    "no NaN": lambda state: setattr(state, "share", 0.5),
    "NaN or none": lambda state: setattr(state, "maybe", float("nan")),
    "none if none": lambda state: setattr(state, "count", state.count + (state.maybe is None)),
    "whole": lambda state: setattr(state, "share", 2),
    "text for a number": lambda state: setattr(state, "count", "many"),
    "number again": lambda state: setattr(state, "count", 0),
    "empty name": lambda state: state.by_name.update({"": 1}),
    "name": lambda state: state.by_name.update(name=1),
    "no names": lambda state: state.by_name.clear(),
    "tiny": lambda state: setattr(state, "share", 1e-300),
    "digits": lambda state: setattr(state, "count", 10**39 + 1),
    "digits as text": lambda state: state.texts.append("9" * 60),
    "large": lambda state: state.texts.append("x" * 40_000),
    "small": lambda state: state.texts.clear(),
    "share a list": _share_a_list,
    "append": lambda state: state.texts.append("x"),
    "tuple": lambda state: setattr(state, "anything", (1, 2)),
    "is a tuple": lambda state: setattr(state, "count", state.count + isinstance(state.anything, tuple)),
    "deep": lambda state: setattr(state, "anything", [state.anything]),
    "on": lambda state: setattr(state, "is_on", True),
    "off": lambda state: setattr(state, "is_on", False),
}


def odd(name, types, *, when=None):
    extension = Extension(name, Odd)

    @extension.on(*types)
    def do(state, event, run):
        if isinstance(event, TextDelta):
            DEEDS[event.delta](state)

    @extension.on(UsageRecorded, when=when)
    def look(state, event, run):
        state.seen = [*state.seen[-3:], (run.sequence, run.event_count, run.updated_at, run.total_usage.input_tokens)]

    return extension


USING = Dispatch([odd("all", [TextDelta]), odd("some", [TextDelta, ModelStarted], when=lambda state: state.is_on)])
EVENTS = st.one_of(
    st.sampled_from(sorted(DEEDS)).map(lambda deed: text_delta(delta=deed)),
    st.builds(usage_recorded, st.integers(0, 59)),
    st.just(model_started()),
)


@st.composite
def commits(draw: Any) -> list[Any]:
    found, sequence = [record_commit()], 1
    for events in draw(st.lists(st.lists(EVENTS, min_size=1, max_size=4), max_size=8)):
        found.append(commit(sequence, *events))
        sequence += len(events)
    return found


def in_the_table(state):
    """Return what DynamoDB keeps of a state's item: a number has one form there."""
    return stored_item(items.state_to_item(state.stamped({}, at(1))))


@given(commits(), st.data())
def test_any_cut_of_commits_into_batches_gives_the_same_slices(log, data):
    whole = fold(None, log, USING).state
    state, rest = None, log
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        state, rest = fold(state, rest[:size], USING).state, rest[size:]
        state = items.state_from_item(items.state_to_item(state.stamped({}, at(1))))
    assert in_the_table(state) == in_the_table(whole)


@given(commits())
def test_a_handler_that_is_switched_off_is_one_that_returns_at_once(log):
    def returning(name, types):
        extension = odd(name, types)
        [(look, _)] = extension.listeners[UsageRecorded]
        extension.listeners[UsageRecorded].clear()

        @extension.on(UsageRecorded)
        def look_if_on(state, event, run):
            if state.is_on:
                look(state, event, run)

        return extension

    asking = Dispatch([odd("all", [TextDelta]), returning("some", [TextDelta, ModelStarted])])
    switched, asked = fold(None, log, USING).state, fold(None, log, asking).state
    for state in (switched, asked):
        for piece in state.extensions.values():
            if piece.parked is not None:
                piece.parked = (piece.parked.sequence, piece.parked.error)
    assert switched == asked
