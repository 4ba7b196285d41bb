"""What a hostile handler leaves is settled when its commit is over: as JSON would give it back, however the log is cut."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, field

from behest_core.dynamodb import items
from behest_core.errors import InvalidValueError, StateTooLargeError
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold
from behest_core.model.events import TextDelta
from behest_core.model.json import check_storable, is_plain_type
from behest_core.model.limits import EXTENSION_BYTES
from behest_core.plugins import Extension, ExtensionState
from tests.builders import at, commit, record_commit, text_delta
from tests.contract.fake.attributes import stored_item


class Part(Struct, omit_defaults=True):
    amount: int = 0
    name: str = ""
    more: list[int] = []


class Plain(ExtensionState):
    """Of types that JSON, MessagePack and DynamoDB hold alike, so that it is settled the quick way."""

    count: int = 0
    small: Annotated[int, Meta(ge=0, le=255)] = 0
    text: str = ""
    maybe: int | None = None
    is_on: bool = False
    mode: Literal["slow", "fast"] = "slow"
    texts: list[str] = []
    others: list[str] = []
    by_name: dict[str, int] = {}
    part: Part = field(default_factory=Part)
    parts: dict[str, Part] = {}
    maybe_part: Part | None = None


class Loose(Plain):
    """The same, but for what has to be looked at as JSON."""

    share: float = 0.0
    anything: Any = None


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Texts(list):  # type: ignore[type-arg]
    pass


class Names(dict):  # type: ignore[type-arg]
    pass


class MorePart(Part):
    extra: int = 7


class Colour(Enum):
    RED = "red"


VALUES: list[Any] = [
    0,
    1,
    -1,
    255,
    256,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**37 + 1,
    10**38 + 1,
    10**39,
    10**40 + 1,
    2.0,
    2.5,
    1e300,
    1e-300,
    float("nan"),
    float("inf"),
    True,
    None,
    Number(3),
    Text("text"),
    "",
    "text",
    "à",
    'a quotation mark"',
    "\x01" * 30,
    "\ud800",
    "9" * 60,
    b"bytes",
    bytearray(b"bytes"),
    Decimal("2.5"),
    datetime(2026, 1, 31, tzinfo=UTC),
    datetime(2026, 1, 31),  # noqa: DTZ001
    Colour.RED,
    ("a", "b"),
    {"a"},
    frozenset(["a"]),
    Texts(["a"]),
    ["a"],
    [1],
    [[[]]],
    Names(a=1),
    {"": 1},
    {"a": 1},
    {1: 1},
    {1: 1, "1": 2},
    {None: 1},
    {Text("a"): 1},
    {"\ud800": 1},
    {'"': 1},
    Part(1, "a"),
    MorePart(1, "a"),
    {"amount": 1},
    {"amount": "many"},
    object(),
    msgspec.UNSET,
]
FIELDS = Plain.__struct_fields__
KEPT: list[list[Any]] = []


def put(place: int, value: int) -> Any:
    return lambda state: setattr(state, FIELDS[place], deepcopy(VALUES[value]))


def put_part(name: str, value: int) -> Any:
    return lambda state: setattr(state.part, name, deepcopy(VALUES[value]))


def put_item(value: int) -> Any:
    return lambda state: state.texts.append(deepcopy(VALUES[value]))


def put_entry(value: int) -> Any:
    return lambda state: state.by_name.update({VALUES[value]: 1})


def _raise(state: Any) -> None:
    raise RuntimeError


def _share(state: Any) -> None:
    state.others = state.texts
    state.parts["a"] = state.parts["b"] = state.maybe_part = state.part


def _use_what_was_kept(state: Any) -> None:
    for kept in KEPT:
        kept.append("kept")


DEEDS: dict[str, Any] = {
    "raise": _raise,
    "share": _share,
    "keep": lambda state: KEPT.__setitem__(slice(None), [state.texts]),
    "use what was kept": _use_what_was_kept,
    "count": lambda state: setattr(state, "count", state.count + 1),
    "add to a part": lambda state: setattr(state.part, "amount", state.part.amount + 1),
    "append": lambda state: state.texts.append("x"),
    "append to the other": lambda state: state.others.append("y"),
    "large": lambda state: state.texts.append("x" * 20_000),
    "large as JSON": lambda state: state.others.append("\x01" * 4_000),
    "small": lambda state: (state.texts.clear(), state.others.clear()),
    "is it a tuple": lambda state: setattr(state, "is_on", isinstance(state.texts, tuple)),
    "is it a number": lambda state: setattr(state, "is_on", type(state.count) is int),
    "is it a text": lambda state: setattr(state, "mode", "fast" if type(state.text) is str else "slow"),
    "which part": lambda state: setattr(state, "small", len(type(state.part).__struct_fields__)),
    "blank": lambda state: [setattr(state, name, getattr(type(state)(), name)) for name in FIELDS],
}
PLACES = st.integers(0, len(FIELDS) - 1)
SOME = st.integers(0, len(VALUES) - 1)
EVENTS = st.one_of(
    st.sampled_from(sorted(DEEDS)),
    st.tuples(st.just("put"), PLACES, SOME),
    st.tuples(st.just("put_part"), st.sampled_from(Part.__struct_fields__), SOME),
    st.tuples(st.just("put_item"), SOME),
    st.tuples(st.just("put_entry"), SOME),
)
MAKERS: dict[str, Any] = {"put": put, "put_part": put_part, "put_item": put_item, "put_entry": put_entry}


def done(state: Any, told: str) -> None:
    deed = msgspec.json.decode(told)
    if isinstance(deed, str):
        DEEDS[deed](state)
    else:
        MAKERS[deed[0]](*deed[1:])(state)


def doing(state: type[ExtensionState]) -> Extension:
    extension = Extension(state.__name__.lower(), state)

    @extension.on(TextDelta)
    def do(state: Any, event: TextDelta, run: Any) -> None:
        done(state, event.delta)

    return extension


CLASSES: tuple[type[ExtensionState], ...] = (Plain, Loose)
ALONE = {each: Dispatch([doing(each)]) for each in CLASSES}
USING = Dispatch(map(doing, CLASSES))
COMMITS = st.lists(
    st.lists(EVENTS.map(lambda deed: msgspec.json.encode(deed).decode()), min_size=1, max_size=4), max_size=8
)


def check_size(stored: bytes) -> None:
    if len(stored) > EXTENSION_BYTES:
        raise StateTooLargeError("run", len(stored), EXTENSION_BYTES)


def as_json_gives_it(state: type[ExtensionState], commits: list[list[str]]) -> tuple[str | None, int, Any]:
    """Return what a slice comes to where JSON alone says so after each commit: its error, its sequence, and what is stored."""
    sequence, stored = 0, msgspec.json.encode(state())
    for told in commits:
        now = msgspec.json.decode(stored, type=state)
        try:
            for each in told:
                done(now, each)
            after = msgspec.json.encode(now)
            check_size(after)
            try:
                msgspec.json.decode(after, type=state)
            except ValueError as error:
                raise InvalidValueError("state", "can't be read") from error
            check_storable(msgspec.json.decode(after), "state")
        except Exception as error:  # noqa: BLE001 (as the fold does)
            return type(error).__name__, sequence, read_back(state, msgspec.json.decode(stored))
        stored, sequence = after, sequence + len(told)
    return None, sequence, read_back(state, msgspec.json.decode(stored))


def log_of(commits: list[list[str]]) -> list[Any]:
    log, sequence = [record_commit()], 1
    for told in commits:
        log.append(commit(sequence, *(text_delta(delta=each) for each in told)))
        sequence += len(told)
    return log


@pytest.mark.parametrize("state", CLASSES)
@given(commits=COMMITS)
def test_a_slice_is_what_json_alone_makes_of_it_after_each_commit(state, commits):
    [piece] = fold(None, log_of(commits), ALONE[state]).state.extensions.values()
    found = None if piece.parked is None else piece.parked.error, piece.sequence, read_back(state, piece.state)
    assert found == as_json_gives_it(state, commits)


def read_back(state: type[ExtensionState], stored: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(msgspec.convert(stored, state)))


@given(COMMITS, st.data())
def test_hostile_handlers_leave_the_same_bytes_however_the_log_is_cut(commits, data):
    log = log_of(commits)
    state = saved = None
    come = 0
    while come < len(log):
        batch = log[come : come + data.draw(st.integers(1, len(log)))]
        come += len(batch)
        state, saved = fold(state, batch, USING).state, fold(saved, batch, USING).state
        whole = fold(None, log[:come], USING).state
        assert msgspec.json.encode(state) == msgspec.json.encode(whole)
        item = items.state_to_item(saved.stamped({}, at(1)))
        assert stored_item(item) == stored_item(items.state_to_item(whole.stamped({}, at(1))))
        saved = items.state_from_item(item)


@pytest.mark.parametrize(("state", "expected"), [(Plain, True), (Loose, False)])
def test_both_ways_to_settle_are_met(state, expected):
    assert is_plain_type(state) is expected
