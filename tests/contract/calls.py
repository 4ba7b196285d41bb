"""The calls that behest makes, with an item of each table to make them with, for the contract suite."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

KB = 1024


def commit(run: str, sequence: int, **attributes: Any) -> dict[str, Any]:
    return {"run_id": {"S": run}, "sequence": {"N": str(sequence)}} | attributes


def put_commit(dynamodb, sequence, **attributes):
    item = commit(dynamodb.run, sequence, **attributes)
    dynamodb.client.put_item(TableName=dynamodb.event_table, Item=item)
    return item


def state(run: str, revision: int | None = None, **attributes: Any) -> dict[str, Any]:
    return {"run_id": {"S": run}} | ({} if revision is None else {"revision": {"N": str(revision)}}) | attributes


def put_state(dynamodb, revision=None, *, run=None, **attributes):
    item = state(run or dynamodb.run, revision, **attributes)
    dynamodb.client.put_item(TableName=dynamodb.state_table, Item=item)
    return item


def read_state(dynamodb, run=None):
    key = {"run_id": {"S": run or dynamodb.run}}
    return dynamodb.client.get_item(TableName=dynamodb.state_table, Key=key, ConsistentRead=True).get("Item")


def forget(dynamodb):
    """Delete what should not have been taken, and stumbles a scan where it was."""
    dynamodb.client.delete_item(TableName=dynamodb.state_table, Key=state(dynamodb.run))


def save(dynamodb, item, read):
    """Save a state as behest does, on condition of the revision that was read; None for none."""
    request: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(revision)"}
    if read is not None:
        request = {"ConditionExpression": "revision = :read", "ExpressionAttributeValues": {":read": {"N": read}}}
    dynamodb.client.put_item(
        TableName=dynamodb.state_table, Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD", **request
    )


def append(dynamodb, item, **more):
    dynamodb.client.put_item(
        TableName=dynamodb.event_table, Item=item, ConditionExpression="attribute_not_exists(run_id)", **more
    )


def query(dynamodb, comparison=">=", sequence=0, **more):
    return dynamodb.client.query(
        TableName=dynamodb.event_table,
        KeyConditionExpression=f"#run = :run AND #sequence {comparison} :sequence",
        **{"ConsistentRead": True, "ExpressionAttributeNames": {"#run": "run_id", "#sequence": "sequence"}} | more,
        ExpressionAttributeValues={":run": {"S": dynamodb.run}, ":sequence": {"N": str(sequence)}},
    )


def pages(dynamodb, **more):
    answer = query(dynamodb, **more)
    found = [answer["Items"]]
    while "LastEvaluatedKey" in answer:
        answer = query(dynamodb, **more, ExclusiveStartKey=answer["LastEvaluatedKey"])
        found.append(answer["Items"])
    return found


def sequences(items):
    return [int(item["sequence"]["N"]) for item in items]


def refused(code: str = "ValidationException"):
    return pytest.raises(ClientError, check=lambda error: error.response["Error"]["Code"] == code)


def conflict():
    return refused("ConditionalCheckFailedException")


def find_in_session(dynamodb, since="0", until="9", **more):
    return dynamodb.client.query(
        TableName=dynamodb.state_table,
        IndexName="by_session",
        KeyConditionExpression="session_id = :value AND created_at BETWEEN :since AND :until",
        ExpressionAttributeValues={":value": {"S": dynamodb.run}, ":since": {"S": since}, ":until": {"S": until}},
        **more,
    )


def put_in_session(dynamodb, name, created_at, revision=1):
    session = {"session_id": {"S": dynamodb.run}, "created_at": {"S": created_at}}
    return put_state(dynamodb, revision, run=f"{dynamodb.run}-{name}", **session)


def scanned(dynamodb, run, **request):
    """Scan in pages, and return the ids that begin with the run's, each as often as it is met."""
    found, more = [], {}
    while True:
        answer = dynamodb.client.scan(**request, **more)
        found += [item["run_id"]["S"] for item in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            return sorted(each for each in found if each.startswith(run))
        more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def heads(records):
    return [(record["eventName"], record["dynamodb"]["Keys"]["sequence"]["N"]) for record in records]
