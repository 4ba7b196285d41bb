"""The DynamoDBs that the contract suite runs against: the fake, moto, and one at an endpoint, such as an emulator's."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from behest_core.testing import LocalStack, MemoryStream, Template
from behest_core.testing.moto_stream import MotoStream
from tests.contract.fake import FakeDynamoDB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.testing import RecordSource


@dataclass
class Backend:
    """A DynamoDB with the template's two tables. They are shared: a test writes to its own `run` only."""

    name: str
    client: Any
    event_table: str
    state_table: str
    stream: RecordSource
    run: str = ""

    def for_another_test(self) -> Backend:
        """Return the same tables, and a run that nobody else writes to."""
        return replace(self, run=f"run-{uuid.uuid4()}")

    def records(self) -> list[dict[str, Any]]:
        """Return the event table's stream records of the test's own run, as Lambda would deliver them."""
        found: list[dict[str, Any]] = []
        for shard in self.stream.shards():
            after = None
            while records := self.stream.read(shard.shard_id, after, 1000).records:
                after = records[-1]["dynamodb"]["SequenceNumber"]
                found += records
        return [record for record in found if record["dynamodb"]["Keys"]["run_id"]["S"].startswith(self.run)]

    @contextmanager
    def but(self, **differing: str) -> Iterator[None]:
        """Expect what follows of every backend but those named, which are known to differ; with the way they do."""
        if self.name not in differing:
            yield
            return
        try:
            yield
        except (AssertionError, ClientError, KeyError, pytest.fail.Exception):
            return
        pytest.fail(f"{self.name} no longer differs: {differing[self.name]!r} can go")


@contextmanager
def fake_backend() -> Iterator[Backend]:
    tables = Template().tables()
    events, states = tables["EventTable"], tables["StateTable"]
    stream = MemoryStream(events.name)
    client = FakeDynamoDB([events.create, states.create], {events.name: stream})
    yield Backend("fake", client, events.name, states.name, stream)


@contextmanager
def moto_backend() -> Iterator[Backend]:
    with LocalStack() as stack:
        stream = _stream_of(stack.dynamodb, boto3.client("dynamodbstreams"), stack.event_table)
        yield Backend("moto", stack.dynamodb, stack.event_table, stack.state_table, stream)


@contextmanager
def endpoint_backend(name: str, url: str) -> Iterator[Backend]:
    """Make the template's tables at an endpoint, under names of their own, and delete them afterwards."""
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    client, streams = session.client("dynamodb", endpoint_url=url), session.client("dynamodbstreams", endpoint_url=url)
    tables = Template(stack_name=f"contract-{uuid.uuid4().hex[:8]}").tables()
    events, states = tables["EventTable"], tables["StateTable"]
    try:
        for table in (events, states):
            client.create_table(**table.create)
        for table in (events, states):
            client.get_waiter("table_exists").wait(TableName=table.name)
        yield Backend(name, client, events.name, states.name, _stream_of(client, streams, events.name))
    finally:
        for table in (events, states):
            client.delete_table(TableName=table.name)
        streams.close()
        client.close()


def _stream_of(client: Any, streams: Any, table: str) -> MotoStream:
    return MotoStream(streams, client.describe_table(TableName=table)["Table"]["LatestStreamArn"])
