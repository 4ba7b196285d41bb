import pytest

from behest_core.fold.reducer import REDUCER
from behest_core.fold.rules import apply, replay
from behest_core.model.events import UnknownEvent
from behest_core.model.limits import TEXT_BYTES
from behest_core.model.state import FinishReason, RunStatus, TokenUsage, UnknownFinishReason
from tests.builders import (
    RUN,
    SESSION,
    at,
    model_started,
    run_completed,
    run_failed,
    run_record,
    run_started,
    text_delta,
    usage_recorded,
    whole_run,
)
from tests.golden import differences, golden_files, golden_runs
from tests.wire import events_of, record_of, wire_state


@pytest.mark.parametrize("file", golden_files())
def test_folds_every_golden_log_to_the_state_the_seed_gave(file):
    wrong = []
    for number, line in enumerate(golden_runs(file), 1):
        state = replay(record_of(line), line["record"]["id"], [events_of(line)])
        wrong += [f"line {number}: {each}" for each in differences(line["state"], wire_state(state))]
    assert wrong == []


@pytest.mark.parametrize("file", golden_files())
def test_applying_one_event_at_a_time_gives_the_same_state(file):
    for line in golden_runs(file):
        state = replay(record_of(line), line["record"]["id"], [])
        for event in events_of(line):
            assert apply(state, [event]) is None
        assert differences(line["state"], wire_state(state)) == []


def folded(*events, record=True):
    return replay(run_record() if record else None, RUN, [events])


def test_a_run_without_events_is_pending_since_its_record():
    state = folded()
    assert (state.status, state.event_count, state.iteration) == (RunStatus.PENDING, 0, 0)
    assert state.updated_at == at(0)


def test_run_started_sets_provider_and_model_but_not_the_session_of_the_record():
    state = replay(run_record(session_id="of-the-record"), RUN, [[run_started(provider="p", model="m")]])
    assert (state.status, state.provider, state.model) == (RunStatus.SESSION_LOADED, "p", "m")
    assert state.session_id == "of-the-record"


def test_model_started_sets_the_iteration_but_not_provider_and_model():
    state = folded(model_started(iteration=7))
    assert (state.status, state.iteration, state.provider) == (RunStatus.CALLING_MODEL, 7, "openai")


def test_usage_is_added_up_and_its_own_total_ignored():
    first, second = usage_recorded(input_tokens=10, output_tokens=5), usage_recorded(input_tokens=1, output_tokens=2)
    first.usage.total_tokens = 999
    assert folded(first, second).total_usage == TokenUsage(11, 7, 18)


def test_cache_counts_appear_once_something_records_them():
    assert folded(
        usage_recorded(),
        usage_recorded(cached_input_tokens=3),
        usage_recorded(cached_input_tokens=4, cache_read_input_tokens=1),
    ).total_usage == TokenUsage(30, 15, 45, cached_input_tokens=7, cache_read_input_tokens=1)


@pytest.mark.parametrize(
    ("written", "folded_reason"),
    [
        ("stop", FinishReason.STOP),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("pause_turn", UnknownFinishReason("pause_turn")),
        (UnknownFinishReason("stop"), UnknownFinishReason("stop")),
    ],
)
def test_a_finish_reason_the_seed_has_no_word_for_is_unknown(written, folded_reason):
    assert folded(run_completed(finish_reason=written)).last_finish == folded_reason


def test_a_late_event_moves_a_finished_run_on_and_leaves_its_finish_and_error():
    state = folded(run_completed(), run_failed(), model_started(second=9))
    assert state.status is RunStatus.CALLING_MODEL
    assert (state.last_finish, state.last_error) == (FinishReason.STOP, "boom")


def test_updated_at_is_the_last_events_time_as_written_even_if_clocks_go_back():
    assert folded(text_delta(second=50), text_delta(second=3)).updated_at == at(3)


def test_an_unknown_event_counts_and_moves_updated_at_and_no_more():
    before, after = folded(), folded(UnknownEvent("a.B", at(9), b""))
    assert (after.event_count, after.updated_at) == (1, at(9))
    after.event_count, after.sequence, after.updated_at = 0, 0, before.updated_at
    assert after == before


def test_without_a_record_run_started_says_session_provider_and_model():
    state = folded(*whole_run(), record=False)
    assert (state.session_id, state.provider, state.model) == (SESSION, "openai", "gpt-4o")
    assert (state.created_at, state.status) == ("2026-01-31T12:00:01.000000000Z", RunStatus.COMPLETED)


@pytest.mark.parametrize(
    "event",
    [
        usage_recorded(input_tokens=2**64),
        usage_recorded(cached_input_tokens=2**64),
        model_started(iteration=2**64),
        run_failed(error="x" * (TEXT_BYTES + 1)),
        run_failed(error="é" * TEXT_BYTES),
        run_completed(finish_reason="x" * (TEXT_BYTES + 1)),
        run_started(model="x" * (TEXT_BYTES + 1)),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_that_a_state_cannot_hold_changes_nothing(event):
    state, untouched = folded(usage_recorded()), folded(usage_recorded())
    assert isinstance(apply(state, [event]), Exception)
    assert state == untouched


def test_every_change_reads_fields_that_its_event_has():
    for event_class, change in REDUCER.items():
        assert set(change.reads) <= set(event_class.__struct_fields__)
