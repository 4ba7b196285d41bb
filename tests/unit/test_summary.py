"""What is asked of a run among many: made of its state, and of what plugins add."""

from __future__ import annotations

import logging

import msgspec
import pytest
from behest_approvals import behest_summary as of_approvals
from behest_cost import behest_summary as of_cost
from behest_tools import behest_summary as of_tools

from behest_core.model.state import ExtensionSlice, RunState, RunStatus, TokenUsage, Waiting
from behest_core.model.summary import milliseconds_between, summarize
from behest_core.model.timestamps import canonical
from behest_core.plugins import hookimpl
from behest_core.plugins.loading import compiled, plugin_from
from tests.builders import RUN, at


def state_of(**about):
    return RunState(run_id=RUN, **about)


def with_slice(name, **state):
    return state_of(extensions={name: ExtensionSlice.of(state, sequence=1, version=1)})


class Stars:
    @hookimpl
    def behest_summary(self, state):
        return {"stars": state.slice_of("stars").get("n", 0), "odd": [1], "long": "x" * 5_000, "nano_usd": 5}


class Raises:
    @hookimpl
    def behest_summary(self):
        raise RuntimeError("no sum")


class Later:
    @hookimpl
    def behest_summary(self):
        return {"nano_usd": 7, "late": True}


def summary(state, *plugins):
    return compiled(plugin_from(each(), each.__name__) for each in plugins).summary(state)


def test_a_run_that_ended_has_a_duration():
    about = {
        "status": RunStatus.FAILED,
        "created_at": at(0),
        "ended_at": at(8),
        "updated_at": at(9),
        "last_error": "no",
    }
    ended = summarize(state_of(**about))
    assert (ended.ended_at, ended.duration_ms, ended.error) == (at(8), 8_000, "no")


def test_an_active_run_has_none():
    active = summarize(state_of(status=RunStatus.CALLING_MODEL, created_at=at(0), updated_at=at(9)))
    assert (active.ended_at, active.duration_ms) == (None, None)


@pytest.mark.parametrize(
    ("first", "last", "expected"), [(at(0), at(1), 1000), (at(1), at(0), 0), (None, at(1), None), (at(0), "noon", None)]
)
def test_the_time_between_two_times(first, last, expected):
    assert milliseconds_between(first, last) == expected


def test_what_the_metadata_says_by_its_documented_names_is_taken():
    known = {"agent_name": "a", "tags": ["x", 1, "y"], "user_id": "u", "parent_run_id": "p", "root_run_id": "r"}
    found = summarize(state_of(metadata=known))
    assert (found.agent_name, found.tags, found.user_id) == ("a", ("x", "y"), "u")
    assert (found.parent_run_id, found.root_run_id) == ("p", "r")


@pytest.mark.parametrize("metadata", [None, "text", [1], {"agent_name": 1, "tags": "x", "user_id": None}])
def test_metadata_of_another_shape_says_nothing(metadata):
    found = summarize(state_of(metadata=metadata))
    assert (found.agent_name, found.tags, found.user_id) == (None, (), None)


def test_tokens_are_those_of_the_state():
    found = summarize(state_of(total_usage=TokenUsage(10, 5, 15, cache_read_input_tokens=4)))
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (10, 5, 15)
    assert found.cache_read_input_tokens == 4


def test_a_plugin_adds_fields_of_the_types_that_there_are():
    found = summary(with_slice("stars", n=3), Stars)
    assert found.fields == {"stars": 3, "long": "x" * 1_000, "nano_usd": 5}
    assert found.nano_usd == 5


def test_of_two_plugins_that_give_one_name_the_first_counts():
    assert summary(state_of(), Stars, Later).fields["nano_usd"] == 5
    assert summary(state_of(), Later, Stars).fields["nano_usd"] == 7


def test_a_plugin_that_raises_is_left_out_and_the_log_says_so(caplog):
    with caplog.at_level(logging.ERROR, "behest_core"):
        assert summary(state_of(), Raises, Later).fields == {"nano_usd": 7, "late": True}
    assert "plugin Raises could not sum up a run" in caplog.text


def test_what_no_plugin_says_is_none():
    assert (summarize(state_of()).nano_usd, summarize(state_of()).waiting_since) == (None, None)
    assert summarize(state_of(), {"nano_usd": True}).nano_usd is None


def test_a_run_waits_since_the_earliest_of_its_pause_and_of_what_slices_say():
    def since(said, **about):
        state = with_slice("approvals", waits_for_person_since=said)
        return summarize(msgspec.structs.replace(state, **about)).waiting_since

    early, late = canonical(at(2)), canonical(at(3))
    assert since(None) is None
    assert since(early) == since(early, waiting=Waiting(since=late)) == early
    assert since(late, waiting=Waiting(since=early)) == since(5, waiting=Waiting(since=early)) == early
    assert since("noon") is since(at(2)) is None
    assert since(early, status=RunStatus.FAILED) is None


def test_cost_says_what_a_run_cost_where_a_call_has_a_price():
    assert of_cost(with_slice("cost", nano_usd=5, calls=2, unpriced_calls=1)) == {"nano_usd": 5, "unpriced_calls": 1}
    assert of_cost(with_slice("cost", nano_usd=0, calls=1, unpriced_calls=1)) == {}
    assert of_cost(state_of()) == {}


def test_tools_says_how_many_calls_failed():
    slice_ = {
        "tools": {"a": {"calls": 2, "errors": 1}, "b": {"calls": 1, "errors": 0}},
        "other": {"calls": 4, "errors": 4},
    }
    assert of_tools(with_slice("tools", **slice_)) == {"tool_calls": 7, "tools_failed": 5}
    assert of_tools(with_slice("tools", first_token_ms=3)) == {"tool_calls": 0, "tools_failed": 0, "first_token_ms": 3}
    assert of_tools(state_of()) == {"tool_calls": 0, "tools_failed": 0}


def test_approvals_says_for_how_many_answers_a_run_waits():
    assert of_approvals(with_slice("approvals", waiting=2)) == {"waiting_for": 2}
    assert of_approvals(with_slice("approvals", waiting=0)) == of_approvals(state_of()) == {}
    over = with_slice("approvals", waiting=2)
    over.status = RunStatus.FAILED
    assert of_approvals(over) == {}
