"""Which writes win. Part of the contract: see behaviours.py."""

from __future__ import annotations

from tests.contract.calls import (
    append,
    commit,
    conflict,
    put_commit,
    put_state,
    query,
    read_state,
    save,
    sequences,
    state,
)


def test_of_two_appends_at_one_position_the_first_wins(dynamodb):
    first = commit(dynamodb.run, 1, commit_id={"S": "first"})
    append(dynamodb, first)
    with conflict():
        append(dynamodb, commit(dynamodb.run, 1, commit_id={"S": "second"}))
    assert query(dynamodb)["Items"] == [first]


def test_a_failed_condition_returns_the_item_that_is_there_when_asked_to(dynamodb):
    first = commit(dynamodb.run, 1, commit_id={"S": "first"}, events={"B": b"\x00"})
    append(dynamodb, first)
    with conflict() as told:
        append(dynamodb, first, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert told.value.response["Item"] == first


def test_a_failed_condition_returns_no_item_when_not_asked_to(dynamodb):
    append(dynamodb, commit(dynamodb.run, 1))
    with conflict() as told:
        append(dynamodb, commit(dynamodb.run, 1))
    assert "Item" not in told.value.response


def test_a_failed_condition_returns_no_item_where_there_is_none(dynamodb):
    with conflict() as told:
        save(dynamodb, state(dynamodb.run, 6), read="5")
    assert not told.value.response.get("Item")


def test_a_save_wins_where_the_revision_is_the_one_that_was_read(dynamodb):
    save(dynamodb, state(dynamodb.run, 1), read=None)
    save(dynamodb, state(dynamodb.run, 2), read="1")
    assert read_state(dynamodb) == state(dynamodb.run, 2)


def test_a_save_fails_where_the_revision_is_another_and_changes_nothing(dynamodb):
    there = put_state(dynamodb, 7, status={"S": "Completed"})
    with conflict() as told:
        save(dynamodb, state(dynamodb.run, 7), read="6")
    assert told.value.response["Item"] == there
    assert read_state(dynamodb) == there


def test_a_first_save_fails_where_there_is_a_revision(dynamodb):
    put_state(dynamodb, 1)
    with conflict():
        save(dynamodb, state(dynamodb.run, 1), read=None)


def test_a_first_save_wins_over_an_item_without_revision(dynamodb):
    put_state(dynamodb, None, status={"S": "x"})
    save(dynamodb, state(dynamodb.run, 1), read=None)
    assert read_state(dynamodb) == state(dynamodb.run, 1)


def test_numbers_of_a_condition_are_compared_by_value(dynamodb):
    put_state(dynamodb, 1)
    save(dynamodb, state(dynamodb.run, 2), read="1.0")
    assert read_state(dynamodb) == state(dynamodb.run, 2)


def test_a_delete_leaves_no_item_and_can_be_repeated(dynamodb):
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 2)
    for _ in range(2):
        dynamodb.client.delete_item(TableName=dynamodb.event_table, Key=commit(dynamodb.run, 1))
    assert sequences(query(dynamodb)["Items"]) == [2]
    append(dynamodb, commit(dynamodb.run, 1))
