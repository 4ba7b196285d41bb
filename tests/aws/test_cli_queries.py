"""`behest runs`, `show` and `events`, on the local stack."""

from __future__ import annotations

import json
import re

import pytest

from tests.builders import (
    RUN,
    at,
    custom,
    model_started,
    run_completed,
    run_failed,
    run_record,
    run_started,
    text_delta,
    usage_recorded,
    whole_run,
)
from tests.cli import behest, done, refused, screen

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


@pytest.fixture
def whole(stack):
    """Return the stack with one run, completed and folded."""
    stack.store.event_log.create(run_record(metadata={"team": "blue"}))
    stack.store.event_log.append(RUN, whole_run())
    stack.deliver()
    return stack


# ---------------------------------------------------------------- runs


@pytest.fixture
def three(stack):
    """Return the stack with three runs, one second apart."""
    for number, (run_id, session, end) in enumerate(
        [("run-a", "alice", [run_failed(9)]), ("run-b", "alice", [run_completed(9)]), ("run-c", "bob", [])]
    ):
        stack.store.event_log.create(run_record(run_id, session_id=session, created_at=at(number)))
        stack.store.event_log.append(
            run_id, [run_started(), model_started(), usage_recorded(5, 1000 * number, 234), *end]
        )
    stack.deliver()
    return stack


def listed(*arguments: str) -> list[str]:
    return [json.loads(state)["run_id"] for state in behest("runs", "--json", *arguments).stdout.splitlines()]


@pytest.mark.usefixtures("three")
def test_runs_are_listed_newest_first_with_all_columns_in_a_pipe():
    assert done("runs").splitlines() == [
        "RUN    STATUS        MODEL   TOKENS  DURATION  EVENTS  CREATED (UTC)        UPDATED (UTC)        SESSION  ERROR",
        "run-c  CallingModel  gpt-4o   2,234         -       3  2026-01-31 12:00:02  2026-01-31 12:00:05  bob",
        "run-b  Completed     gpt-4o   1,234     8.0 s       4  2026-01-31 12:00:01  2026-01-31 12:00:09  alice",
        "run-a  Failed        gpt-4o     234     9.0 s       4  2026-01-31 12:00:00  2026-01-31 12:00:09  alice    boom",
    ]


@pytest.mark.usefixtures("three")
def test_a_narrow_terminal_shows_fewer_columns():
    for columns, shown in ((60, 2), (66, 4), (80, 5), (90, 6), (120, 7), (200, 10)):
        rows = screen("runs", columns=columns)
        assert len(re.split(r"\s{2,}", rows[0].strip())) == shown
        assert all(len(row) <= columns for row in rows)


@pytest.mark.usefixtures("three")
def test_runs_are_found_by_session_status_and_time():
    assert listed() == ["run-c", "run-b", "run-a"]
    assert listed("--session", "alice") == ["run-b", "run-a"]
    assert listed("--status", "failed") == ["run-a"]
    assert listed("--session", "alice", "--status", "Completed") == ["run-b"]
    assert listed("--since", at(1)) == ["run-c", "run-b"]
    assert listed("--until", at(1)) == ["run-b", "run-a"]


@pytest.mark.usefixtures("three")
def test_runs_are_found_by_what_is_in_their_states():
    assert listed("--error", "BOO") == ["run-a"]
    assert listed("--model", "none") == []
    assert listed("--min-tokens", "1000") == ["run-c", "run-b"]
    assert listed("--min-duration", "9s") == ["run-c", "run-a"]
    assert listed("--agent", "a") == listed("--tag", "t") == listed("--user", "u") == listed("--waiting") == []
    assert listed("--min-cost", "0.01") == []


@pytest.mark.usefixtures("three")
def test_runs_are_sorted_by_what_is_asked_for():
    assert listed("--sort", "tokens") == ["run-c", "run-b", "run-a"]
    assert listed("--sort", "duration", "--limit", "2") == ["run-a", "run-b"]
    assert listed("--sort", "updated", "--limit", "1") == ["run-b"]


def test_a_list_is_watched_on_a_terminal_alone():
    result = behest("runs", "--watch")
    assert result.exit_code == 2
    assert "--watch needs a terminal" in " ".join(result.stderr.split())


def test_a_span_that_is_none_is_refused():
    result = behest("runs", "--min-duration", "long")
    assert result.exit_code == 2
    assert "expected a time span such as 30s" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("three")
def test_a_limit_says_that_there_are_more():
    result = behest("runs", "--limit", "2")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "behest: there are more; --limit 0 shows all, --limit N more than 2\n"
    assert listed("--limit", "3") == listed("--limit", "0") == ["run-c", "run-b", "run-a"]


def test_no_runs_are_no_error():
    result = behest("runs")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "behest: no such runs\n")
    assert behest("runs", "--json").stdout == ""


def test_a_parked_run_is_marked(stack):
    stack.store.event_log.append(RUN, [run_started()])
    item = {"run_id": {"S": RUN}, "sequence": {"N": "2"}, "count": {"N": "1"}, "events": {"S": "[{}]"}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    stack.deliver()
    assert "SessionLoaded parked" in done("runs")
    shown = done("show", RUN)
    assert re.search(
        r"parked +at sequence 2, by MalformedEventError: .+ What follows in the log is not folded\.", shown
    )


# ---------------------------------------------------------------- show


@pytest.mark.usefixtures("whole")
def test_show_gives_all_of_a_state():
    assert done("show", RUN).splitlines() == [
        "run         run-1",
        "status      Completed  last finish: stop",
        "model       openai gpt-4o",
        "iterations  1",
        "tokens      15 (10 in, 5 out)",
        "events      5, folded up to sequence 5",
        "created     2026-01-31T12:00:00Z",
        "updated     2026-01-31T12:00:05Z",
        "duration    5.0 s",
        "session     session-1",
        'metadata    {"team":"blue"}',
        "",
        "Last words",
        "  assistant  Hi",
    ]


@pytest.mark.usefixtures("whole")
def test_show_draws_a_panel_that_fits_the_terminal():
    for columns in (40, 80, 200):
        rows = screen("show", RUN, columns=columns)
        assert rows[0].startswith("╭─ run run-1 ")
        panel = rows[: rows.index("")]
        assert {len(row) for row in panel} == {columns}
        assert rows[len(panel) :] == ["", "Last words", "  assistant  Hi".ljust(columns)]


@pytest.mark.usefixtures("whole")
def test_show_as_json_has_every_field():
    state = json.loads(done("show", RUN, "--json"))
    assert (state["status"], state["sequence"], state["parked"], state["last_error"]) == ("Completed", 5, None, None)


def test_show_tells_errors_and_cached_tokens(stack):
    usage = usage_recorded(2, cache_read_input_tokens=7)
    stack.store.event_log.append(RUN, [run_started(), usage, run_failed(error="no\x1b[2J way")])
    stack.deliver()
    shown = done("show", RUN)
    assert "error       no\\x1b[2J way" in shown
    assert "tokens      15 (10 in, 5 out, 7 read from the cache)" in shown


@pytest.mark.usefixtures("whole")
def test_show_folds_the_log_up_to_a_sequence_or_a_time():
    for option, value, sequence, status in (
        ("--at-sequence", "0", 0, "Pending"),
        ("--at-sequence", "1", 1, "SessionLoaded"),
        ("--at-sequence", "4", 4, "CallingModel"),
        ("--at-sequence", "5", 5, "Completed"),
        ("--at", at(0), 0, "Pending"),
        ("--at", at(1), 1, "SessionLoaded"),
        ("--at", at(4), 4, "CallingModel"),
        ("--at", "2027-01-01", 5, "Completed"),
    ):
        state = json.loads(done("show", RUN, option, value, "--json"))
        assert (state["sequence"], state["event_count"], state["status"]) == (sequence, sequence, status)


def test_clocks_that_go_back_do_not_change_the_order(stack):
    stack.store.event_log.append(RUN, [run_started(1), text_delta(9), model_started(2)])
    assert json.loads(done("show", RUN, "--at", at(5), "--json"))["sequence"] == 1


@pytest.mark.usefixtures("whole")
def test_a_state_that_there_never_was_is_not_shown():
    assert refused("show", RUN, "--at-sequence", "6") == f"run {RUN} has no sequence 6: its log ends at 5"
    assert refused("show", RUN, "--at", "2020-01-01") == f"run {RUN} began after 2020-01-01T00:00:00.000000000Z"


def test_a_run_without_record_began_with_its_first_event(stack):
    stack.store.event_log.append(RUN, [run_started(3)])
    assert refused("show", RUN, "--at", at(2)) == f"run {RUN} began after {at(2)[:-1]}.000000000Z"


def test_show_says_when_the_projector_has_not_come_to_a_run_yet(stack):
    stack.store.event_log.append(RUN, whole_run())
    assert refused("show", RUN) == (
        f"run {RUN} has no state yet, and a log up to sequence 5; is the projector running? "
        f"`behest show {RUN} --at-sequence 5` folds the log"
    )


def test_a_past_state_stops_where_the_log_cannot_be_folded(whole):
    item = {"run_id": {"S": RUN}, "sequence": {"N": "6"}, "count": {"N": "2"}, "events": {"S": "[{}]"}}
    whole.dynamodb.put_item(TableName=whole.event_table, Item=item)
    for option, value in (("--at-sequence", "6"), ("--at", "2027-01-01")):
        state = json.loads(done("show", RUN, option, value, "--json"))
        assert (state["sequence"], state["parked"]["sequence"]) == (5, 6)


@pytest.mark.usefixtures("whole")
def test_the_two_ways_to_name_a_past_state_exclude_each_other():
    assert behest("show", RUN, "--at", at(1), "--at-sequence", "1").exit_code == 2


# ---------------------------------------------------------------- events


@pytest.mark.usefixtures("whole")
def test_events_are_listed_with_sequence_time_type_and_fields():
    usage = '{"input_tokens":10,"output_tokens":5,"total_tokens":0}'
    assert done("events", RUN, "--after", "2").splitlines() == [
        '    3  2026-01-31T12:00:03Z            TextDelta                  delta="Hi"',
        f"    4  2026-01-31T12:00:04Z            UsageRecorded              usage={usage}",
        '    5  2026-01-31T12:00:05Z            RunCompleted               finish_reason="stop" iterations=1',
    ]


def test_each_event_has_one_line_of_the_terminal(stack):
    stack.store.event_log.append(RUN, [text_delta(delta="word " * 99), custom()])
    for columns in (40, 80, 160):
        rows = screen("events", RUN, columns=columns)
        assert len(rows) == 2
        assert all(len(row) <= columns for row in rows)


@pytest.mark.usefixtures("whole")
def test_events_as_json_are_as_they_lie_in_the_log():
    event = json.loads(done("events", RUN, "--json").splitlines()[2])
    assert event.pop("committed_at")
    assert event == {
        "run_id": RUN,
        "sequence": 3,
        "event": {"type": "TextDelta", "timestamp": at(3), "delta": "Hi"},
    }


def test_a_malformed_event_is_shown_as_it_is(stack):
    item = {"run_id": {"S": RUN}, "sequence": {"N": "1"}, "count": {"N": "2"}, "events": {"S": '[7,{"type":"X"}]'}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    assert [row.split() for row in done("events", RUN).splitlines()] == [
        ["1", "-", "(malformed)", "event=7"],
        ["2", "-", "(malformed)", 'event={"type":"X"}'],
    ]


@pytest.mark.usefixtures("three")
def test_events_are_narrowed_down_by_type_and_text():
    def sequences(*arguments):
        return [json.loads(event)["sequence"] for event in done("events", "run-a", "--json", *arguments).splitlines()]

    everything = sequences()
    assert sequences("--type", "RunFailed") == everything[-1:]
    assert sequences("--type", "RunFailed", "--type", "RunStarted") == [1, everything[-1]]
    assert sequences("--text", "BOOM") == everything[-1:]
    assert sequences("--type", "RunStarted", "--text", "boom") == []


def test_on_a_terminal_the_pieces_of_a_text_are_one_row(stack):
    pieces = [
        {"type": "TextDelta", "delta": each, "model_call_id": of, "timestamp": at(2)} for each, of in ("a1", "b1", "c2")
    ]
    stack.store.event_log.create(run_record())
    stack.store.append(RUN, [run_started(), *pieces, {"type": "TextDelta", "delta": "d", "timestamp": at(3)}])
    shown = [row.split(maxsplit=3) for row in screen("events", RUN, columns=160)]
    assert [(row[0], row[-1]) for row in shown[1:]] == [
        ("3", 'delta="ab" model_call_id="1"'),
        ("4", 'delta="c" model_call_id="2"'),
        ("5", 'delta="d"'),
    ]
    assert len(done("events", RUN).splitlines()) == 5


def test_a_run_with_a_record_alone_has_no_events(stack):
    stack.store.event_log.create(run_record())
    assert done("events", RUN) == ""


@pytest.mark.usefixtures("whole")
def test_following_a_run_that_is_over_ends(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    assert len(done("events", RUN, "--follow").splitlines()) == 5
