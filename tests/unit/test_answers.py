"""Answers of BatchGetItem, read item by item: the same as botocore's, and never more than one item in memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import boto3
import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from behest_core.dynamodb import items
from behest_core.dynamodb.answers import read_item_by_item
from behest_core.dynamodb.requests import batch_get
from behest_core.model.limits import METADATA_BYTES, VALUE_BYTES, WRITE_UNIT_BYTES
from tests.docs.costs import units
from tests.largest import largest_state

ANSWER_BYTES = 16 * 1024 * 1024
KEYS = {"states": {"Keys": [{"run_id": {"S": "r"}}]}}


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


def client_of(body: bytes, *, status: int = 200, as_botocore: bool = False) -> Any:
    """Return a client whose requests are answered with this body, and never sent."""
    client = boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, status, {"x-amzn-requestid": "id"}, Body(body))

    client.meta.events.register("before-send.dynamodb", answer)
    return client if as_botocore else read_item_by_item(client)


def answered(body: Any, **how: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = client_of(raw, **how).batch_get_item(RequestItems=KEYS)
    found["Responses"] = {table: list(items) for table, items in found.get("Responses", {}).items()}
    return found


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


@pytest.mark.parametrize(
    "body",
    [
        {"Responses": {"states": [EVERY_KIND, {"run_id": {"S": "r"}}]}, "UnprocessedKeys": {}},
        {"Responses": {"states": []}, "UnprocessedKeys": KEYS},
        {"Responses": {"states": [{}], "events": [{"x": {"S": '"B"'}}]}},
        {"Responses": {}, "ConsumedCapacity": [{"TableName": "states", "CapacityUnits": 0.5}]},
        {"UnprocessedKeys": {}},
        {},
    ],
    ids=["every kind", "unread", "two tables", "capacity", "no responses", "nothing"],
)
def test_an_answer_is_the_one_that_botocore_gives(body):
    assert answered(body) == answered(body, as_botocore=True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"Responses": 1}', b'{"Responses": {"t": [}'])
def test_what_is_no_answer_is_left_to_botocore(body):
    def outcome(**how: Any) -> Any:
        try:
            return answered(body, **how)
        except (ResponseParserError, AttributeError, TypeError, ValueError) as error:
            return type(error)

    assert outcome() == outcome(as_botocore=True)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow"}),
        (500, {"__type": "InternalServerError", "message": "oh"}),
        (503, {}),
    ],
)
def test_an_error_is_the_one_that_botocore_raises(status, body):
    def raised(**how: Any) -> Any:
        with pytest.raises(ClientError) as caught:
            answered(body, status=status, **how)
        return type(caught.value), caught.value.response

    assert raised() == raised(as_botocore=True)


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
    client, keys = client_of(answer), [{"run_id": {"S": "r"}}]
    tracemalloc.start()
    try:
        found = sum(1 for _ in batch_get(client, "states", keys, lambda _: None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found > 8
    assert peak < 4 * len(answer)
