"""What lies between a process and its tables: a client of the fake whose every call takes time, and may go wrong.

A call is where another process may come in between, and where a fault may strike: the process dies before or after the table
has answered; the table refuses; its answer is lost, and the SDK sends the request again, or has done so often enough and gives
up. A write whose answer was lost has happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ReadTimeoutError

from behest_core.testing import FunctionKilled
from tests.contract.fake import client_error, internal, throttled

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.testing import MemoryStream
    from tests.contract.fake import FakeDynamoDB
    from tests.simulation.surroundings import Surroundings

LATENCY = 0.005
SLOW = (0.2, 0.6)
STALL = (1.0, 30.0)


class Network:
    """Makes the calls of all processes."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.odd: set[str] = set()
        """Runs of which a fold was ended by an error that nobody thought of."""

    def call(self, operation: str, method: Callable[..., Any], request: dict[str, Any]) -> Any:
        around = self._around
        fault = around.faults.of_a_call()
        around.note(f"{operation} {_about(request)}{f' {fault}' if fault else ''}")
        if fault in _HOLD_UP and (task := around.scheduler.current) is not None:
            task.was_held_up = True
        around.scheduler.sleep(around.random.uniform(*STALL) if fault == "stall" else self._latency())
        if fault == "odd_error" and self._is_of_one_run(operation, request):
            self.odd.add(_about(request).split()[0])
            raise RuntimeError("nobody thought of this")
        if fault in {None, "stall", "odd_error"}:
            return method(**request)
        if fault == "crash_before":
            raise FunctionKilled(operation)
        if fault == "throttle":
            raise throttled(operation)
        try:
            method(**request)
        except ClientError:
            if fault == "crash_after":
                raise FunctionKilled(operation) from None
            raise
        if fault == "crash_after":
            raise FunctionKilled(operation)
        if fault == "lost_and_gave_up":
            raise (
                internal(operation)
                if around.random.random() < 0.5
                else ReadTimeoutError(endpoint_url="https://dynamodb")
            )
        around.scheduler.sleep(self._latency())
        return method(**request)

    def _is_of_one_run(self, operation: str, request: dict[str, Any]) -> bool:
        """Return whether a call is about one run of those that a batch, or a sweep, has to see to."""
        task = self._around.scheduler.current
        if task is None or not task.name.startswith(("projector", "sweep")):
            return False
        return operation == "PutItem" or (operation == "Query" and "IndexName" not in request)

    def _latency(self) -> float:
        task = self._around.scheduler.current
        if task is not None and task.is_slow:
            return self._around.random.uniform(*SLOW)
        return self._around.soon(LATENCY)


class Client:
    """The DynamoDB client of one process."""

    def __init__(self, network: Network, database: FakeDynamoDB) -> None:
        self._network = network
        self._database = database

    def put_item(self, **request: Any) -> Any:
        return self._network.call("PutItem", self._database.put_item, request)

    def delete_item(self, **request: Any) -> Any:
        return self._network.call("DeleteItem", self._database.delete_item, request)

    def get_item(self, **request: Any) -> Any:
        return self._network.call("GetItem", self._database.get_item, request)

    def batch_get_item(self, **request: Any) -> Any:
        return self._network.call("BatchGetItem", self._database.batch_get_item, request)

    def query(self, **request: Any) -> Any:
        return self._network.call("Query", self._database.query, request)

    def scan(self, **request: Any) -> Any:
        return self._network.call("Scan", self._database.scan, request)


class StreamsClient:
    """The DynamoDB Streams client of one process, on a stream in memory. An iterator is a shard and a position in it."""

    def __init__(self, network: Network, stream: MemoryStream) -> None:
        self._network = network
        self._stream = stream

    def get_shard_iterator(self, **request: Any) -> Any:
        return self._network.call("GetShardIterator", self._iterator, request)

    def get_records(self, **request: Any) -> Any:
        return self._network.call("GetRecords", self._records, request)

    def _iterator(self, **request: Any) -> dict[str, Any]:
        if request["ShardIteratorType"] != "AT_SEQUENCE_NUMBER":
            raise NotImplementedError(request["ShardIteratorType"])
        if request["StreamArn"] != self._stream.stream_arn:
            raise client_error("GetShardIterator", "ResourceNotFoundException", "Requested resource not found: Stream")
        return {"ShardIterator": f"{request['ShardId']} {int(request['SequenceNumber']) - 1}"}

    def _records(self, **request: Any) -> dict[str, Any]:
        shard, after = request["ShardIterator"].split()
        page = self._stream.read(shard, after, request.get("Limit", 1000))
        answer: dict[str, Any] = {"Records": list(page.records)}
        if not page.closed:
            last = page.records[-1]["dynamodb"]["SequenceNumber"] if page.records else after
            answer["NextShardIterator"] = f"{shard} {last}"
        return answer


_HOLD_UP = {"stall", "lost_response"}


def _about(request: dict[str, Any]) -> str:
    """Name the run and the position that a request is about, as far as it is about one."""
    keys = request.get("Item") or request.get("Key") or request.get("ExpressionAttributeValues") or {}
    shown = [each.get("S") or each.get("N") for name, each in keys.items() if name in _SHOWN]
    return " ".join(map(str, shown))


_SHOWN = ("run_id", "sequence", "revision", ":run", ":sequence", ":shard", ":value")
