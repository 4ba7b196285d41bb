"""What indexes, scans and expressions give, and what is refused. Part of the contract: see behaviours.py."""

from __future__ import annotations

import pytest

from tests.contract.calls import find_in_session, put_in_session, put_state, query, refused, scanned

# ---------------------------------------------------------------- indexes


def test_an_index_gives_the_keys_of_its_items_in_order(dynamodb):
    for created_at in ("2026-03", "2026-01", "2026-02"):
        put_in_session(dynamodb, created_at, created_at)
    put_state(dynamodb, 1, session_id={"S": dynamodb.run})  # it has no created_at, so it is in no such index
    found = find_in_session(dynamodb, ScanIndexForward=False)["Items"]
    assert [item["created_at"]["S"] for item in found] == ["2026-03", "2026-02", "2026-01"]
    assert {frozenset(item) for item in found} == {frozenset({"run_id", "session_id", "created_at"})}


def test_an_index_can_be_bounded_on_both_sides(dynamodb):
    for created_at in ("2026-01", "2026-02", "2026-03", "2026-04"):
        put_in_session(dynamodb, created_at, created_at)
    found = find_in_session(dynamodb, "2026-02", "2026-03")["Items"]
    assert [item["created_at"]["S"] for item in found] == ["2026-02", "2026-03"]


def test_an_index_follows_a_write_that_moves_or_removes_its_item(dynamodb):
    put_in_session(dynamodb, "a", "2026-01")
    put_in_session(dynamodb, "a", "2026-02", revision=2)
    assert [item["created_at"]["S"] for item in find_in_session(dynamodb)["Items"]] == ["2026-02"]
    put_state(dynamodb, 3, run=f"{dynamodb.run}-a")
    assert find_in_session(dynamodb)["Items"] == []


def test_pages_of_an_index_join_to_the_whole_where_sort_keys_are_equal(dynamodb):
    for name in range(5):
        put_in_session(dynamodb, name, "2026-01")
    found, more = [], {}
    while True:
        answer = find_in_session(dynamodb, Limit=2, **more)
        found += [item["run_id"]["S"] for item in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            break
        more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    assert sorted(found) == [f"{dynamodb.run}-{name}" for name in range(5)]


def test_an_index_cannot_be_read_consistently(dynamodb):
    with refused():
        find_in_session(dynamodb, ConsistentRead=True)


def test_an_index_that_is_not_there_is_refused(dynamodb):
    with dynamodb.but(moto="names another error"), refused():
        dynamodb.client.query(
            TableName=dynamodb.state_table,
            IndexName="by_nothing",
            KeyConditionExpression="run_id = :run",
            ExpressionAttributeValues={":run": {"S": dynamodb.run}},
        )


# ---------------------------------------------------------------- scans


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_of_a_scan_join_to_the_whole(dynamodb, limit):
    for name in range(5):
        put_state(dynamodb, 1, run=f"{dynamodb.run}-{name}")
    found = scanned(dynamodb, dynamodb.run, TableName=dynamodb.state_table, ProjectionExpression="run_id", Limit=limit)
    assert found == [f"{dynamodb.run}-{name}" for name in range(5)]


def test_a_scan_of_an_index_gives_what_has_its_keys(dynamodb):
    for name in range(3):
        put_in_session(dynamodb, name, "2026-01")
    put_state(dynamodb, 1, run=f"{dynamodb.run}-x")
    found = scanned(dynamodb, dynamodb.run, TableName=dynamodb.state_table, IndexName="by_session", Limit=2)
    assert found == [f"{dynamodb.run}-{name}" for name in range(3)]


# ---------------------------------------------------------------- expressions


def test_a_reserved_word_must_not_stand_for_itself(dynamodb):
    with dynamodb.but(ministack="takes reserved words in projections"), refused():
        query(dynamodb, ProjectionExpression="count")


def test_a_placeholder_that_is_not_defined_is_refused(dynamodb):
    with dynamodb.but(moto="ignores those of projections"), refused():
        query(dynamodb, ProjectionExpression="#nothing")


def test_a_placeholder_that_is_not_used_is_refused(dynamodb):
    names = {"#run": "run_id", "#sequence": "sequence", "#count": "count"}
    with refused():
        query(dynamodb, ExpressionAttributeNames=names)
