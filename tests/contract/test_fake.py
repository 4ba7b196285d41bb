"""What the fake does beyond the contract: it refuses what it doesn't know, and is as late and as busy as it is told to be."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from behest_core.testing import Template
from tests.contract.fake import FakeDynamoDB, UnsupportedRequestError

TABLES = Template().tables()
EVENTS, STATES = TABLES["EventTable"], TABLES["StateTable"]


class Records:
    """Keeps the records of a table's stream."""

    def __init__(self):
        self.kept = []

    def append(self, _keys, _new_image=None, **more):
        self.kept.append(more)


def put(client, run="run", **attributes):
    client.put_item(TableName=STATES.name, Item={"run_id": {"S": run}} | attributes)


@pytest.mark.parametrize(
    "request_",
    [
        {"Item": {"run_id": {"S": "run"}}, "ReturnValues": "ALL_OLD"},
        {"Item": {"run_id": {"S": "run"}}, "ConditionExpression": "size(run_id) > :n"},
        {"Item": {"run_id": {"S": "run"}}, "ConditionExpression": "a.b = :n"},
        {"Item": {"run_id": {"S": "run"}, "set": {"SS": ["a"]}}},
    ],
    ids=["parameter", "function", "path", "type"],
)
def test_what_behest_does_not_do_is_refused_loudly(request_):
    with pytest.raises(UnsupportedRequestError):
        FakeDynamoDB([STATES.create]).put_item(TableName=STATES.name, **request_)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("attribute_exists(a) AND a = :one", True),
        ("a = :two OR a = :one AND NOT a <> :one", True),
        ("NOT (a = :one OR a = :two)", False),
        ("a BETWEEN :one AND :two", True),
        ("b = :one OR a < :one", False),
        ("b <> :one", True),
    ],
)
def test_conditions_are_evaluated_as_they_are_written(condition, holds):
    client = FakeDynamoDB([STATES.create])
    put(client, a={"N": "1"})
    values = {name: {"N": number} for name, number in ((":one", "1"), (":two", "2")) if name in condition}
    request = {"ConditionExpression": condition} | ({"ExpressionAttributeValues": values} if values else {})
    try:
        client.delete_item(TableName=STATES.name, Key={"run_id": {"S": "run"}}, **request)
    except ClientError:
        assert not holds
    else:
        assert holds


def test_an_index_follows_its_table_as_late_as_it_is_told_to():
    now = 0.0
    client = FakeDynamoDB([STATES.create], clock=lambda: now, lag=lambda: 5.0)
    put(client, session_id={"S": "s"}, created_at={"S": "2026"})

    def found():
        values = {":session": {"S": "s"}}
        request = {"KeyConditionExpression": "session_id = :session", "ExpressionAttributeValues": values}
        return client.query(TableName=STATES.name, IndexName="by_session", **request)["Count"]

    assert found() == 0
    now = 5.0
    assert found() == 1


def test_a_busy_table_leaves_keys_unprocessed():
    client = FakeDynamoDB([STATES.create], served=lambda keys: keys - 1)
    put(client, "one")
    put(client, "other")
    keys = [{"run_id": {"S": run}} for run in ("one", "other")]
    answer = client.batch_get_item(RequestItems={STATES.name: {"Keys": keys, "ConsistentRead": True}})
    assert [item["run_id"]["S"] for item in answer["Responses"][STATES.name]] == ["one"]
    assert answer["UnprocessedKeys"] == {STATES.name: {"Keys": keys[1:], "ConsistentRead": True}}


def commits(client, **more):
    values = {":run": {"S": "run"}}
    request = {"KeyConditionExpression": "run_id = :run", "ExpressionAttributeValues": values, **more}
    answer = client.query(TableName=EVENTS.name, **request)
    return [int(item["sequence"]["N"]) for item in answer["Items"]], "LastEvaluatedKey" in answer


def put_commits(client, *sequences):
    for sequence in sequences:
        client.put_item(TableName=EVENTS.name, Item={"run_id": {"S": "run"}, "sequence": {"N": str(sequence)}})


def test_a_query_that_is_not_consistent_misses_what_was_written_lately():
    now = 0.0
    client = FakeDynamoDB([EVENTS.create], clock=lambda: now, stale=lambda: 5.0)
    put_commits(client, 0, 1)
    now = 3.0
    client.delete_item(TableName=EVENTS.name, Key={"run_id": {"S": "run"}, "sequence": {"N": "0"}})
    put_commits(client, 2)
    now = 5.0
    assert commits(client) == ([0, 1], False)
    assert commits(client, ConsistentRead=True) == ([1, 2], False)
    now = 8.0
    assert commits(client) == ([1, 2], False)


def test_reads_by_key_that_are_not_consistent_give_what_an_item_was():
    now = 0.0
    client = FakeDynamoDB([STATES.create], clock=lambda: now, stale=lambda: 5.0)
    put(client, a={"N": "1"})
    now = 9.0
    put(client, a={"N": "2"})
    key = {"run_id": {"S": "run"}}

    def found(**consistent):
        one = client.get_item(TableName=STATES.name, Key=key, **consistent)["Item"]
        [other] = client.batch_get_item(RequestItems={STATES.name: {"Keys": [key], **consistent}})["Responses"][
            STATES.name
        ]
        return one["a"]["N"], other["a"]["N"]

    assert found() == ("1", "1")
    assert found(ConsistentRead=True) == ("2", "2")


def test_a_page_can_be_cut_short_before_its_limit():
    client = FakeDynamoDB([EVENTS.create], fitting=lambda items: min(items, 2))
    put_commits(client, 0, 1, 2)
    assert commits(client) == ([0, 1], True)
    start = {"run_id": {"S": "run"}, "sequence": {"N": "1"}}
    assert commits(client, ExclusiveStartKey=start) == ([2], False)


def test_what_is_restored_is_in_the_table_and_its_indexes_and_no_stream_tells():
    records = Records()
    client = FakeDynamoDB([STATES.create], {STATES.name: records})
    table, key = client.tables[STATES.name], {"run_id": {"S": "run"}}
    put(client, session_id={"S": "one"}, created_at={"S": "2026"})
    put(client, session_id={"S": "two"}, created_at={"S": "2026"})
    nothing, before = table.former(key)
    assert nothing is None
    table.restore(key, before)
    assert client.get_item(TableName=STATES.name, Key=key)["Item"]["session_id"] == {"S": "one"}
    assert list(table.index("by_session").partitions["one"].items) != []
    assert list(table.index("by_session").partitions["two"].items) == []
    table.restore(key, nothing)
    assert "Item" not in client.get_item(TableName=STATES.name, Key=key)
    assert len(records.kept) == 2


def test_a_deletion_by_time_to_live_says_so():
    records = Records()
    client = FakeDynamoDB([EVENTS.create], {EVENTS.name: records})
    key = {"run_id": {"S": "run"}, "sequence": {"N": "1"}}
    client.put_item(TableName=EVENTS.name, Item=key)
    client.tables[EVENTS.name].remove(key, by_time_to_live=True)
    assert [(each["event_name"], each["by_time_to_live"]) for each in records.kept] == [
        ("INSERT", False),
        ("REMOVE", True),
    ]
