import contextlib
import itertools
import tracemalloc
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from msgspec.structs import replace

from behest_core.dynamodb import event_table as module
from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog, PendingCommit
from behest_core.errors import (
    ContentionError,
    EventTooLargeError,
    IncompleteLogError,
    InvalidRunIdError,
    InvalidValueError,
    MalformedEventError,
    MalformedRecordError,
    RunDeletedError,
    RunExistsError,
    SequenceConflictError,
    StateTooLargeError,
)
from behest_core.model.decoding import encode
from behest_core.model.events import TextDelta, UnknownEvent
from behest_core.model.limits import EVENT_BYTES, METADATA_BYTES
from tests.aws.test_projector import raiser, throttled
from tests.builders import RUN, at, custom, run_record, run_started, text_delta, whole_run


@pytest.fixture
def log(stack):
    return stack.store.event_log


def other(log):
    """Return another process's log."""
    return EventLog(log._client, log.table)


def sequences(log, **window):
    return [each.sequence for each in log.events(RUN, **window)]


# ---------------------------------------------------------------- creating


def test_creating_a_run_puts_its_record_at_position_0(log):
    record = run_record(metadata={"a": [1, 2.5, None, "", {}]})
    assert log.create(record) == record == log.record(RUN)
    assert log.head(RUN) == 0


def test_creating_the_same_run_again_returns_the_first(log):
    log.create(run_record())
    assert log.create(run_record()) == run_record()


def test_creating_another_run_of_the_same_id_is_refused_with_what_differs(log):
    log.create(run_record())
    with pytest.raises(RunExistsError, match="metadata"):
        log.create(run_record(metadata={"other": True}))


def test_a_lost_answer_to_creating_is_a_success(log, requests):
    requests.lose_answer_of("PutItem")
    assert log.create(run_record()) == run_record()


@pytest.mark.parametrize(
    ("record", "error", "path"),
    [
        (run_record(run_id=""), InvalidRunIdError, "run_id"),
        (run_record(run_id="x" * 256), InvalidRunIdError, "run_id"),
        (run_record(run_id="\ud800"), InvalidRunIdError, "run_id"),
        (run_record(session_id=""), InvalidValueError, "record"),
        (run_record(created_at="now"), InvalidValueError, "record"),
        (run_record(metadata={"a": {1, 2}}), InvalidValueError, "metadata.a"),
        (run_record(metadata={"a": [float("nan")]}), InvalidValueError, "metadata.a[0]"),
        (run_record(metadata=10**38 + 1), InvalidValueError, "metadata"),
        (run_record(metadata="x" * (METADATA_BYTES + 1)), StateTooLargeError, None),
    ],
)
def test_a_record_that_could_not_be_folded_is_refused(log, requests, record, error, path):
    with pytest.raises(error) as caught:
        log.create(record)
    assert getattr(caught.value, "path", None) == path
    assert requests.made == []


def test_a_missing_record_is_none(log):
    assert log.record(RUN) is None


def test_a_record_that_something_else_broke_is_malformed(stack, log):
    item = {"run_id": {"S": RUN}, "sequence": {"N": "0"}, "record": {"S": "{}"}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    with pytest.raises(MalformedRecordError, match="session_id"):
        log.record(RUN)


# ---------------------------------------------------------------- appending


def test_events_are_appended_one_commit_after_the_other(log):
    assert log.append(RUN, [run_started(), custom()]) == 2
    assert log.append(RUN, [text_delta()]) == 3
    assert sequences(log) == [1, 2, 3]
    assert [each.last for each in log.commits(RUN)] == [2, 3]


def test_appending_is_one_conditional_put(log, requests):
    log.append(RUN, [run_started()])
    requests.made.clear()
    log.append(RUN, [text_delta()])
    assert [name for name, _ in requests.made] == ["PutItem"]


def test_appending_nothing_changes_nothing(log, requests):
    log.append(RUN, whole_run())
    requests.made.clear()
    assert log.append(RUN, []) == 5
    assert requests.made == []


def test_a_writer_who_is_overtaken_appends_behind_the_other(log):
    log.append(RUN, [run_started()])
    other(log).append(RUN, [text_delta(delta="theirs")])
    assert log.append(RUN, [text_delta(delta="ours")]) == 3
    assert [each.event.delta for each in log.events(RUN, after=1)] == ["theirs", "ours"]


def test_with_an_expected_sequence_a_writer_who_is_overtaken_is_told_where_the_log_is(log, requests):
    log.append(RUN, [run_started()])
    requests.before("PutItem", lambda: other(log).append(RUN, [text_delta(), text_delta()]))
    with pytest.raises(SequenceConflictError) as caught:
        log.append(RUN, [text_delta()], expected_sequence=1)
    assert (caught.value.run_id, caught.value.expected, caught.value.actual) == (RUN, 1, 3)


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_an_expected_sequence_inside_or_beyond_a_commit_is_a_conflict(log, expected):
    log.append(RUN, [run_started(), text_delta()])
    with pytest.raises(SequenceConflictError):
        other(log).append(RUN, [text_delta()], expected_sequence=expected)
    assert sequences(log) == [1, 2]


def test_the_expected_sequence_of_a_new_run_is_0(log):
    assert log.append(RUN, [run_started()], expected_sequence=0) == 1


def test_a_lost_answer_to_an_append_is_a_success_and_appends_once(log, requests):
    requests.lose_answer_of("PutItem")
    assert log.append(RUN, [run_started()], expected_sequence=0) == 1
    assert sequences(log) == [1]


def test_a_lost_answer_behind_which_another_has_appended_is_a_success_and_appends_once(log, requests):
    log.append(RUN, [run_started()])
    requests.lose_answer_of("PutItem")

    def let_another_append_before_the_request_is_sent_again():
        requests.before("PutItem", lambda: other(log).append(RUN, [text_delta(delta="theirs")]))

    requests.before("PutItem", let_another_append_before_the_request_is_sent_again)
    assert log.append(RUN, [text_delta(delta="ours")]) == 2
    assert [each.event.delta for each in log.events(RUN, after=1)] == ["ours", "theirs"]


@pytest.fixture
def unheard(stack):
    """Make a commit that was written, of which its writer heard nothing, and let another append behind it."""

    def unheard(log):
        pending = PendingCommit(RUN, [encode(text_delta(delta="ours"))])
        call = stack.dynamodb._make_api_call

        def written_and_unheard(operation, params):
            answer = call(operation, params)
            if operation == "PutItem":
                raise EndpointConnectionError(endpoint_url="https://dynamodb")
            return answer

        stack.dynamodb._make_api_call = written_and_unheard
        with pytest.raises(EndpointConnectionError):
            log.append_pending(pending)
        stack.dynamodb._make_api_call = call
        log.append(RUN, [text_delta(delta="theirs")])
        return pending

    return unheard


@pytest.mark.parametrize("again", [lambda log: log, other], ids=["by the same object", "by another one"])
def test_a_commit_that_was_written_unheard_is_found_however_often_it_is_tried_again(log, unheard, again):
    pending = unheard(log)
    assert [again(log).append_pending(pending) for _ in range(3)] == [1, 1, 1]
    assert [each.event.delta for each in log.events(RUN)] == ["ours", "theirs"]


def test_a_commit_that_was_refused_unheard_goes_behind_what_took_its_place(log, requests):
    pending = PendingCommit(RUN, [encode(text_delta(delta="ours"))])
    theirs = other(log)
    assert log.head(RUN) == theirs.head(RUN) == 0
    requests.before("PutItem", lambda: theirs.append(RUN, [text_delta(delta="theirs")]))
    requests.before("Query", raiser(throttled("Query")))  # of where the log ends now
    with pytest.raises(ClientError):
        log.append_pending(pending)
    log.append(RUN, [text_delta(delta="theirs, too")])
    assert log.append_pending(pending) == 3
    assert [each.event.delta for each in log.events(RUN)] == ["theirs", "theirs, too", "ours"]


def test_a_pending_commit_that_expects_a_sequence_is_written_there_or_never(log):
    pending = PendingCommit("r", [encode(run_started())])
    assert log.append_pending(pending, 0) == 1
    assert log.append_pending(pending, 0) == 1
    late = PendingCommit("r", [encode(run_started())])
    with pytest.raises(SequenceConflictError) as raised:
        log.append_pending(late, 0)
    assert (raised.value.expected, raised.value.actual) == (0, 1)
    assert log.head("r") == 1


def test_a_writer_who_is_always_overtaken_is_told_so_in_the_end(log, monkeypatch):
    monkeypatch.setattr(module, "_TRIES", 3)
    taken = itertools.count(1)
    put = log._put

    def overtaken(commit):
        put(replace(commit, commit_id=f"theirs-{next(taken)}"))
        return put(commit)

    monkeypatch.setattr(log, "_put", overtaken)
    with pytest.raises(ContentionError, match=f"run {RUN}: another writer was first 3 times") as caught:
        log.append(RUN, [text_delta()])
    assert (caught.value.run_id, caught.value.tries) == (RUN, 3)
    assert sequences(log) == [1, 2, 3]


def test_many_writers_at_once_lose_and_double_nothing(log):
    writers = [Thread(target=other(log).append, args=(RUN, [text_delta(delta=str(n))])) for n in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sequences(log) == list(range(1, 21))
    assert {each.event.delta for each in log.events(RUN)} == {str(n) for n in range(20)}


def test_more_than_an_item_holds_is_appended_as_several_commits(log):
    big = [text_delta(delta=str(n) * 150_000) for n in range(5)]
    assert log.append(RUN, big, expected_sequence=0) == 5
    assert [each.count for each in log.commits(RUN)] == [2, 2, 1]
    assert [each.event.delta[0] for each in log.events(RUN)] == ["0", "1", "2", "3", "4"]


def test_a_conflict_between_two_items_of_one_append_says_what_is_in_the_log(log, requests):
    log.append(RUN, [run_started()])

    def put_something_in_between():
        requests.before("PutItem", lambda: other(log).append(RUN, [text_delta(delta="between")]))

    requests.before("PutItem", put_something_in_between)
    with pytest.raises(SequenceConflictError) as caught:
        log.append(RUN, [text_delta(delta="x" * 300_000)] * 2, expected_sequence=1)
    assert (caught.value.appended, caught.value.expected, caught.value.actual) == (1, 2, 3)


def test_an_event_that_fits_no_item_is_refused_before_anything_is_written(log, requests):
    fits = text_delta(delta="x" * (EVENT_BYTES - 80))
    with pytest.raises(EventTooLargeError) as caught:
        log.append(RUN, [run_started(), text_delta(delta="x" * EVENT_BYTES)])
    assert (caught.value.run_id, caught.value.event_type, caught.value.expected) == (RUN, "TextDelta", EVENT_BYTES)
    assert caught.value.actual > EVENT_BYTES
    assert requests.made == []
    assert log.append("r" * 255, [fits]) == 1


@pytest.mark.parametrize("run_id", ["", "x" * 256, None, 7])
def test_a_run_id_has_1_to_255_characters(log, run_id):
    with pytest.raises(InvalidRunIdError):
        log.append(run_id, [run_started()])


def test_an_event_that_could_not_be_folded_is_refused(log, requests):
    with pytest.raises(InvalidValueError, match=r"event\.delta"):
        log.append(RUN, [run_started(), TextDelta(delta=5, timestamp=at(1))])
    assert requests.made == []


def test_commits_expire_if_they_are_told_to(stack):
    now = datetime(2026, 1, 31, tzinfo=UTC)
    log = EventLog(stack.dynamodb, stack.event_table, expire_after=timedelta(days=1), now=lambda: now)
    log.append(RUN, [run_started()])
    [item] = stack.dynamodb.scan(TableName=stack.event_table)["Items"]
    assert item["expires_at"] == {"N": str(int(datetime(2026, 2, 1, tzinfo=UTC).timestamp()))}
    assert item["committed_at"] == {"S": "2026-01-31T00:00:00.000000Z"}


# ---------------------------------------------------------------- reading


@pytest.fixture
def long_log(log):
    for start in range(0, 12, 3):
        log.append(RUN, [text_delta(delta=str(start + n)) for n in range(3)])
    return log


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, list(range(1, 13))),
        ({"after": 4}, list(range(5, 13))),
        ({"after": 6}, list(range(7, 13))),
        ({"after": 4, "limit": 3}, [5, 6, 7]),
        ({"limit": 0}, []),
        ({"after": -1, "limit": 2}, [1, 2]),
        ({"after": 11}, [12]),
        ({"after": 12}, []),
        ({"after": 99}, []),
    ],
)
def test_events_are_read_behind_a_sequence_up_to_a_limit(long_log, window, expected):
    assert sequences(long_log, **window) == expected


def test_reading_stops_at_its_limit(stack, long_log, requests):
    stack.store.append(RUN, [text_delta(delta="x" * 390_000)] * 6)  # more than one page
    requests.made.clear()
    assert sequences(long_log, limit=2) == [1, 2]
    assert len(requests.named("Query")) == 1
    assert all(each["ConsistentRead"] for each in requests.named("Query"))
    assert sequences(long_log) == list(range(1, 19))


@pytest.mark.parametrize(
    ("read", "queries", "read_items"),
    [
        (lambda store: list(store.events(RUN, limit=5)), 1, 2),
        (lambda store: list(store.events(RUN, after=6, limit=3)), 1, 1),
        (lambda store: list(store.events(RUN, after=4, limit=3)), 2, 2),
        (lambda store: store.state_at(RUN, sequence=5), 1, 3),
        (lambda store: store.state_at(RUN, sequence=0), 1, 1),
    ],
    ids=["first events", "events behind a commit", "events within a commit", "a state", "the record's state"],
)
def test_no_more_is_read_of_a_long_log_than_was_asked_for(stack, log, read, queries, read_items):
    log.create(run_record())
    for _ in range(30):
        log.append(RUN, [text_delta()] * 3)
    found = []
    stack.dynamodb.meta.events.register("after-call.dynamodb.Query", lambda parsed, **_: found.append(parsed["Count"]))
    read(stack.store)
    assert (len(found), sum(found)) == (queries, read_items)


def test_a_limit_counts_events_also_where_the_beginning_has_expired(stack, long_log):
    for sequence in ("1", "4"):
        stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": sequence}})
    assert sequences(long_log, limit=2) == [7, 8]
    with pytest.raises(IncompleteLogError):
        stack.store.state_at(RUN, sequence=2)


def test_commits_are_read_from_the_one_that_holds_the_next_event(long_log):
    assert [each.sequence for each in long_log.commits(RUN, after=4)] == [4, 7, 10]
    assert [each.sequence for each in long_log.commits(RUN, after=6)] == [7, 10]
    assert [each.sequence for each in long_log.commits(RUN, after=11)] == [10]
    assert list(long_log.commits(RUN, after=12)) == []


def test_an_item_at_no_position_disturbs_neither_readers_nor_writers(stack, long_log):
    stack.dynamodb.put_item(TableName=stack.event_table, Item={"run_id": {"S": RUN}, "sequence": {"N": "12.5"}})
    assert sequences(long_log, after=10) == [11, 12]
    assert other(long_log).append(RUN, [text_delta()]) == 13


def test_an_event_is_there_raw_and_decoded(log):
    log.append(RUN, [custom()])
    [recorded] = log.events(RUN)
    assert recorded.raw == b'{"type":"approvals.Requested","timestamp":"2026-01-31T12:00:03Z","call_id":"call-1"}'
    assert isinstance(recorded.event, UnknownEvent)


def test_a_commit_that_cannot_be_cut_into_events_is_named(stack, log):
    log.append(RUN, [run_started()])
    item = {"run_id": {"S": RUN}, "sequence": {"N": "2"}, "count": {"N": "1"}, "events": {"S": "nonsense"}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    with pytest.raises(MalformedEventError) as caught:
        sequences(log)
    assert (caught.value.run_id, caught.value.sequence) == (RUN, 2)


def test_a_whole_log_is_read_with_its_record_in_one_query(log, requests):
    log.create(run_record())
    log.append(RUN, whole_run())
    requests.made.clear()
    record, events = log.whole(RUN)
    assert (record, [each.sequence for each in events]) == (run_record(), [1, 2, 3, 4, 5])
    assert len(requests.named("Query")) == 1


def test_a_log_without_record_and_one_that_is_not_there_are_whole_too(log):
    record, events = log.whole(RUN)
    assert (record, list(events)) == (None, [])
    log.append(RUN, [run_started()])
    record, events = log.whole(RUN)
    assert (record, [each.sequence for each in events]) == (None, [1])


def test_a_log_that_lacks_events_is_not_whole(stack, log):
    log.append(RUN, [run_started()])
    put(stack, 5, count={"N": "1"}, events={"S": "[{}]"})
    _, events = log.whole(RUN)
    assert next(events).sequence == 1
    with pytest.raises(IncompleteLogError, match="from sequence 2 to 4"):
        list(events)


# ---------------------------------------------------------------- items that something else wrote

NUMBER, TEXT, BINARY, LIST = {"N": "7"}, {"S": "x"}, {"B": b"x"}, {"L": []}


def put(stack, sequence, **attributes):
    item = {"run_id": {"S": RUN}, "sequence": {"N": str(sequence)}, **attributes}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)


@pytest.mark.parametrize("deleted_at", [NUMBER, BINARY, LIST, {"NULL": True}, {"S": ""}])
def test_a_tombstone_without_a_time_is_a_tombstone_for_every_reader_and_writer(stack, log, deleted_at):
    put(stack, 0, deleted_at=deleted_at)
    uses = [log.head, log.tail, log.record, lambda run_id: log.create(run_record(run_id))]
    for use in [*uses, lambda run_id: log.append(run_id, [run_started()], expected_sequence=0)]:
        with pytest.raises(RunDeletedError, match=f"run {RUN} was deleted at an unknown time"):
            use(RUN)
    assert list(log.commits(RUN)) == list(log.events(RUN)) == []


@pytest.mark.parametrize("attribute", ["count", "events", "commit_id", "deleted_at", "x"])
@pytest.mark.parametrize("value", [NUMBER, TEXT, BINARY, LIST])
def test_a_commit_whose_attributes_are_of_any_type_is_read_refused_by_name_or_passed_over(stack, log, attribute, value):
    log.append(RUN, [run_started()])
    put(stack, 2, **{"count": {"N": "1"}, "events": {"S": "[]"}, attribute: value})
    with contextlib.suppress(MalformedEventError):
        list(log.events(RUN))
    with contextlib.suppress(MalformedEventError):
        list(log.whole(RUN)[1])
    with contextlib.suppress(RunDeletedError):
        assert log.append(RUN, [text_delta()]) > 2


def test_a_record_without_an_attribute_is_refused_by_name(stack, log):
    put(stack, 0)
    with pytest.raises(MalformedRecordError, match="`record` is neither text nor binary"):
        log.record(RUN)
    with pytest.raises(MalformedRecordError):
        log.create(run_record())


@pytest.mark.parametrize("sequence", ["12.5", "-3", "0.001", "9.9E+125", "1000000000000001"])
def test_an_item_at_no_position_is_in_nobodys_way_and_goes_with_the_run(stack, log, sequence):
    log.append(RUN, [run_started()])
    put(stack, sequence, count={"N": "1"}, events={"S": "[]"})
    assert other(log).append(RUN, [text_delta()]) == 2
    assert sequences(log) == [1, 2]
    log.delete(RUN, at(9))
    assert stack.dynamodb.scan(TableName=stack.event_table)["Items"] == items.tombstone_items(RUN, at(9))


def test_nothing_is_appended_where_nobody_would_read_it(stack, log):
    put(stack, items.LAST_POSITION, count={"N": "1"}, events={"S": "[]"})
    with pytest.raises(MalformedEventError, match="nothing can follow"):
        log.append(RUN, [text_delta()])


@pytest.mark.parametrize("attribute", ["record", "count", "events", "commit_id", "deleted_at"])
@pytest.mark.parametrize("value", [NUMBER, TEXT, BINARY, LIST])
def test_deleting_a_run_works_whatever_lies_in_its_log(stack, log, attribute, value):
    for sequence in (0, 1, 2):
        put(stack, sequence, **{attribute: value})
    log.delete(RUN, at(9))
    assert stack.dynamodb.scan(TableName=stack.event_table)["Items"] == items.tombstone_items(RUN, at(9))


def test_what_a_writer_appends_that_has_not_heard_of_the_deletion_lets_no_other_one_append(log):
    log.append(RUN, [run_started()])
    other(log).delete(RUN, at(9))
    assert log.append(RUN, [text_delta()]) == 2
    with pytest.raises(RunDeletedError):
        other(log).append(RUN, [text_delta()])
    with pytest.raises(RunDeletedError):
        log.head(RUN)


def test_what_a_log_remembers_of_its_runs_is_bounded_by_memory(log):
    largest = [f"{n:05}".ljust(255, "\U0001f680") for n in range(20_000)]
    tracemalloc.start()
    for run_id in largest:
        log._heads.put(run_id.encode().decode(), 1)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < held < module._HEADS_BYTES
