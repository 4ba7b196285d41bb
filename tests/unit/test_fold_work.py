"""What the fold does, counted: a slow path that comes back shows itself here, whatever machine it runs on."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from typing import Any

import behest_approvals
import behest_cost
import behest_lineage
import behest_tools
import pytest

from behest_core import interchange
from behest_core.fold import settling, slices
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import fold
from behest_core.fold.settling import Settling
from behest_core.model import decoding
from behest_core.model.events import ToolCallDelta
from behest_core.plugins.loading import compiled, plugin_from
from tests.builders import at, commit, custom, model_started, record_commit, run_started, text_delta, usage_recorded
from tests.golden import SEED_FOLD, golden_lines

OURS = (behest_approvals, behest_cost, behest_lineage, behest_tools)
START = [record_commit(), commit(1, run_started(), model_started(), text_delta())]


def four() -> Dispatch:
    return compiled([plugin_from(each, each.__name__) for each in OURS]).dispatch


@pytest.fixture
def counted(monkeypatch):
    """Return how often what is slow was done."""
    calls: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str | None = None) -> None:
        real = getattr(owner, name)

        def counting(*args: Any) -> Any:
            calls[what or name] += 1
            return real(*args)

        monkeypatch.setattr(owner, name, counting)

    count(decoding, "decode_each")
    count(settling, "_pack", "settled")
    count(Settling, "_settle_as_json", "settled as JSON")
    count(slices, "write", "written")
    count(Settling, "read")
    return calls


def calls_of(work: Any) -> int:
    """Return how many functions written in Python a call calls."""
    found: Counter[str] = Counter()
    sys.setprofile(lambda _, what, __: found.update([what]))
    try:
        work()
    finally:
        sys.setprofile(None)
    return found["call"]


@pytest.mark.parametrize("using", [Dispatch, four])
def test_commits_with_a_type_that_nobody_knows_are_decoded_in_one_call_but_for_the_first(counted, using):
    dispatch = using()
    log = [record_commit(), *(commit(n, text_delta(), custom(type_="unheard.Of")) for n in range(1, 20, 2))]
    assert fold(None, log, dispatch).state.sequence == 20
    assert counted["decode_each"] == 1


def test_commits_of_types_that_an_upcaster_does_not_concern_are_decoded_in_one_call(counted):
    dispatch = Dispatch([behest_lineage.lineage], [], {"lineage.Linked": lambda old: old})
    fold(None, START, dispatch)
    assert counted["decode_each"] == 0


def test_each_commit_that_touches_a_slice_is_settled_once_and_its_json_is_written_once_a_fold(counted):
    log = [*START, *(commit(n, usage_recorded(), usage_recorded()) for n in range(4, 24, 2))]
    fold(None, log, four())
    assert counted == {
        "read": 4,  # each slice, when the first event concerns it
        "settled": 3 + 10,  # cost, tools and lineage, then cost in each
        "written": 3,
    }


def test_a_slice_that_no_event_concerns_is_neither_read_nor_written(counted):
    dispatch = four()
    state = fold(None, START, dispatch).state
    counted.clear()
    fold(state, [commit(4, ToolCallDelta(call_id="c", delta="", timestamp=at(9)))], dispatch)
    assert counted == {}


def test_our_plugins_slices_never_take_the_way_by_json(counted):
    dispatch = four()
    for number, line in enumerate(golden_lines(SEED_FOLD), 1):
        interchange.fold_line("golden", number, line, dispatch)
    assert counted["settled"] > 100
    assert counted["settled as JSON"] == 0


def test_commits_that_concern_no_extension_take_one_call_more_than_without_any():
    dispatch, tail = four(), [commit(n, *(text_delta() for _ in range(20))) for n in range(4, 204, 20)]

    def calls_for_the_tail(using: Dispatch) -> int:
        fold(None, START, using)
        return calls_of(lambda: fold(None, [*START, *tail], using)) - calls_of(lambda: fold(None, START, using))

    assert calls_for_the_tail(dispatch) == calls_for_the_tail(CORE) + len(tail)


def test_a_fold_leaves_nothing_for_the_garbage_collector():
    dispatch, log = four(), [*START, commit(4, usage_recorded(), custom())]
    fold(None, log, dispatch)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            fold(None, log, dispatch)
        assert gc.collect() == 0
    finally:
        gc.enable()
