import behest_lineage
import pytest
from behest_lineage import TAGS, Linked
from msgspec.json import encode

from behest_core.fold.rules import fold
from behest_core.model.limits import EXTENSION_BYTES
from behest_core.testing.builders import RUN, at, model_started, raw_commit, run_completed, run_started
from behest_core.testing.folding import assert_any_cut_gives_the_same, commits_of, folded, slice_of, table_of

TABLE = table_of(behest_lineage)
METADATA = {"parent_run_id": "p", "root_run_id": "r", "agent": "researcher", "tags": ["nightly", "eu"], "team": "blue"}


def linked(**said):
    return Linked(timestamp=at(3), **said)


def known(state):
    return tuple(state[name] for name in ("parent_run_id", "root_run_id", "agent", "tags"))


@pytest.mark.parametrize("first", [run_started(), model_started(), run_completed(), linked()])
def test_the_runs_metadata_says_where_it_comes_from(first):
    assert known(slice_of(TABLE, first, metadata=METADATA)) == ("p", "r", "researcher", ["nightly", "eu"])


def test_a_record_that_comes_after_its_events_says_it_too():
    log = commits_of(run_started(), model_started(), metadata=METADATA)
    without = fold(None, log[1:], TABLE).state
    assert known(without.extensions["lineage"].state) == (None, None, None, [])
    assert fold(without, log, TABLE).state.extensions == folded(log, TABLE).extensions


def test_an_event_says_it_too():
    state = slice_of(TABLE, linked(parent_run_id="p", root_run_id="r", agent="a", tags=["t"]))
    assert known(state) == ("p", "r", "a", ["t"])


def test_what_an_event_says_stands_over_the_metadata_and_what_it_leaves_out_stays():
    state = slice_of(TABLE, run_started(), linked(agent="writer"), linked(tags=[]), model_started(), metadata=METADATA)
    assert known(state) == ("p", "r", "writer", [])


@pytest.mark.parametrize("metadata", [None, "text", 5, [1], {}, {"tags": None}])
def test_metadata_that_says_nothing_is_nothing_wrong(metadata):
    state = slice_of(TABLE, run_started(), metadata=metadata)
    assert (known(state), state["ignored"]) == ((None, None, None, []), 0)


def test_what_cannot_be_taken_is_left_out_and_counted():
    odd = {"parent_run_id": 5, "root_run_id": "", "agent": {}, "tags": ["ok", 1, "", "ok", None]}
    state = slice_of(TABLE, run_started(), metadata=odd)
    assert (known(state), state["ignored"]) == ((None, None, None, ["ok"]), 6)


def test_a_run_is_not_its_own_parent():
    state = slice_of(TABLE, linked(parent_run_id=RUN, root_run_id=RUN))
    assert (known(state)[:2], state["ignored"]) == ((None, RUN), 1)


def test_tags_and_names_are_bounded():
    tags = [f"{n}" + "\x01" * 100 for n in range(TAGS + 5)]
    state = slice_of(TABLE, linked(parent_run_id="\x01" * 255, root_run_id="x" * 256, agent="\x01" * 500, tags=tags))
    assert (len(state["tags"]), len(state["tags"][0]), len(state["agent"])) == (TAGS, 64, 128)
    assert state["root_run_id"] is None
    assert len(encode(state)) < EXTENSION_BYTES / 4


def test_any_cut_into_batches_gives_the_same():
    log = [run_started(), linked(agent="a"), model_started(), linked(tags=["x"], parent_run_id="q"), run_completed()]
    assert_any_cut_gives_the_same(TABLE, *log, linked(agent="late"), metadata=METADATA)


def test_an_event_that_cannot_be_read_parks_the_slice_and_not_the_run():
    odd = raw_commit(2, 1, b'[{"type":"lineage.Linked","timestamp":"2026-01-31T12:00:01Z","tags":"x"}]')
    state = folded([*commits_of(run_started()), odd], TABLE)
    piece = state.extensions["lineage"]
    assert (state.sequence, piece.sequence, piece.parked.sequence) == (2, 1, 2)


def test_the_summary_of_a_run_says_what_an_event_said_of_its_parent():
    state = folded(commits_of(run_started(), linked(parent_run_id="p")), TABLE)
    assert behest_lineage.behest_summary(state) == {"parent_run_id": "p"}
    assert behest_lineage.behest_summary(folded(commits_of(run_started()), TABLE)) == {}
