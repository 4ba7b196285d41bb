"""Resuming, folding again, guarded folds, and deleting: what is done to a run whatever the stream brings."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.errors import LogTruncatedError, RunDeletedError, RunNotFoundError
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.model.state import RunStatus
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.projector import Projector
from tests.aws.test_projector import LOG, raiser, throttled
from tests.builders import (
    RUN,
    at,
    commit,
    deploy_reducer,
    poison,
    record_commit,
    run_completed,
    run_record,
    text_delta,
    usage_recorded,
)

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def projector(stack):
    return Projector(stack.store.event_log, stack.store.state_table, now=lambda: NOW)


@pytest.fixture
def catch_up(stack):
    return CatchUp(stack.store.event_log, stack.store.state_table, now=lambda: NOW)


def mend(stack, sequence):
    """Put a good commit of three in the place of the poison."""
    mended = commit(sequence, usage_recorded(), usage_recorded(), run_completed())
    stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(mended))


# ---------------------------------------------------------------- catching up


def test_catching_up_folds_what_no_record_brought(catch_up, put, stack):
    put(*LOG)
    work = catch_up.fold(RUN)
    assert (work.events, work.saves, work.is_finished) == (5, 1, True)
    assert stack.store.get_state(RUN).status is RunStatus.COMPLETED
    assert catch_up.fold(RUN).saves == 0


def test_catching_up_with_a_run_that_is_not_there_does_nothing(catch_up, stack):
    assert catch_up.fold("nowhere").saves == 0
    assert stack.store.state_table.get("nowhere") is None


@pytest.mark.parametrize("operation", ["BatchGetItem", "Query", "PutItem"])
def test_catching_up_reports_trouble_with_aws(catch_up, put, requests, operation):
    put(*LOG)
    requests.before(operation, raiser(throttled(operation)))
    assert not catch_up.fold(RUN).is_finished
    assert catch_up.fold(RUN).is_finished


def test_catching_up_that_meets_another_writer_decides_again(catch_up, put, stack, requests):
    put(*LOG)
    requests.before("PutItem", lambda: CatchUp(stack.store.event_log, stack.store.state_table).fold(RUN))
    work = catch_up.fold(RUN)
    assert (work.conflicts, work.saves) == (1, 0)
    assert stack.store.get_state(RUN).total_usage.input_tokens == 10


# ---------------------------------------------------------------- resuming


def test_a_parked_run_goes_on_once_it_is_resumed_and_its_log_mended(projector, put, stack, catch_up):
    projector.project(put(*LOG, poison(6), commit(9, text_delta())))
    mend(stack, 6)
    assert catch_up.fold(RUN).saves == 0
    assert catch_up.fold(RUN, Fold.RESUME).events == 3
    state = stack.store.get_state(RUN)
    assert (state.sequence, state.parked, state.total_usage.input_tokens) == (9, None, 20)


def test_resuming_what_still_cannot_be_folded_keeps_every_attempt_up_to_five(projector, put, stack, catch_up):
    projector.project(put(*LOG, poison(6)))
    for _ in range(6):
        catch_up.fold(RUN, Fold.RESUME)
    parked = stack.store.get_state(RUN).parked
    assert (parked.attempts, len(parked.earlier), parked.sequence) == (7, 4, 7)
    assert {each.error for each in parked.earlier} == {"MalformedEventError"}
    assert parked.parked_at == parked.at == "2026-02-01T00:00:00.000000Z"
    assert stack.store.get_state(RUN).total_usage.input_tokens == 10


def test_resuming_a_run_that_is_not_parked_changes_nothing(projector, put, stack, catch_up):
    projector.project(put(*LOG))
    before = stack.store.get_state(RUN)
    assert catch_up.fold(RUN, Fold.RESUME).saves == 0
    assert stack.store.get_state(RUN) == before


def test_a_resume_that_meets_another_writer_counts_nothing_twice(projector, put, stack, requests, catch_up):
    projector.project(put(*LOG, poison(6)))
    mend(stack, 6)
    requests.before("PutItem", lambda: CatchUp(stack.store.event_log, stack.store.state_table).fold(RUN, Fold.RESUME))
    catch_up.fold(RUN, Fold.RESUME)
    assert stack.store.get_state(RUN).total_usage.input_tokens == 20


def test_parked_runs_are_found_the_latest_first(stack, put):
    for n in range(3):
        run = f"run-{n}"
        moment = datetime(2026, 2, 1 + n, tzinfo=UTC)
        Projector(stack.store.event_log, stack.store.state_table, now=lambda moment=moment: moment).project(
            put(poison(1, run_id=run))
        )
    assert [state.run_id for state in stack.store.parked_states()] == ["run-2", "run-1", "run-0"]
    assert [state.run_id for state in stack.store.parked_states(limit=1)] == ["run-2"]
    stack.store.delete_run("run-1")
    assert [state.run_id for state in stack.store.parked_states()] == ["run-2", "run-0"]


# ---------------------------------------------------------------- another version


def test_a_reducer_of_another_version_folds_a_run_again_when_it_next_moves(put, projector, stack, monkeypatch):
    projector.project(put(*LOG))
    deploy_reducer(monkeypatch, REDUCER_VERSION + 1)
    projector.project(put(commit(6, usage_recorded())))
    state = stack.store.get_state(RUN)
    assert (state.reducer_version, state.total_usage.input_tokens) == (REDUCER_VERSION + 1, 20)


def test_a_reducer_of_another_version_tries_a_parked_run_when_it_next_moves(put, projector, stack, monkeypatch):
    projector.project(put(*LOG, poison(6)))
    deploy_reducer(monkeypatch, REDUCER_VERSION + 1)
    projector.project(put(commit(9, text_delta())))
    parked = stack.store.get_state(RUN).parked
    versions = [REDUCER_VERSION + 1, REDUCER_VERSION]
    assert ([parked.version, parked.earlier[0].version], parked.attempts) == (versions, 2)


# ---------------------------------------------------------------- folding again


def test_folding_again_mends_a_wrong_state(projector, put, stack, catch_up):
    projector.project(put(*LOG))
    state = stack.store.get_state(RUN)
    stack.store.state_table.save(replace(state, iteration=99))
    assert catch_up.fold(RUN, Fold.AGAIN).saves == 1
    assert stack.store.get_state(RUN) == replace(state, revision=stack.store.get_state(RUN).revision)


def test_folding_again_writes_nothing_where_the_state_is_right(projector, put, catch_up):
    projector.project(put(*LOG))
    assert catch_up.fold(RUN, Fold.AGAIN).saves == 0


def test_folding_again_writes_nothing_for_a_number_that_came_back_whole(projector, put, catch_up):
    projector.project(put(record_commit(run_record(metadata={"far": 5e22})), *LOG[1:]))
    assert catch_up.fold(RUN, Fold.AGAIN).saves == 0


def test_folding_again_refuses_where_the_log_no_longer_begins_at_1(projector, put, stack, catch_up):
    projector.project(put(*LOG))
    before = stack.store.get_state(RUN)
    for sequence in ("0", "1"):
        key = {"run_id": {"S": RUN}, "sequence": {"N": sequence}}
        stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)
    with pytest.raises(LogTruncatedError, match="from 1 to 5"):
        catch_up.fold(RUN, Fold.AGAIN)
    assert stack.store.get_state(RUN) == before


def test_a_run_whose_old_events_have_expired_still_moves_on(projector, put, stack, monkeypatch):
    projector.project(put(*LOG))
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "1"}})
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "0"}})
    deploy_reducer(monkeypatch, REDUCER_VERSION + 1)
    projector.project(put(commit(6, usage_recorded())))
    state = stack.store.get_state(RUN)
    assert (state.total_usage.input_tokens, state.sequence, state.reducer_version) == (20, 6, REDUCER_VERSION)


def test_folding_again_that_runs_out_of_time_leaves_the_state_as_it_is(projector, put, stack, catch_up):
    projector.project(put(*LOG))
    before = stack.store.get_state(RUN)
    left = iter([60, 60, 1])
    assert not catch_up.fold(RUN, Fold.AGAIN, remaining=lambda: next(left)).is_finished
    assert stack.store.get_state(RUN) == before


# ---------------------------------------------------------------- guarded


class Killed(BaseException):
    """Stands in for a process that runs out of memory."""


@pytest.fixture
def process(stack):
    """Make another process, which folds so many hours after NOW."""
    tables = stack.store.event_log, stack.store.state_table
    return lambda hour=0: CatchUp(*tables, now=lambda: NOW + timedelta(hours=hour))


def test_a_run_that_kills_whoever_folds_it_is_parked_after_three_guarded_folds(catch_up, process, put, stack, requests):
    put(*LOG)
    for hour in range(3):
        requests.after("PutItem", raiser(Killed()))
        with pytest.raises(Killed):
            process(hour).fold(RUN, guarded=True)
    work = process(3).fold(RUN, guarded=True)
    assert [(each.kind, each.error) for each in work.troubles] == [("parked", "ProcessKilled")]
    assert stack.store.state_table.get(RUN).parked.sequence == 1
    assert catch_up.fold(RUN, guarded=True).saves == 0
    catch_up.fold(RUN, Fold.RESUME)
    assert stack.store.get_state(RUN).status is RunStatus.COMPLETED


def test_a_guarded_fold_that_comes_back_leaves_no_trace(projector, put, stack, catch_up):
    projector.project(put(*LOG[:2]))
    put(*LOG[2:])
    assert catch_up.fold(RUN, guarded=True).saves == 2
    assert "guard" not in items.state_to_item(stack.store.get_state(RUN))


def test_a_guarded_fold_that_finds_nothing_to_do_writes_nothing(projector, put, catch_up):
    projector.project(put(*LOG))
    assert catch_up.fold(RUN, guarded=True).saves == 0


def test_while_a_guarded_fold_may_be_under_way_no_other_process_begins_one(process, put, stack, requests):
    put(*LOG)
    requests.after("PutItem", raiser(Killed()))
    with pytest.raises(Killed):
        process().fold(RUN, guarded=True, remaining=lambda: 60.0)
    work = process().fold(RUN, guarded=True)
    assert (work.is_finished, work.saves, work.troubles[0].error) == (False, 0, "Guarded")
    assert process(1).fold(RUN, guarded=True).is_finished


def test_folds_of_one_run_by_many_processes_at_once_are_no_deaths(process, put, stack, requests):
    put(*LOG)
    requests.after("PutItem", lambda: [process().fold(RUN, guarded=True) for _ in range(10)])
    assert process().fold(RUN, guarded=True).is_finished
    assert (stack.store.get_state(RUN).parked, stack.store.get_state(RUN).event_count) == (None, 5)


def test_a_fold_that_came_back_unfinished_is_no_death_and_those_before_it_still_are(process, put, stack, requests):
    put(*LOG)
    for hour in range(2):
        requests.after("PutItem", raiser(Killed()))
        with pytest.raises(Killed):
            process(hour).fold(RUN, guarded=True)
    for hour in (2, 3):
        left = iter([60.0, 60.0, 0.0])
        assert not process(hour).fold(RUN, guarded=True, remaining=lambda left=left: next(left, 0.0)).is_finished
        assert stack.store.state_table.get(RUN).guard.deaths == 1
    requests.after("PutItem", raiser(Killed()))
    with pytest.raises(Killed):
        process(4).fold(RUN, guarded=True)
    assert process(5).fold(RUN, guarded=True).troubles[0].error == "ProcessKilled"


def test_a_run_of_which_only_a_guarded_fold_has_begun_has_no_state_yet(catch_up, put, stack, requests):
    put(*LOG)
    requests.after("PutItem", raiser(Killed()))
    with pytest.raises(Killed):
        catch_up.fold(RUN, guarded=True)
    with pytest.raises(RunNotFoundError):
        stack.store.get_state(RUN)
    assert stack.store.get_states([RUN]) == {}


def test_a_guarded_fold_that_meets_another_writer_goes_on_from_there(catch_up, put, stack, requests):
    put(*LOG)
    requests.before("PutItem", lambda: CatchUp(stack.store.event_log, stack.store.state_table).fold(RUN))
    assert catch_up.fold(RUN, guarded=True).is_finished
    assert stack.store.get_state(RUN).event_count == 5


# ---------------------------------------------------------------- what something else wrote


@pytest.mark.parametrize("how", Fold)
@pytest.mark.parametrize("of_slice", [True, False])
def test_a_run_of_which_something_else_says_that_it_is_parked_but_not_since_when_is_folded_again(
    stack, put, catch_up, how, of_slice
):
    put(*LOG)
    catch_up.fold(RUN)
    right = stack.store.get_state(RUN)
    key = {"run_id": {"S": RUN}}
    item = stack.dynamodb.get_item(TableName=stack.state_table, Key=key)["Item"]
    parked = {"sequence": {"N": "5"}, "error": {"S": "E"}, "message": {"S": "m"}, "version": {"N": "1"}}
    parked |= {"at": {"S": ""}, "parked_at": {"S": ""}}
    piece = {"state": {"M": {}}, "sequence": {"N": "4"}, "version": {"N": "1"}, "parked": {"M": parked}}
    item |= {"extensions": {"M": {"gone": {"M": piece}}}} if of_slice else {"parked": {"M": parked}}
    stack.dynamodb.put_item(TableName=stack.state_table, Item=item)
    work = catch_up.fold(RUN, how)
    assert (work.is_finished, work.troubles) == (True, [])
    assert stack.store.get_state(RUN) == replace(right, revision=stack.store.get_state(RUN).revision)


# ---------------------------------------------------------------- deleting


def test_a_deleted_run_is_gone_from_both_tables_but_for_its_tombstones(stack, put, projector):
    projector.project(put(*LOG))
    stack.store.delete_run(RUN)
    for missing in (stack.store.get_record, stack.store.get_state):
        with pytest.raises(RunDeletedError):
            missing(RUN)
    assert list(stack.store.events(RUN)) == []
    assert stack.store.get_states([RUN]) == {}
    assert list(stack.store.states()) == []
    left = stack.dynamodb.scan(TableName=stack.event_table)["Items"]
    assert left == items.tombstone_items(RUN, left[0]["deleted_at"]["S"])
    [left] = stack.dynamodb.scan(TableName=stack.state_table)["Items"]
    assert left.keys() == {"run_id", "revision", "deleted_at"}


def test_a_late_record_does_not_bring_a_deleted_run_back(stack, put, projector, catch_up):
    records = put(*LOG)
    projector.project(records[:2])
    stack.store.delete_run(RUN)
    for late in (projector, Projector(stack.store.event_log, stack.store.state_table)):
        report = late.project(records[2:])
        assert (report.saves, report.troubles, report.first_unfinished) == (0, [], None)
    assert catch_up.fold(RUN, Fold.AGAIN).saves == 0
    assert stack.store.state_table.get(RUN).deleted_at


def test_a_save_that_the_deletion_overtakes_does_not_bring_the_run_back(stack, put, projector, requests):
    records = put(*LOG)
    requests.before("PutItem", lambda: stack.store.delete_run(RUN))
    projector.project(records)
    assert stack.store.state_table.get(RUN).deleted_at


def test_a_deletion_that_a_save_overtakes_deletes_all_the_same(stack, put, projector, requests):
    records = put(*LOG)
    requests.before("PutItem", lambda: projector.project(records))
    stack.store.delete_run(RUN)
    assert stack.store.state_table.get(RUN).deleted_at


def test_deleting_again_finishes_what_was_cut_short(stack, put, projector, requests):
    projector.project(put(*LOG))
    requests.before("DeleteItem", raiser(throttled("DeleteItem")))
    with pytest.raises(Exception, match="slow down"):
        stack.store.delete_run(RUN)
    stack.store.delete_run(RUN)
    assert list(stack.store.event_log.commits(RUN)) == []


def test_a_deleted_run_takes_no_new_record_and_no_new_writer(stack, put):
    put(*LOG)
    stack.store.delete_run(RUN)
    with pytest.raises(RunDeletedError):
        stack.store.create_run(provider="p", model="m", run_id=RUN)
    with pytest.raises(RunDeletedError):
        stack.store.append(RUN, [text_delta()])


def test_deleting_a_run_that_is_not_there_says_so(stack):
    with pytest.raises(RunNotFoundError):
        stack.store.delete_run("nowhere")


def test_the_removals_of_a_deleted_run_are_no_tampering(stack, put):
    put(record_commit(), commit(1, text_delta(second=1)))
    stack.deliver()
    stack.store.delete_run(RUN)
    stack.deliver()
    assert "tampered" not in "".join(stack.output.lines)
    assert stack.failures == []


def test_removals_that_cannot_be_judged_now_are_delivered_again(projector, put, requests):
    [record, *_] = put(*LOG)
    removed = {"eventName": "REMOVE", "dynamodb": record["dynamodb"]}
    requests.before("BatchGetItem", raiser(throttled("BatchGetItem")))
    assert projector.project([removed]).first_unfinished == record["dynamodb"]["SequenceNumber"]
    assert [each.kind for each in projector.project([removed]).troubles] == ["tampered"]


def test_waiting_for_a_deleted_run_does_not_wait(stack, put):
    put(*LOG)
    stack.store.delete_run(RUN)
    with pytest.raises(RunDeletedError):
        stack.store.wait(RUN, 9)


def test_times_of_parking_are_the_clocks(projector, put, stack):
    projector.project(put(poison(1)))
    assert stack.store.state_table.get(RUN).parked.at == "2026-02-01T00:00:00.000000Z"
    assert at(7) == stack.store.state_table.get(RUN).updated_at
