"""What reading by key and querying a run give. Part of the contract: see behaviours.py."""

from __future__ import annotations

import pytest

from tests.contract.calls import KB, commit, pages, put_commit, put_state, query, read_state, refused, sequences

# ---------------------------------------------------------------- reading by key


def test_a_key_without_item_is_answered_without_one(dynamodb):
    assert read_state(dynamodb) is None


def test_a_batch_of_keys_gives_the_items_that_are_there(dynamodb):
    there = [put_state(dynamodb, 1, run=f"{dynamodb.run}-{n}") for n in range(99)]
    keys = [{"run_id": {"S": f"{dynamodb.run}-{n}"}} for n in range(100)]
    answer = dynamodb.client.batch_get_item(RequestItems={dynamodb.state_table: {"Keys": keys, "ConsistentRead": True}})
    assert sorted(map(str, answer["Responses"][dynamodb.state_table])) == sorted(map(str, there))
    assert answer["UnprocessedKeys"] == {}


@pytest.mark.parametrize(("ids", "count"), [("same", 2), ("{}", 101)], ids=["twice the same", "101"])
def test_a_batch_with_too_many_keys_or_one_of_them_twice_is_refused(dynamodb, ids, count):
    keys = [{"run_id": {"S": ids.format(n)}} for n in range(count)]
    with refused():
        dynamodb.client.batch_get_item(RequestItems={dynamodb.state_table: {"Keys": keys}})


# ---------------------------------------------------------------- queries


def test_a_query_gives_one_run_in_order_of_sequence(dynamodb):
    for sequence in (3, 10, 1, 200, 0):
        put_commit(dynamodb, sequence)
    other = commit(f"{dynamodb.run}-other", 2)
    dynamodb.client.put_item(TableName=dynamodb.event_table, Item=other)
    assert sequences(query(dynamodb)["Items"]) == [0, 1, 3, 10, 200]
    assert sequences(query(dynamodb, ScanIndexForward=False)["Items"]) == [200, 10, 3, 1, 0]


@pytest.mark.parametrize(
    ("comparison", "found"), [("=", [3]), (">", [4, 5]), (">=", [3, 4, 5]), ("<", [1, 2]), ("<=", [1, 2, 3])]
)
def test_a_query_can_be_bounded_by_sequence(dynamodb, comparison, found):
    for sequence in range(1, 6):
        put_commit(dynamodb, sequence)
    assert sequences(query(dynamodb, comparison, 3)["Items"]) == found


def test_a_bound_may_have_38_digits(dynamodb):
    put_commit(dynamodb, 1)
    assert sequences(query(dynamodb, "<=", 10**37)["Items"]) == [1]


def test_a_query_for_a_run_that_is_not_there_gives_nothing(dynamodb):
    answer = query(dynamodb)
    assert (answer["Items"], answer["Count"], "LastEvaluatedKey" in answer) == ([], 0, False)


@pytest.mark.parametrize("forward", [True, False])
def test_pages_of_a_limit_join_to_the_whole(dynamodb, forward):
    for sequence in range(7):
        put_commit(dynamodb, sequence)
    found = [sequences(page) for page in pages(dynamodb, Limit=3, ScanIndexForward=forward)]
    whole = list(range(7)) if forward else list(range(7))[::-1]
    assert found == [whole[:3], whole[3:6], whole[6:]]


def test_a_page_that_ends_at_its_limit_says_so_even_where_nothing_is_left(dynamodb):
    put_commit(dynamodb, 0)
    put_commit(dynamodb, 1)
    with dynamodb.but(moto="looks whether something is left"):
        assert query(dynamodb, Limit=2)["LastEvaluatedKey"] == commit(dynamodb.run, 1)


def test_a_page_has_a_megabyte_at_most_and_the_pages_join_to_the_whole(dynamodb):
    for sequence in range(6):
        put_commit(dynamodb, sequence, events={"S": "x" * (300 * KB)})
    found = [sequences(page) for page in pages(dynamodb)]
    assert [each for page in found for each in page] == list(range(6))
    assert max(map(len, found)) <= 4


def test_a_page_is_measured_before_its_attributes_are_chosen(dynamodb):
    for sequence in range(6):
        put_commit(dynamodb, sequence, events={"S": "x" * (300 * KB)})
    names = {"#run": "run_id", "#sequence": "sequence"}
    assert len(pages(dynamodb, ProjectionExpression="#sequence", ExpressionAttributeNames=names)) > 1


def test_a_page_goes_on_behind_a_key_that_is_gone(dynamodb):
    for sequence in (1, 2, 4):
        put_commit(dynamodb, sequence)
    assert sequences(query(dynamodb, ExclusiveStartKey=commit(dynamodb.run, 3))["Items"]) == [4]


def test_a_query_can_choose_attributes(dynamodb):
    put_commit(dynamodb, 1, count={"N": "5"}, events={"S": "[]"})
    put_commit(dynamodb, 6)
    names = {"#run": "run_id", "#sequence": "sequence", "#count": "count"}
    found = query(dynamodb, ProjectionExpression="#sequence, #count", ExpressionAttributeNames=names)["Items"]
    assert found == [{"sequence": {"N": "1"}, "count": {"N": "5"}}, {"sequence": {"N": "6"}}]
