"""A lane of a shard: the records that wait for one function, one batch at a time, in order.

A shard has as many lanes as the mapping's ParallelizationFactor. What the model takes as given, and where from:

- A batch is due when it is full, when it has reached the payload limit of 6 MB, or when the batching window is over
  (AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB"). A window begins when the invocation before ends
  ("Batching behavior"), here at the earliest with the first record that waits. A retry doesn't wait for a window.
- A failed batch blocks its lane until it succeeds or is given up.
- BisectBatchOnFunctionError: a failed batch is split in two, each half is delivered by itself, and no retry is
  consumed ("Retain discarded records for a DynamoDB event source"). So retries are spent on single records only.
- A checkpoint inside the batch (ReportBatchItemFailures): only what stands from it on is delivered again ("Bisecting a
  batch"), and nothing is added to it. Retries are counted for the same batch sent again; a shorter one starts anew. AWS
  doesn't document the counting; users have seen it.
- MaximumRecordAgeInSeconds and the stream's own retention take records off the front, also before any invocation.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.testing.invocation import InvocationResult
    from behest_core.testing.stream_records import StreamRecord

PAYLOAD_LIMIT = 6 * 1024 * 1024
"""Bytes of a batch (AWS Lambda quotas, synchronous invocation payload)."""

INFINITE = -1
"""MaximumRetryAttempts and MaximumRecordAgeInSeconds: until the stream itself has lost the record."""

_RANGES = {
    "batch_size": (1, 10_000),
    "batching_window_seconds": (0, 300),
    "maximum_retry_attempts": (INFINITE, 10_000),
    "maximum_record_age_seconds": (INFINITE, 604_800),
    "parallelization_factor": (1, 10),
}
"""AWS Lambda API reference, CreateEventSourceMapping."""

_LEAST_AGE = 60
"""Of MaximumRecordAgeInSeconds, where it isn't infinite (the same page)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """The properties of an event source mapping, with Lambda's names in Python's idiom and Lambda's defaults."""

    batch_size: int = 100
    batching_window_seconds: int = 0
    maximum_retry_attempts: int = INFINITE
    maximum_record_age_seconds: int = INFINITE
    bisect_batch_on_function_error: bool = False
    report_batch_item_failures: bool = False
    parallelization_factor: int = 1
    starting_position: Literal["TRIM_HORIZON", "LATEST"] = "TRIM_HORIZON"

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ValueError(f"{name} is {value}, expected {lowest} to {highest}")
        if INFINITE < self.maximum_record_age_seconds < _LEAST_AGE:
            raise ValueError(f"maximum_record_age_seconds is {self.maximum_record_age_seconds}, at least {_LEAST_AGE}")
        if self.starting_position not in ("TRIM_HORIZON", "LATEST"):
            raise ValueError(f"starting_position is {self.starting_position!r}")


@dataclass(frozen=True, slots=True)
class BufferedRecord:
    """A record that Lambda has read and not yet delivered, as the JSON text it will be delivered as."""

    sequence_number: str
    created: float
    text: str

    @classmethod
    def of(cls, record: StreamRecord) -> Self:
        """Serialise a record. Nothing of it is shared with whoever wrote it."""
        data = record["dynamodb"]
        return cls(data["SequenceNumber"], data["ApproximateCreationDateTime"], json.dumps(record))


@dataclass(slots=True)
class Batch:
    """Records that are delivered together, until they succeed, are split, or are given up."""

    records: list[BufferedRecord]
    invocations: int = 0
    last_result: InvocationResult | None = None
    last_request_id: str | None = None
    retries: int = 0
    not_before: float = 0.0

    def part(self, start: int, end: int | None = None) -> Batch:
        """Return a part of the batch as a batch of its own: it keeps its history, and no retry is counted."""
        return replace(self, records=self.records[start:end], retries=0, not_before=0.0)


@dataclass(slots=True)
class Lane:
    """The queue of one lane. It decides nothing about time or order between lanes: the mapping does."""

    shard_id: str
    number: int
    settings: MappingSettings
    retry_delay: Callable[[int], float]
    in_flight: bool = False
    last_served: int = 0
    _waiting: deque[BufferedRecord] = field(default_factory=deque)
    _waiting_bytes: int = 0
    _window_opened: float = 0.0
    _started: deque[Batch] = field(default_factory=deque)
    """Batches that have been invoked and not finished: the one in hand, then what was split off it."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._waiting and not self._started

    def add(self, record: BufferedRecord, now: float) -> None:
        """Put a record at the end."""
        if not self._waiting and not self.in_flight:
            self._window_opened = now
        self._waiting.append(record)
        self._waiting_bytes += len(record.text)

    def due_at(self) -> float | None:
        """Return when the next batch is due, in seconds since 1970; None while one is in flight or nothing waits."""
        if self.in_flight or self.is_empty:
            return None
        if self._started:
            return self._started[0].not_before
        is_full = len(self._waiting) >= self.settings.batch_size or self._waiting_bytes >= PAYLOAD_LIMIT
        return self._window_opened + (0 if is_full else self.settings.batching_window_seconds)

    def next_batch(self) -> Batch:
        """Return the batch in hand: a started one, else a new one. The lane must not be empty."""
        if not self._started:
            self._started.append(Batch(self._fill()))
        return self._started[0]

    def _fill(self) -> list[BufferedRecord]:
        records: list[BufferedRecord] = []
        size = 0
        while self._waiting and len(records) < self.settings.batch_size:
            size += len(self._waiting[0].text)
            if records and size > PAYLOAD_LIMIT:
                break
            records.append(self._waiting.popleft())
            self._waiting_bytes -= len(records[-1].text)
        return records

    def drop_batch(self, now: float) -> None:
        """Remove the batch in hand, which has succeeded or was given up."""
        self._started.popleft()
        self._window_opened = now

    def succeed_up_to(self, checkpoint: int) -> None:
        """Remove the records before a checkpoint, as they succeeded; what remains is the batch in hand now."""
        self._started[0] = self._started[0].part(checkpoint)

    def fail(self, now: float) -> bool:
        """Split the batch in hand, or retry it, as it failed as a whole. Return whether its retries are used up."""
        batch = self._started[0]
        if self.settings.bisect_batch_on_function_error and len(batch.records) > 1:
            middle = (len(batch.records) + 1) // 2
            self._started[0] = batch.part(middle)
            self._started.appendleft(batch.part(0, middle))
            return False
        if 0 <= self.settings.maximum_retry_attempts <= batch.retries:
            return True
        batch.retries += 1
        self.delay(now)
        return False

    def delay(self, now: float) -> None:
        """Wait before the batch in hand is tried again, as long as the mapping's `retry_delay` says."""
        batch = self._started[0]
        batch.not_before = now + self.retry_delay(max(1, batch.retries))

    def expire(self, oldest: float) -> list[BufferedRecord]:
        """Take records that were created before `oldest` off the front of the batch in hand, and return them."""
        records = self._started[0].records
        fresh = next((at for at, record in enumerate(records) if record.created >= oldest), None)
        count = len(records) if fresh is None else fresh
        expired = records[:count]
        del records[:count]
        return expired
