"""`behest import` and `behest export`, on the local stack."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import SequenceConflictError
from tests.builders import RUN, at, custom, run_completed, run_record, run_started, text_delta, whole_run
from tests.cli import behest, done, line, refused
from tests.golden import SEED_FOLD, differences, golden_lines

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


def content(stack: Any) -> list[tuple[Any, ...]]:
    """Return what the event table holds, but for ids and times of commits."""
    items = stack.dynamodb.scan(TableName=stack.event_table)["Items"]
    return sorted(
        (item["run_id"]["S"], int(item["sequence"]["N"]), item.get("record"), item.get("events")) for item in items
    )


def test_the_golden_file_comes_back_as_it_was_imported(stack):
    lines = list(islice(golden_lines(SEED_FOLD), 0, None, 8))
    assert done("import", "-", stdin=b"".join(lines)) == "imported 50 runs with 462 events\n"
    expected = {}
    for golden in map(json.loads, lines):
        for sequence, event in enumerate(golden["events"], start=1):
            event["sequence"] = sequence
        expected[golden["record"]["id"]] = {"record": golden["record"], "events": golden["events"]}
    stack.deliver()
    exported = [json.loads(exported) for exported in done("export").splitlines()]
    assert expected == {each["record"]["id"]: each for each in exported}


def test_what_was_imported_folds_to_the_golden_states(stack):
    lines = list(islice(golden_lines(SEED_FOLD), 1, None, 16))
    behest("import", "-", stdin=b"".join(lines))
    stack.deliver()
    for golden in map(json.loads, lines):
        shown = json.loads(done("show", golden["record"]["id"], "--json"))
        shown = {name: shown[name] for name in golden["state"]}
        assert differences(golden["state"], shown, numbers_by_value=True) == []


def test_importing_what_was_exported_gives_the_same_tables(stack):
    events = [*whole_run(), custom(), {"type": "x.Y", "timestamp": at(6), "n": 1.5, "recorded_at": at(9)}]
    stack.store.event_log.create(run_record(metadata={"a": [1, None, ""]}))
    stack.store.event_log.append(RUN, events)
    stack.store.event_log.append("no-record", [text_delta()])
    stack.deliver()
    before, exported = content(stack), done("export")
    for item in stack.dynamodb.scan(TableName=stack.event_table)["Items"]:
        stack.dynamodb.delete_item(TableName=stack.event_table, Key={key: item[key] for key in ("run_id", "sequence")})
    assert done("import", "-", stdin=exported.encode()) == "imported 2 runs with 8 events\n"
    assert content(stack) == before


def test_a_second_import_changes_nothing(stack):
    data = line(*whole_run()) + line(run_id="other")
    done("import", "-", stdin=data)
    before = content(stack)
    assert done("import", "-", stdin=data) == "nothing changed: 2 runs were there already\n"
    assert content(stack) == before


def test_an_import_goes_on_where_one_was_interrupted(stack):
    done("import", "-", stdin=line(run_started(), text_delta()))
    assert (
        done("import", "-", stdin=line(run_started(), text_delta(), run_completed())) == "imported 1 run with 1 event\n"
    )
    assert stack.store.event_log.head(RUN) == 3


def test_a_log_that_has_gone_on_since_the_export_holds_all_of_it():
    done("import", "-", stdin=line(*whole_run()))
    assert done("import", "-", stdin=line(run_started(1))) == "nothing changed: 1 run was there already\n"


def test_events_are_appended_in_commits_of_a_hundred(stack):
    done("import", "-", stdin=line(*[text_delta()] * 250))
    assert [commit.count for commit in stack.store.event_log.commits(RUN, 0)] == [100, 100, 50]


@pytest.mark.parametrize(
    ("second", "sequence"),
    [
        (line(run_started(), text_delta(delta="else")), "another event at sequence 2"),
        (line(run_started(), text_delta(), record=run_record(metadata=1)), "another run record (sequence 0)"),
        (line(run_started(), text_delta(), record=None), "another run record (sequence 0)"),
    ],
    ids=["event", "record", "no record"],
)
def test_a_run_that_is_there_with_other_content_is_refused_and_left_as_it_is(stack, second, sequence):
    done("import", "-", stdin=line(run_started(), text_delta()))
    before = content(stack)
    assert refused("import", "-", stdin=second) == (
        f"standard input:1: run {RUN} is there already, with {sequence}; "
        "import it under another id, with --as, or into other tables"
    )
    assert content(stack) == before


def test_a_run_without_record_is_imported_without_one(stack):
    data = line(text_delta(), record=None)
    assert done("import", "-", stdin=data) == "imported 1 run with 1 event\n"
    assert stack.store.event_log.record(RUN) is None
    assert done("import", "-", stdin=data) == "nothing changed: 1 run was there already\n"


def test_a_run_that_comes_twice_in_a_file_is_imported_once():
    data = line(*whole_run())
    assert done("import", "-", stdin=data + data) == "imported 1 run with 5 events; 1 run was there already\n"


def test_a_malformed_line_ends_the_import_with_the_lines_before_it_done(stack):
    runs = b"".join(line(*whole_run(), run_id=f"run-{n}") for n in range(40))
    result = behest("import", "-", stdin=runs + b"{}\n" + line(run_id="after"))
    assert (result.exit_code, result.stdout) == (1, "imported 40 runs with 200 events\n")
    assert result.stderr == "behest: standard input:41: record: expected, but missing\n"
    assert stack.store.event_log.record("after") is None


def test_lines_that_are_refused_are_skipped_and_counted_when_asked():
    done("import", "-", stdin=line(run_started()))
    data = line(text_delta()) + b"{}\n" + line(*whole_run(), run_id="other")
    result = behest("import", "-", "--skip-invalid", stdin=data)
    assert (result.exit_code, result.stdout) == (0, "imported 1 run with 5 events; 2 lines skipped\n")
    malformed, differs = result.stderr.splitlines()
    assert malformed == "behest: skipped: standard input:2: record: expected, but missing"
    assert differs.startswith(f"behest: skipped: standard input:1: run {RUN} is there already, with another event at")


def test_an_event_that_no_item_can_hold_is_refused_with_its_size():
    message = refused("import", "-", stdin=line(text_delta(delta="x" * 410_000)))
    assert message.startswith(f"standard input:1: event: run {RUN}: one TextDelta is 410,")


def test_another_writer_ends_the_import_of_that_run(monkeypatch):
    def append(*_arguments, **_named):
        raise SequenceConflictError(RUN, 0, 1)

    monkeypatch.setattr(EventLog, "append", append)
    assert refused("import", "-", stdin=line(run_started())).startswith(
        f"standard input:1: run {RUN}: expected sequence 0, the log is at 1"
    )


def test_export_gives_the_runs_asked_for_and_names_those_that_it_cannot(stack):
    stack.store.event_log.append(RUN, whole_run())
    stack.store.event_log.append("broken", [text_delta()])
    item = {"run_id": {"S": "broken"}, "sequence": {"N": "5"}, "count": {"N": "1"}, "events": {"S": "[{}]"}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    result = behest("export", "nobody", RUN, "broken")
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 1)
    assert result.stderr.splitlines() == [
        "behest: there is no run nobody",
        "behest: run broken: its log lacks the events from sequence 2 to 4; they have expired, or were deleted",
    ]


def test_a_run_is_imported_under_another_id(stack):
    assert done("import", "-", "--as", "other", stdin=line(run_started())) == "imported 1 run with 1 event\n"
    assert stack.store.get_record("other").run_id == "other"
    assert [event.event for event in stack.store.events("other")] == [run_started()]


def test_another_id_is_for_one_run(stack):
    lines = line(run_started()) + line(run_started(), run_id="second")
    result = behest("import", "-", "--as", "other", stdin=lines)
    assert result.exit_code == 1
    assert "standard input:2: --as is for a file with one run; this is another" in result.stderr
