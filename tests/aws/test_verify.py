import pytest
from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.model.state import Guard, RunState
from behest_core.projection.catch_up import CatchUp
from behest_core.projection.verify import Difference, Kind, verify
from tests.builders import (
    RUN,
    at,
    commit,
    poison,
    raw_commit,
    record_commit,
    run_record,
    text_delta,
    usage_recorded,
    whole_run,
)


@pytest.fixture
def check(stack):
    return lambda run_id=RUN: verify(stack.store.event_log, stack.store.state_table, run_id)


@pytest.fixture
def put(stack):
    """Put commits into the log, and fold them."""

    def put(*commits):
        for each in commits:
            stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(each))
        CatchUp(stack.store.event_log, stack.store.state_table).fold(RUN)

    return put


def test_a_state_that_is_what_its_log_folds_to_is_right(check, put):
    put(record_commit(), commit(1, *whole_run()))
    verdict = check()
    assert (verdict.is_right, verdict.sequence, verdict.behind) == (True, 5, 0)


def test_a_field_that_is_not_is_named_with_both_values(stack, check, put):
    put(record_commit(), commit(1, *whole_run()))
    stack.store.state_table.save(replace(stack.store.get_state(RUN), iteration=99))
    assert (check().kind, check().differences) == (Kind.WRONG, [Difference("iteration", 99, 1)])


def test_numbers_are_compared_as_they_are_stored(check, put):
    put(record_commit(run_record(metadata={"seconds": 1.0, "atoms": 5e22})), commit(1, *whole_run()))
    assert check().is_right


def test_events_that_are_on_their_way_are_no_difference(stack, check, put):
    put(record_commit(), commit(1, *whole_run()))
    stack.store.event_log.append(RUN, [usage_recorded(), text_delta()])
    verdict = check()
    assert (verdict.is_right, verdict.behind) == (True, 2)


def test_a_state_in_the_middle_of_a_commit_is_checked_there(check, put):
    put(record_commit(), poison(1))
    verdict = check()
    assert verdict.differences == []
    assert (verdict.kind, verdict.problem) == (Kind.PARKED, "parked at sequence 2: MalformedEventError")


def test_a_run_that_is_parked_at_its_first_event_is_checked_too(check, put):
    put(raw_commit(1, 1, b'[{"type":"RunFailed"}]'))
    assert (check().kind, check().problem) == (Kind.PARKED, "parked at sequence 1: MalformedEventError")


def test_a_parked_run_with_a_wrong_field_is_wrong(stack, check, put):
    put(record_commit(), poison(1))
    stack.store.state_table.save(replace(stack.store.get_state(RUN), iteration=99))
    assert (check().kind, check().differences) == (Kind.WRONG, [Difference("iteration", 99, 0)])


def test_a_log_that_cannot_be_folded_is_named_where_its_state_is_not_parked(stack, check, put):
    put(record_commit(), commit(1, *whole_run()))
    item = items.commit_to_item(poison(1)) | {"count": {"N": "5"}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    assert "sequence 2 can't be folded" in check().problem
    assert (check().kind, check().differences) == (Kind.UNFOLDABLE, [])


def test_a_log_that_lacks_events_is_named(stack, check, put):
    put(record_commit(), commit(1, text_delta()), commit(2, text_delta()))
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "1"}})
    assert (check().kind, check().problem) == (Kind.UNFOLDABLE, "its log lacks sequence 1")
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "0"}})
    assert check().problem == "its log no longer holds all that its state was folded from"


def test_a_log_that_has_lost_only_its_record_is_named(stack, check, put):
    put(record_commit(run_record(metadata={"team": "blue"})), commit(1, text_delta()))
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "0"}})
    assert (check().kind, check().differences) == (Kind.UNFOLDABLE, [])


def test_a_log_that_has_lost_its_end_is_named(stack, check, put):
    put(record_commit(), commit(1, text_delta()), commit(2, text_delta()))
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "2"}})
    assert (check().kind, check().differences) == (Kind.DIVERGED, [])
    assert check().problem.startswith("its log ends at sequence 1, and its state at 2: one of the tables was restored?")


def test_a_log_that_holds_other_commits_than_the_state_was_folded_from_is_named(stack, check, put):
    put(record_commit(), commit(1, text_delta()), commit(2, text_delta()))
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "2"}})
    stack.store.event_log.append(RUN, [text_delta(), usage_recorded()])
    assert (check().kind, check().differences) == (Kind.DIVERGED, [])
    assert check().problem.startswith("its log holds another commit at sequence 2 than its state was folded from: ")


def test_a_run_without_state_is_named(stack, check):
    assert (check().kind, check().problem) == (Kind.UNKNOWN, "there is no such run")
    stack.store.event_log.append(RUN, whole_run())
    assert (check().kind, check().problem, check().behind) == (Kind.UNSTORED, "it has no state", 5)


def test_a_run_of_which_a_guarded_fold_has_only_begun_has_no_state(stack, check):
    stack.store.event_log.append(RUN, whole_run())
    stack.store.state_table.save(RunState(run_id=RUN, guard=Guard(owner="o", until=at(9))))
    assert (check().kind, check().behind) == (Kind.UNSTORED, 5)


def test_a_state_item_that_cannot_be_read_is_named(stack, check):
    stack.dynamodb.put_item(TableName=stack.state_table, Item={"run_id": {"S": RUN}, "iteration": {"S": "x"}})
    assert "iteration" in check().problem


def test_a_deleted_run_is_right_once_its_log_is_gone(stack, check, put):
    put(record_commit(), commit(1, text_delta()))
    stack.store.delete_run(RUN)
    assert check().is_right
    stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(commit(2, text_delta())))
    assert "delete it again" in check().problem


@pytest.mark.parametrize("operation", ["GetItem", "Query"])
def test_a_run_that_is_deleted_meanwhile_is_right(stack, check, put, requests, operation):
    put(record_commit(), commit(1, text_delta()))
    requests.before(operation, lambda: stack.store.delete_run(RUN))
    assert check().is_right


def test_a_deleted_run_whose_tombstone_is_lost_from_the_state_table_is_right(stack, check, put):
    put(record_commit(), commit(1, text_delta()))
    stack.store.delete_run(RUN)
    stack.dynamodb.delete_item(TableName=stack.state_table, Key={"run_id": {"S": RUN}})
    assert check().is_right


def test_every_run_is_listed(stack):
    for n in range(3):
        stack.store.create_run(provider="p", model="m", run_id=f"run-{n}")
    stack.store.event_log.append("without-record", whole_run())
    assert set(stack.store.event_log.run_ids()) == {"run-0", "run-1", "run-2", "without-record"}
