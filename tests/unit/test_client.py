"""The client that behest makes, held against botocore's own: the same requests, answers and errors, with less memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from botocore.config import Config
from botocore.exceptions import ChecksumError, ClientError

from behest_core.dynamodb import items
from behest_core.dynamodb.requests import batch_get
from behest_core.model.limits import METADATA_BYTES, VALUE_BYTES, WRITE_UNIT_BYTES
from tests.answering import ACCOUNT, Answering
from tests.docs.costs import units
from tests.largest import largest_state

ANSWER_BYTES = 16 * 1024 * 1024

KEY = {"run_id": {"S": "r"}}
KEYS = {"states": {"Keys": [KEY], "ConsistentRead": True}}
REQUESTS: dict[str, dict[str, Any]] = {
    "put_item": {
        "TableName": "states",
        "Item": {**KEY, "events": {"B": b"\x00\x01"}, "parked": {"BOOL": True}, "text": {"S": "\U0001f680"}},
        "ConditionExpression": "revision = :read",
        "ExpressionAttributeValues": {":read": {"N": "1"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    },
    "delete_item": {"TableName": "states", "Key": KEY},
    "get_item": {"TableName": "states", "Key": KEY, "ConsistentRead": True},
    "batch_get_item": {"RequestItems": KEYS},
    "query": {"TableName": "states", "IndexName": "by_status", "Limit": 3, "ScanIndexForward": False},
    "scan": {"TableName": "states", "ExclusiveStartKey": KEY, "ProjectionExpression": "run_id"},
}
EVERY_KIND = {
    "S": {"S": "\U0001f680"},
    "N": {"N": "1E+3"},
    "B": {"B": "AAEC"},
    "empty": {"B": ""},
    "SS": {"SS": ["a", "b"]},
    "NS": {"NS": ["1"]},
    "BS": {"BS": ["AA==", "AQ=="]},
    "M": {"M": {"B": {"B": "AQ=="}, "deeper": {"L": [{"BS": ["Ag=="]}, {"M": {}}]}}},
    "L": {"L": [{"N": "1"}, {"B": "AQ=="}]},
    "NULL": {"NULL": True},
    "BOOL": {"BOOL": False},
}
PAGE = {"Items": [EVERY_KIND, KEY, {}], "Count": 3, "ScannedCount": 3, "LastEvaluatedKey": KEY}
ANSWERS: list[tuple[str, Any]] = [
    ("put_item", {}),
    ("put_item", {"Attributes": EVERY_KIND, "ConsumedCapacity": {"CapacityUnits": 1.5}}),
    ("delete_item", {}),
    ("get_item", {}),
    ("get_item", {"Item": EVERY_KIND}),
    ("query", PAGE),
    ("query", {"Items": [], "Count": 0, "ScannedCount": 0}),
    ("scan", PAGE),
    ("batch_get_item", {"Responses": {"states": [EVERY_KIND, KEY]}, "UnprocessedKeys": {}}),
    ("batch_get_item", {"Responses": {"states": []}, "UnprocessedKeys": KEYS}),
    ("batch_get_item", {"Responses": {"states": [{}], "events": [{"x": {"S": '"B"'}}]}}),
    ("batch_get_item", {"UnprocessedKeys": {}}),
    ("batch_get_item", {}),
]
ERRORS: list[tuple[int, Any]] = [
    (
        400,
        {
            "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            "message": "The conditional request failed",
            "Item": EVERY_KIND,
        },
    ),
    (400, {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Message": "failed"}),
    (400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow"}),
    (400, {"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "message": "no such table"}),
    (400, {"__type": "com.amazon.coral.validate#ValidationException", "message": "Item size has exceeded"}),
    (400, {"__type": "com.amazon.coral.service#SomethingNew"}),
    (500, {"__type": "InternalServerError", "message": "oh"}),
    (503, {}),
    (502, b"<html>"),
]


@pytest.fixture(scope="module")
def botocores() -> Answering:
    return Answering(as_botocore=True)


@pytest.fixture(scope="module")
def ours() -> Answering:
    return Answering()


def ask(of: Answering, operation: str, request: dict[str, Any] | None = None) -> Any:
    """Return what a client answers; the items of BatchGetItem as the lists that botocore returns."""
    answer = getattr(of.client, operation)(**(request or REQUESTS[operation]))
    if operation == "batch_get_item" and "Responses" in answer:
        answer["Responses"] = {table: list(found) for table, found in answer["Responses"].items()}
    return answer


def outcome(of: Answering, operation: str, body: Any, **how: Any) -> Any:
    """Return what a client makes of an answer: its own answer, or the error that it raises."""
    of.answer(body if isinstance(body, bytes) else json.dumps(body).encode(), **how)
    try:
        return ask(of, operation)
    except ClientError as error:
        return type(error).__name__, str(error), error.response
    except Exception as error:  # noqa: BLE001 (which one is what is compared)
        return type(error)


@pytest.mark.parametrize("operation", REQUESTS)
def test_a_request_is_the_one_that_botocore_sends(ours, botocores, operation):
    for each in (ours, botocores):
        each.answer(b"{}")
        ask(each, operation)
    mine, its = ours.asked, botocores.asked
    assert json.loads(mine.body) == json.loads(its.body)
    assert (mine.method, mine.url) == (its.method, its.url)
    assert ACCOUNT in mine.url  # botocore takes it from the credentials, for requests that name a table
    assert mine.headers["X-Amz-Target"] == its.headers["X-Amz-Target"]
    assert mine.headers["Content-Type"] == its.headers["Content-Type"]
    assert mine.headers.keys() == its.headers.keys()
    assert int(mine.headers["Content-Length"]) == len(mine.body)


@pytest.mark.parametrize(("operation", "body"), ANSWERS)
def test_an_answer_is_the_one_that_botocore_gives(ours, botocores, operation, body):
    found = outcome(ours, operation, body)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert found == outcome(botocores, operation, body)


@pytest.mark.parametrize("operation", REQUESTS)
@pytest.mark.parametrize(("status", "body"), ERRORS)
def test_an_error_is_the_one_that_botocore_raises(ours, botocores, operation, status, body):
    found = outcome(ours, operation, body, status=status)
    assert found == outcome(botocores, operation, body, status=status)
    assert found[0].endswith(("Exception", "Error"))


@pytest.mark.parametrize("operation", ["get_item", "query", "batch_get_item"])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"Responses": 1, "Items": 1, "Item": 1}', b'{"Responses": {"t": [}']
)
def test_what_is_no_answer_is_left_to_botocore(ours, botocores, operation, body):
    assert outcome(ours, operation, body) == outcome(botocores, operation, body)


def test_what_arrives_damaged_is_refused_as_botocore_refuses_it():
    """Only its retry mode `legacy` looks at DynamoDB's checksum."""
    for client in (Answering(retry_mode="legacy"), Answering(retry_mode="legacy", as_botocore=True)):
        client.answer(b'{"Item":{}}', checksum=1)
        with pytest.raises(ChecksumError):
            ask(client, "get_item")


@pytest.mark.parametrize("operation", REQUESTS)
def test_botocore_sees_no_more_of_a_request_than_finds_its_endpoint(operation):
    """What a save costs is what botocore does with each value."""
    of, seen = Answering(), []
    of.client.meta.events.register("before-parameter-build.dynamodb", lambda params, **_: seen.append(params))
    ask(of, operation)
    assert seen == [{"RequestItems": {"states": {}}} if operation == "batch_get_item" else {"TableName": "states"}]


def test_text_that_is_no_utf_8_is_left_to_botocore(ours, botocores):
    """Half a pair of surrogates, as an argument of the command may hold: the service says what is wrong with it."""
    for each in (ours, botocores):
        each.answer(b"{}")
        ask(each, "get_item", {"TableName": "states", "Key": {"run_id": {"S": "\udcff"}}})
    assert ours.asked.body == botocores.asked.body


def test_a_request_that_botocore_repeats_is_the_same_again(monkeypatch):
    of, bodies = Answering(config=Config(retries={"mode": "standard", "total_max_attempts": 2})), []
    of.client.meta.events.register_first("before-send.dynamodb", lambda request, **_: bodies.append(request.body))
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: of.answer(b"{}"))
    of.answer(b"{}", status=500)
    assert ask(of, "put_item")["ResponseMetadata"]["RetryAttempts"] == 1
    assert json.loads(bodies[0])["Item"]["run_id"] == {"S": "r"}
    assert bodies[0] == bodies[1]


def test_requests_of_other_operations_are_botocores(ours, botocores):
    for each in (ours, botocores):
        each.answer(json.dumps({"Table": {"TableName": "states", "CreationDateTime": 1.5}}).encode())
    request = {"TableName": "states"}
    assert ask(ours, "describe_table", request) == ask(botocores, "describe_table", request)
    assert ours.asked.body == botocores.asked.body


def test_a_user_agent_that_is_configured_is_kept():
    def agent(config: Config | None) -> list[str]:
        of = Answering(config=config)
        ask(of, "get_item")
        return of.asked.headers["User-Agent"].decode().split()

    assert agent(None)[0] == "behest-core"
    assert "acme" in agent(Config(user_agent_extra="acme"))
    assert agent(Config(user_agent="acme"))[0] == "acme"


def hostile_answer(size: int) -> bytes:
    """Return an answer of so many bytes, as DynamoDB counts, of the largest states, whose slices hold the smallest values."""
    smallest = largest_state()
    for piece in smallest.extensions.values():
        piece.raw = msgspec.Raw(b'{"values":[' + b",".join([b"0"] * (len(bytes(piece.raw)) // 2 - 8)) + b"]}")
    smallest.metadata = [0] * (METADATA_BYTES // (VALUE_BYTES + 1) - 1)
    item = items.state_to_item(smallest)
    raw = msgspec.json.encode(item)
    count = size // (units(item) * WRITE_UNIT_BYTES)
    one_by_one = (raw.replace(b'"run_id":{"S":"', b'"run_id":{"S":"%03d' % n, 1) for n in range(count))
    return b'{"Responses":{"states":[' + b",".join(one_by_one) + b"]}}"


def test_an_answer_of_the_most_values_is_never_in_memory_as_objects():
    """An answer has 16 MB of items at most; of a fifth of it, to be quick, botocore makes 200 MB."""
    answer = hostile_answer(ANSWER_BYTES // 5)
    of = Answering()
    of.answer(answer)
    tracemalloc.start()
    try:
        found = sum(1 for _ in batch_get(of.client, "states", [KEY], lambda _: None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found > 8
    assert peak < 4 * len(answer)
