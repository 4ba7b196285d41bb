from datetime import UTC, datetime
from threading import Barrier

import pytest
from botocore.exceptions import ClientError

from behest_core.dynamodb import items
from behest_core.dynamodb import state_table as module
from behest_core.dynamodb.requests import side_by_side
from behest_core.dynamodb.state_table import RevisionConflictError, StateTable
from behest_core.errors import ContentionError, MalformedStateError
from behest_core.fold.rules import fold
from behest_core.model.state import RunStatus
from tests.builders import RUN, commit, model_started, record_commit, run_completed, run_record, run_started


@pytest.fixture
def table(stack):
    return stack.store.state_table


def state_of(run_id=RUN, *events, minute=0, session_id="s"):
    record = run_record(run_id, session_id=session_id, created_at=f"2026-01-31T12:{minute:02}:00Z")
    commits = [record_commit(record)] + ([commit(1, *events, run_id=run_id)] if events else [])
    return fold(None, commits).state


def test_a_saved_state_is_read_back_with_its_revision(table):
    saved = table.save(state_of(RUN, run_started()))
    assert saved.revision > 0
    assert table.get(RUN) == saved
    assert table.save(saved).revision > saved.revision


def test_a_state_that_is_not_there_is_none(table):
    assert table.get(RUN) is None
    assert table.get_many([RUN]) == {}


def test_the_second_of_two_first_saves_is_a_conflict_with_the_item_that_is_there(table):
    table.save(state_of(RUN, run_started()))
    with pytest.raises(RevisionConflictError) as caught:
        table.save(state_of(RUN))
    assert caught.value.current == table.get(RUN)
    assert table.get(RUN).status is RunStatus.SESSION_LOADED


def test_saving_over_another_revision_is_a_conflict_and_changes_nothing(table):
    first = table.save(state_of(RUN, run_started()))
    table.save(first)
    with pytest.raises(RevisionConflictError) as caught:
        table.save(first)
    assert (caught.value.run_id, caught.value.expected) == (RUN, first.revision)
    assert caught.value.actual == table.get(RUN).revision > first.revision


def test_saving_a_state_whose_item_is_gone_is_a_conflict_with_nothing(stack, table):
    saved = table.save(state_of())
    stack.dynamodb.delete_item(TableName=stack.state_table, Key={"run_id": {"S": RUN}})
    with pytest.raises(RevisionConflictError) as caught:
        table.save(saved)
    assert caught.value.current is None


def put(stack, run_id=RUN, **attributes):
    stack.dynamodb.put_item(TableName=stack.state_table, Item={"run_id": {"S": run_id}, **attributes})


def test_an_item_that_something_else_wrote_is_named_or_replaced(stack, table):
    put(stack, iteration={"S": "many"})
    with pytest.raises(MalformedStateError, match=RUN):
        table.get(RUN)
    repaired = table.get_many([RUN], repair=True)[RUN]
    assert (repaired.reducer_version, repaired.revision) == (0, 0)
    assert table.save(state_of(RUN, run_started())) == table.get(RUN)


def test_an_item_that_something_else_wrote_is_left_out_of_many_with_a_warning(stack, table, caplog):
    table.save(state_of("good", run_started()))
    table.save(state_of("bad", run_started()))
    break_item(stack, "bad", iteration={"S": "many"})
    assert table.get_many(["good", "bad"]).keys() == {"good"}
    assert [state.run_id for state in table.find()] == ["good"]
    assert {state.run_id for state in table.find(repair=True)} == {"good", "bad"}
    assert "run bad, state item: " in caplog.text


def break_item(stack, run_id, **attributes):
    item = stack.dynamodb.get_item(TableName=stack.state_table, Key={"run_id": {"S": run_id}})["Item"]
    stack.dynamodb.put_item(TableName=stack.state_table, Item=item | attributes)


REVISIONS = [
    {},
    *[{"revision": {"N": number}} for number in ("0", "1.5", "-3", "1E+40", "9.9E+125")],
    *[{"revision": each} for each in ({"S": "7"}, {"B": b"x"}, {"NULL": True}, {"BOOL": True}, {"L": []}, {"M": {}})],
    {"revision": {"NS": ["1", "2"]}},
]


@pytest.mark.parametrize("revision", REVISIONS, ids=str)
def test_an_item_whose_revision_is_none_is_replaced_by_the_next_save(stack, table, revision):
    put(stack, **revision)
    read = table.get_many([RUN], repair=True)[RUN]
    assert read.revision == 0
    state = state_of(RUN, run_started())
    assert table.save(state) == table.get(RUN)
    with pytest.raises(RevisionConflictError):
        table.save(state)


@pytest.mark.parametrize("revision", REVISIONS, ids=str)
def test_a_run_whose_revision_is_none_can_be_deleted(stack, table, revision):
    put(stack, **revision)
    table.bury(RUN, "2026-01-31T12:00:00Z")
    assert table.get(RUN).deleted_at == "2026-01-31T12:00:00Z"


def test_of_two_who_replace_an_item_whose_revision_is_none_the_second_is_told(stack, table, requests):
    put(stack, revision={"S": "seven"})
    theirs = state_of(RUN, run_started(), session_id="theirs")
    # in between the first look at what is there and the write on its condition
    requests.before("PutItem", lambda: requests.before("PutItem", lambda: table.save(theirs)))
    with pytest.raises(RevisionConflictError) as caught:
        table.save(state_of(RUN, run_started()))
    assert caught.value.current == table.get(RUN)
    assert table.get(RUN).session_id == "theirs"


def broken(stack, _):
    break_item(stack, RUN, revision={"S": "one"})


def gone(stack, _):
    stack.dynamodb.delete_item(TableName=stack.state_table, Key={"run_id": {"S": RUN}})


def of_an_earlier_time(stack, earlier):
    stack.dynamodb.put_item(TableName=stack.state_table, Item=earlier)


@pytest.mark.parametrize("befall", [broken, gone, of_an_earlier_time])
def test_no_state_is_saved_over_one_that_came_since_whatever_befell_the_item_in_between(stack, table, befall):
    """Whoever remembers one of the states before that never meets its revision again."""
    remembered = [table.save(state_of(RUN, run_started()))]
    earlier = items.state_to_item(remembered[0])
    for _ in range(4):
        remembered.append(table.save(remembered[-1]))
    for _ in range(3):
        befall(stack, earlier)
        for _ in range(6):
            remembered.append(table.save(table.get_many([RUN], repair=True).get(RUN, state_of(RUN, run_started()))))
            for state in remembered[1:-1]:
                with pytest.raises(RevisionConflictError):
                    table.save(state)
    assert len({state.revision for state in remembered}) == len(remembered)
    assert sorted(remembered, key=lambda state: state.revision) == remembered


def test_revisions_grow_also_where_a_clock_stands_still_or_goes_back(stack, table):
    hours = iter((12, 12, 11, 13))
    slow = StateTable(stack.dynamodb, table.table, now=lambda: datetime(2026, 1, 31, next(hours), tzinfo=UTC))
    state, revisions = state_of(RUN, run_started()), []
    for _ in range(4):
        state = slow.save(state)
        revisions.append(state.revision)
    noon = 1_769_860_800_000_000
    assert revisions == [noon, noon + 1, noon + 2, noon + 3_600_000_000]


def test_the_number_that_follows_on_the_greatest_that_can_be_read_is_one_that_dynamodb_holds(stack, table):
    table.save(state_of(RUN, run_started()))
    break_item(stack, RUN, revision={"N": str(10**37 - 1)})
    table.save(table.get(RUN))
    assert table.get_many([RUN], repair=True)[RUN].revision == 0
    assert table.save(state_of(RUN, run_started())).revision < 10**37


def test_a_run_that_is_saved_again_and_again_meanwhile_is_not_deleted_and_says_so(table, requests, monkeypatch):
    monkeypatch.setattr(module, "_BURY_TRIES", 3)
    table.save(state_of(RUN, run_started()))

    def save_before_the_next_put():
        requests.before("PutItem", lambda: table.save(table.get(RUN)))
        requests.before("BatchGetItem", save_before_the_next_put)

    requests.before("BatchGetItem", save_before_the_next_put)
    with pytest.raises(ContentionError, match=f"run {RUN}: another writer was first 3 times"):
        table.bury(RUN, "2026-01-31T12:00:00Z")
    assert table.get(RUN).deleted_at is None


@pytest.mark.parametrize("deleted_at", [{"N": "7"}, {"L": []}, {"B": b"x"}])
def test_a_tombstone_of_another_type_is_named_and_replaced_by_the_next_deletion(stack, table, deleted_at):
    put(stack, revision={"N": "3"}, deleted_at=deleted_at)
    with pytest.raises(MalformedStateError):
        table.get(RUN)
    table.bury(RUN, "2026-01-31T12:00:00Z")
    assert table.get(RUN).deleted_at == "2026-01-31T12:00:00Z"
    assert table.get(RUN).revision > 3


def test_many_states_are_read_100_in_a_request(table, requests):
    for n in range(101):
        table.save(state_of(f"run-{n}"))
    requests.made.clear()
    assert len(table.get_many([f"run-{n}" for n in range(101)] * 2)) == 101
    assert [name for name, _ in requests.made] == ["BatchGetItem", "BatchGetItem"]


def half_read(client, times):
    """Let BatchGetItem leave all but one key unread for so many requests."""
    call = client._make_api_call

    def make(operation, params):
        nonlocal times
        if operation != "BatchGetItem" or times == 0:
            return call(operation, params)
        times -= 1
        [(name, request)] = params["RequestItems"].items()
        first, unread = request["Keys"][:1], request["Keys"][1:]
        answer = call(operation, {"RequestItems": {name: request | {"Keys": first}}})
        if unread:
            answer["UnprocessedKeys"] = {name: request | {"Keys": unread}}
        return answer

    client._make_api_call = make


def test_keys_that_dynamodb_leaves_unread_are_asked_for_again_more_slowly(stack, table):
    pauses = []
    patient = StateTable(stack.dynamodb, table.table, sleep=pauses.append)
    for n in range(5):
        table.save(state_of(f"run-{n}"))
    half_read(stack.dynamodb, times=3)
    assert len(patient.get_many(f"run-{n}" for n in range(5))) == 5
    assert pauses == sorted(pauses) and len(pauses) == 3  # noqa: PT018 (one thought)


def test_keys_that_stay_unread_are_an_error_and_never_a_missing_state(stack, table):
    patient = StateTable(stack.dynamodb, table.table, sleep=lambda _: None)
    for n in range(20):
        table.save(state_of(f"run-{n}"))
    half_read(stack.dynamodb, times=100)
    with pytest.raises(ClientError, match="left unread"):
        patient.get_many(f"run-{n}" for n in range(20))


# ---------------------------------------------------------------- queries


@pytest.fixture
def runs(table):
    """Twelve runs of two sessions; every third is completed."""
    for n in range(12):
        events = [run_started(), model_started()] + ([run_completed()] if n % 3 == 0 else [])
        table.save(state_of(f"run-{n:02}", *events, minute=n, session_id=f"s-{n % 2}"))
    return table


def ids(states):
    return [int(state.run_id.removeprefix("run-")) for state in states]


def test_runs_are_found_newest_first(runs):
    assert ids(runs.find()) == list(range(11, -1, -1))


def test_runs_of_a_session(runs):
    assert ids(runs.find(session_id="s-1")) == [11, 9, 7, 5, 3, 1]
    assert ids(runs.find(session_id="none")) == []


def test_runs_of_a_status_over_all_shards(runs):
    assert ids(runs.find(status=RunStatus.COMPLETED)) == [9, 6, 3, 0]
    assert ids(runs.find(status=RunStatus.FAILED)) == []


def test_runs_of_a_session_and_a_status(runs):
    assert ids(runs.find(session_id="s-1", status=RunStatus.COMPLETED, limit=5)) == [9, 3]


@pytest.mark.parametrize("limit", [0, 1, 5, 12, 99])
@pytest.mark.parametrize("narrow", [{}, {"session_id": "s-0"}, {"status": RunStatus.CALLING_MODEL}])
def test_a_limit_cuts_the_same_runs_off(runs, narrow, limit):
    assert ids(runs.find(**narrow, limit=limit)) == ids(runs.find(**narrow))[:limit]


def test_runs_of_a_time(runs):
    since, until = datetime(2026, 1, 31, 12, 3, tzinfo=UTC), "2026-01-31T14:05:00+02:00"
    assert ids(runs.find(since=since, until=until)) == [5, 4, 3]
    assert ids(runs.find(session_id="s-1", since=since, until=until)) == [5, 3]


def test_a_time_span_that_ends_before_it_begins_has_no_runs(runs, requests):
    assert ids(runs.find(since="2026-02-01T00:00:00Z", until="2026-01-01T00:00:00Z")) == []
    assert requests.made == []


def test_a_time_without_zone_is_refused(runs):
    with pytest.raises(ValueError, match="time zone"):
        list(runs.find(since=datetime(2026, 1, 31)))  # noqa: DTZ001 (that is the point)


def test_a_run_that_has_moved_on_since_its_index_entry_is_left_out(runs, requests):
    moved = runs.get("run-09")
    moved.status = RunStatus.FAILED
    requests.before("BatchGetItem", lambda: runs.save(moved))
    assert ids(runs.find(status=RunStatus.COMPLETED)) == [6, 3, 0]


def test_the_shards_of_a_status_are_asked_side_by_side(runs, monkeypatch):
    """All eight meet before one is answered: one after the other, the first would wait for ever."""
    meet, ask = Barrier(8, timeout=30), runs._client.query

    def query(**request):
        meet.wait()
        return ask(**request)

    monkeypatch.setattr(runs._client, "query", query)
    together = StateTable(runs._client, runs.table, spread=side_by_side)
    assert ids(together.find(status=RunStatus.COMPLETED)) == [9, 6, 3, 0]


def test_pages_are_followed(stack, runs, requests):
    limit = stack.dynamodb._make_api_call

    def small_pages(operation, params):
        return limit(operation, params | ({"Limit": 2} if operation == "Query" else {}))

    stack.dynamodb._make_api_call = small_pages
    assert ids(runs.find(session_id="s-0")) == [10, 8, 6, 4, 2, 0]
    assert len(requests.named("Query")) > 2


# ---------------------------------------------------------------- every run


def test_every_run_that_has_an_item_is_listed_even_one_that_cannot_be_read_and_one_that_was_deleted(stack, table):
    table.save(state_of("good"))
    stack.dynamodb.put_item(TableName=stack.state_table, Item={"run_id": {"S": "broken"}, "iteration": {"S": "x"}})
    table.bury("deleted", "2026-01-31T12:00:00Z")
    assert set(table.run_ids()) == {"good", "broken", "deleted"}


def test_runs_are_listed_by_the_time_they_were_created_and_not_read(stack, table):
    for n in range(4):
        table.save(state_of(f"run-{n}", minute=n))
    stack.dynamodb.update_item(
        TableName=stack.state_table,
        Key={"run_id": {"S": "run-3"}},
        UpdateExpression="SET iteration = :x",
        ExpressionAttributeValues={":x": {"S": "x"}},
    )
    assert list(table.run_ids(since="2026-01-31T12:02:00Z")) == ["run-3", "run-2"]
