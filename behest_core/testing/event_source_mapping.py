"""A model of Lambda's event source mapping for DynamoDB streams: what stands between a stream and a function.

It reads a `RecordSource`, forms batches, calls a handler with events of Lambda's exact shape and treats its answers as
AWS documents it. Each rule stands at the head of the module that owns it:

- stream_reader.py: shards, starting positions, which record goes into which lane;
- lane.py: batches, windows, retries, splits, age;
- invocation.py: what an answer means, what the failure queue gets.

Here is what holds them together. A lane that fails blocks itself only. Every record is delivered at least once, or is on
record in the failure queue, or was lost by the stream itself.

The model is deterministic and driven from outside. It has no thread and never sleeps; time is what the `clock` says and
chance what `random` says. `step` makes one delivery, `drain` makes all. A simulation that lets invocations overlap
calls `begin` and `finish` itself.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, cast

from behest_core.errors import BehestError
from behest_core.testing.invocation import (
    Failed,
    FunctionSettings,
    LambdaContext,
    Throttled,
    failure_record,
    first_failure,
    invoke,
    iso_time,
)
from behest_core.testing.lane import INFINITE, MappingSettings
from behest_core.testing.stream_reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from behest_core.testing.invocation import (
        BatchInfo,
        Condition,
        FailureRecord,
        Handler,
        InvocationResult,
        RequestContext,
        Returned,
    )
    from behest_core.testing.lane import Batch, BufferedRecord, Lane
    from behest_core.testing.record_source import RecordSource
    from behest_core.testing.stream_reader import LaneBy
    from behest_core.testing.stream_records import LambdaBatch

RETENTION_SECONDS = 24 * 60 * 60
"""How long a stream keeps a record (DynamoDB developer guide, "Data retention limit for DynamoDB Streams")."""


class MappingNotIdleError(BehestError):
    """`drain` made as many deliveries as it was allowed, and records still wait."""

    def __init__(self, deliveries: int, last_failure: str | None) -> None:
        super().__init__(
            f"after {deliveries} deliveries records still wait. The last failure: {last_failure}. "
            "A function that always fails, with retries without end, never becomes idle."
        )
        self.deliveries = deliveries
        self.last_failure = last_failure


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A batch on its way to the function: from `begin` to `finish`."""

    request_id: str
    shard_id: str
    lane: int
    sequence_numbers: tuple[str, ...]
    payload: str
    """The batch, as JSON text."""

    def batch(self) -> LambdaBatch:
        """Return a fresh copy of the batch, as the function receives it."""
        return cast("LambdaBatch", json.loads(self.payload))


@dataclass(slots=True)
class MappingCounts:
    """What the mapping has done so far."""

    deliveries: int = 0
    """Invocations begun."""
    records: int = 0
    """Records in them, each as often as it was delivered."""
    failures: int = 0
    """Invocations that failed, wholly or in part, or were throttled."""
    discarded: int = 0
    """Records given up, on record in the failure queue."""
    expired: int = 0
    """Records that the stream itself had lost before they could be delivered."""


class EventSourceMapping:
    """One event source mapping: a stream, a function, and the settings between them.

    Args:
        source: the stream.
        handler: the function. It gets an event that shares nothing with the source, and a context. As an attribute it may
            be replaced or wrapped between deliveries: a deployment, or faults.
        settings: the mapping's properties.
        function: the function's name, time-out and memory, for its context and for failure records.
        clock: the time, in seconds since 1970. An invocation that ends after the function's time-out on this clock has
            timed out.
        random: chooses between lanes that are due. Without it the one that was served longest ago is next.
        on_failure: takes the failure records; such as `list.append`. Without it they are lost, as in Lambda.
        lane_by: which records share a lane: those of one partition key, or no more than those of one item.
        retry_delay: seconds before the n-th retry of a batch. AWS doesn't document its own; none by default.
    """

    def __init__(  # noqa: PLR0913 - what surrounds the model is all injected
        self,
        source: RecordSource,
        handler: Handler,
        settings: MappingSettings | None = None,
        *,
        function: FunctionSettings | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        on_failure: Callable[[FailureRecord], object] | None = None,
        lane_by: LaneBy = "partition_key",
        retry_delay: Callable[[int], float] = lambda _retry: 0.0,
    ) -> None:
        self.settings = settings or MappingSettings()
        self.function = function or FunctionSettings()
        self.counts = MappingCounts()
        self.last_failure: str | None = None
        self._source = source
        self._reader = StreamReader(source, self.settings, lane_by, retry_delay)
        self.handler = handler
        self._clock = clock
        self._random = random
        self._request_ids = Random(0)
        self._on_failure = on_failure
        self._in_flight: dict[str, Lane] = {}

    def poll(self) -> int:
        """Read what is new in every shard, at most a page of each, and return how many records that were."""
        return self._reader.read(self._clock())

    def next_due(self) -> float | None:
        """Return when the next batch is due, in seconds since 1970, maybe in the past; None where none waits."""
        times = (lane.due_at() for lane in self._reader.lanes())
        return min((due for due in times if due is not None), default=None)

    def begin(self, *, hurry: bool = False) -> Delivery | None:
        """Take the next batch that is due, or None. Its lane is blocked until `finish`.

        Args:
            hurry: take windows and delays between retries as over.
        """
        while (lane := self._choose(hurry=hurry)) is not None:
            batch = lane.next_batch()
            self._drop_old_records(lane, batch)
            if batch.records:
                return self._send(lane, batch)
            lane.drop_batch(self._clock())
        return None

    def finish(self, delivery: Delivery, result: InvocationResult) -> None:
        """Take the result of a delivery. Whatever its function does after this, Lambda ignores.

        Raises:
            ValueError: it was finished before, or comes from another mapping.
        """
        if delivery.request_id not in self._in_flight:
            raise ValueError(f"delivery {delivery.request_id} is not in flight here")
        lane = self._in_flight.pop(delivery.request_id)
        lane.in_flight = False
        if isinstance(result, Throttled):
            self._note_failure("throttled")
            lane.delay(self._clock())
            return
        batch = lane.next_batch()
        batch.invocations += 1
        batch.last_result, batch.last_request_id = result, delivery.request_id
        failed_at = self._failed_at(delivery, result)
        if failed_at is None:
            lane.drop_batch(self._clock())
            return
        self._note_failure(result.reason if isinstance(result, Failed) else str(result.response))
        if failed_at > 0:
            lane.succeed_up_to(failed_at)
        elif lane.fail(self._clock()):
            self._discard(lane, batch, batch.records, "RetryAttemptsExhausted")
            lane.drop_batch(self._clock())

    def invoke(self, delivery: Delivery) -> InvocationResult:
        """Call the handler with a delivery."""
        context = LambdaContext.of(self.function, delivery.request_id, self._clock)
        return invoke(self.handler, delivery.batch(), context)

    def step(self, *, hurry: bool = False) -> Delivery | None:
        """Read, make the next delivery that is due, and return it; None where none is."""
        self.poll()
        return self._deliver(hurry=hurry)

    def drain(self, *, deliveries: int = 10_000) -> int:
        """Deliver until nothing waits, in the stream or here. Windows and delays between retries are taken as over.

        Args:
            deliveries: how many it may make at most.

        Returns:
            How many it made.

        Raises:
            MappingNotIdleError: records still waited after so many.
        """
        begun = self.counts.deliveries
        while self.poll() or self.next_due() is not None:
            if self.counts.deliveries - begun >= deliveries:
                raise MappingNotIdleError(deliveries, self.last_failure)
            self._deliver(hurry=True)
        return self.counts.deliveries - begun

    def _deliver(self, *, hurry: bool) -> Delivery | None:
        delivery = self.begin(hurry=hurry)
        if delivery is not None:
            # What interrupts the process itself, such as Ctrl-C, leaves the records to be delivered again.
            result: InvocationResult = Throttled()
            try:
                result = self.invoke(delivery)
            finally:
                self.finish(delivery, result)
        return delivery

    def _choose(self, *, hurry: bool) -> Lane | None:
        now = self._clock()
        due = [lane for lane in self._reader.lanes() if (at := lane.due_at()) is not None and (hurry or at <= now)]
        if self._random is not None and due:
            return self._random.choice(due)
        return min(due, key=lambda lane: lane.last_served, default=None)

    def _send(self, lane: Lane, batch: Batch) -> Delivery:
        self.counts.deliveries += 1
        self.counts.records += len(batch.records)
        lane.last_served = self.counts.deliveries
        lane.in_flight = True
        request_id = self._new_request_id()
        self._in_flight[request_id] = lane
        return Delivery(
            request_id,
            lane.shard_id,
            lane.number,
            tuple(record.sequence_number for record in batch.records),
            '{"Records": [' + ", ".join(record.text for record in batch.records) + "]}",
        )

    def _failed_at(self, delivery: Delivery, result: Returned | Failed) -> int | None:
        if isinstance(result, Failed):
            return 0
        if not self.settings.report_batch_item_failures:
            return None
        return first_failure(result.response, delivery.sequence_numbers)

    def _note_failure(self, reason: str) -> None:
        self.counts.failures += 1
        self.last_failure = reason

    def _drop_old_records(self, lane: Lane, batch: Batch) -> None:
        now = self._clock()
        self.counts.expired += len(lane.expire(now - RETENTION_SECONDS))
        age = self.settings.maximum_record_age_seconds
        if age != INFINITE and (too_old := lane.expire(now - age)):
            self._discard(lane, batch, too_old, "RecordAgeExceeded")

    def _discard(self, lane: Lane, batch: Batch, records: Sequence[BufferedRecord], condition: Condition) -> None:
        self.counts.discarded += len(records)
        if self._on_failure is None:
            return
        request: RequestContext = {
            "requestId": batch.last_request_id or self._new_request_id(),
            "functionArn": self.function.arn,
            "condition": condition,
            "approximateInvokeCount": batch.invocations,
        }
        info: BatchInfo = {
            "shardId": lane.shard_id,
            "startSequenceNumber": records[0].sequence_number,
            "endSequenceNumber": records[-1].sequence_number,
            "approximateArrivalOfFirstRecord": iso_time(records[0].created),
            "approximateArrivalOfLastRecord": iso_time(records[-1].created),
            "batchSize": len(records),
            "streamArn": self._source.stream_arn,
        }
        self._on_failure(failure_record(request, info, batch.last_result, self._clock()))

    def _new_request_id(self) -> str:
        return str(uuid.UUID(int=self._request_ids.getrandbits(128), version=4))
