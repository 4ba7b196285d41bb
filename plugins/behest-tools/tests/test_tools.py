import behest_tools
from msgspec.json import encode

from behest_core.model.events import (
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    TextDelta,
    ToolExecutionFinished,
    ToolExecutionResult,
)
from behest_core.model.limits import EXTENSION_BYTES
from behest_core.testing.builders import raw_commit
from behest_core.testing.folding import assert_any_cut_gives_the_same, commits_of, folded, slice_of, table_of

TABLE = table_of(behest_tools)
DAY = "2026-01-31T"


def started(clock="12:00:00Z"):
    return RunStarted(session_id="s", provider="p", model="m", timestamp=DAY + clock)


def model(clock):
    return ModelStarted(provider="p", model="m", iteration=1, timestamp=DAY + clock)


def text(clock):
    return TextDelta(delta="Hi", timestamp=DAY + clock)


def completed(clock):
    return RunCompleted(finish_reason="stop", iterations=1, timestamp=DAY + clock)


def tool(name="search", duration_ms=10, result=None):
    result = result or ToolExecutionResult.ok("found")
    return ToolExecutionFinished(
        call_id="c", tool_name=name, result=result, duration_ms=duration_ms, timestamp=DAY + "12:00:05Z"
    )


WRONG = ToolExecutionResult.failed("no such page")
RUN = [
    started(),
    model("12:00:01Z"),
    text("12:00:01.250Z"),
    text("12:00:02Z"),
    tool("search", 30),
    tool("search", 50, WRONG),
    tool("mail", 7),
    model("12:00:03Z"),
    text("12:00:04Z"),
    completed("12:00:06.5Z"),
]


def test_calls_errors_and_durations_are_kept_per_tool():
    assert slice_of(TABLE, *RUN)["tools"] == {
        "search": {"calls": 2, "errors": 1, "total_ms": 80, "longest_ms": 50},
        "mail": {"calls": 1, "errors": 0, "total_ms": 7, "longest_ms": 7},
    }


def test_model_calls_the_time_to_first_token_and_the_duration_are_kept_per_run():
    state = slice_of(TABLE, *RUN)
    assert (state["model_calls"], state["first_token_ms"], state["longest_first_token_ms"]) == (2, 250, 1000)
    assert state["duration_ms"] == 6500


def test_any_cut_into_batches_gives_the_same():
    assert_any_cut_gives_the_same(TABLE, *RUN)


def test_a_run_without_anything_has_no_times():
    state = slice_of(TABLE, started())
    assert (state["first_token_ms"], state["longest_first_token_ms"], state["duration_ms"]) == (None, None, None)


def test_a_model_call_without_text_has_no_time_to_first_token():
    state = slice_of(TABLE, model("12:00:01Z"), model("12:00:05Z"), text("12:00:06Z"))
    assert (state["model_calls"], state["first_token_ms"]) == (2, 1000)


def test_text_after_the_end_of_the_run_ends_no_wait():
    state = slice_of(TABLE, started(), model("12:00:01Z"), completed("12:00:02Z"), text("12:00:09Z"))
    assert (state["first_token_ms"], state["waiting_since"]) == (None, None)


def test_a_clock_that_goes_back_never_gives_less_than_nothing():
    state = slice_of(TABLE, started("12:00:09Z"), model("12:00:05Z"), text("12:00:04Z"), completed("12:00:01Z"))
    assert (state["first_token_ms"], state["longest_first_token_ms"], state["duration_ms"]) == (0, 0, 0)


def test_times_are_compared_as_instants_whatever_their_offset():
    state = slice_of(TABLE, model("12:00:00+00:00"), text("13:00:00.040+01:00"))
    assert state["first_token_ms"] == 40


def test_without_a_run_started_the_duration_is_from_the_creation():
    assert slice_of(TABLE, completed("12:00:03Z"))["duration_ms"] == 3000


def test_started_again_and_ended_again_a_run_lasts_from_the_first_to_the_last():
    failed = RunFailed(error="boom", timestamp=DAY + "12:00:02Z")
    cancelled = RunCancelled(timestamp=DAY + "12:00:08Z")
    assert slice_of(TABLE, started(), failed, started("12:00:05Z"), cancelled)["duration_ms"] == 8000


def test_a_time_that_cannot_be_read_is_counted_and_measures_nothing():
    soon = raw_commit(3, 1, b'[{"type":"TextDelta","delta":"Hi","timestamp":"soon"}]')
    state = folded([*commits_of(started(), model("12:00:01Z")), soon], TABLE).extensions["tools"].state
    assert (state["unreadable_times"], state["first_token_ms"], state["waiting_since"]) == (1, None, None)


def test_a_failure_of_a_shape_that_cannot_be_read_parks_the_slice_alone():
    odd = raw_commit(2, 1, b'[{"type":"ToolExecutionFinished","timestamp":"2026-01-31T12:00:01Z","tool_name":5}]')
    state = folded([*commits_of(started()), odd], TABLE)
    piece = state.extensions["tools"]
    assert (state.sequence, piece.sequence, piece.parked.sequence) == (2, 1, 2)


def test_tools_beyond_the_cap_and_names_that_cannot_be_kept_are_counted_together():
    names = [f"tool-{n}" for n in range(behest_tools.TOOLS + 2)]
    state = slice_of(TABLE, tool(""), tool("x" * 65), *map(tool, names), tool("tool-0"), tool(names[-1], 99))
    assert len(state["tools"]) == behest_tools.TOOLS
    assert state["tools"]["tool-0"]["calls"] == 2
    assert (state["other"]["calls"], state["other"]["longest_ms"]) == (5, 99)


def test_a_tool_named_other_is_a_tool_as_any():
    state = slice_of(TABLE, tool("other"))
    assert (state["tools"]["other"]["calls"], state["other"]) == (1, None)


def test_the_largest_slice_is_far_below_the_cap():
    names = [f"{n:02}" + "\x01" * 62 for n in range(behest_tools.TOOLS)]
    state = slice_of(TABLE, *(tool(name, 2**53) for name in names))
    assert len(encode(state)) < EXTENSION_BYTES / 2
