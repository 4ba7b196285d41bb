"""What is said of tables, and what their streams bring. Part of the contract: see behaviours.py."""

from __future__ import annotations

from base64 import b64encode

from tests.contract.calls import append, commit, conflict, heads, put_commit, refused

# ---------------------------------------------------------------- tables


def test_a_table_that_is_there_is_active(dynamodb):
    assert dynamodb.client.describe_table(TableName=dynamodb.event_table)["Table"]["TableStatus"] == "ACTIVE"


def test_a_table_that_is_not_there_is_not_found(dynamodb):
    with refused("ResourceNotFoundException"):
        dynamodb.client.describe_table(TableName="nothing")
    with refused("ResourceNotFoundException"):
        dynamodb.client.put_item(TableName="nothing", Item=commit(dynamodb.run, 1))


# ---------------------------------------------------------------- streams


def test_each_write_that_changes_something_is_one_record_in_order(dynamodb):
    put_commit(dynamodb, 2)
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 1, count={"N": "1"})
    dynamodb.client.delete_item(TableName=dynamodb.event_table, Key=commit(dynamodb.run, 2))
    dynamodb.client.delete_item(TableName=dynamodb.event_table, Key=commit(dynamodb.run, 2))
    expected = [("INSERT", "2"), ("INSERT", "1"), ("MODIFY", "1"), ("REMOVE", "2")]
    needless = "writes a record for a write that changes nothing"
    with dynamodb.but(moto=needless):
        assert heads(dynamodb.records()) == expected
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in dynamodb.records()]
    assert numbers == sorted(set(numbers))


def test_a_write_that_fails_is_no_record(dynamodb):
    append(dynamodb, commit(dynamodb.run, 1))
    with conflict():
        append(dynamodb, commit(dynamodb.run, 1, count={"N": "1"}))
    assert heads(dynamodb.records()) == [("INSERT", "1")]


def test_a_record_brings_the_new_item_as_json_can_hold_it_and_not_the_old_one(dynamodb):
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 1, count={"N": "3"}, events={"B": b"\x00\xff"})
    data = dynamodb.records()[-1]["dynamodb"]
    assert data["Keys"] == commit(dynamodb.run, 1)
    assert data["NewImage"] == commit(dynamodb.run, 1, count={"N": "3"}, events={"B": b64encode(b"\x00\xff").decode()})
    assert "OldImage" not in data
