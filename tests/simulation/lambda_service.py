"""Lambda: the stream mapping and its invocations, those that overlap because one is believed dead, and the failure queue."""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from behest_core.projection.lost_batch import LostBatch
from behest_core.testing import EventSourceMapping, Failed, FunctionSettings, LambdaContext, Returned, Throttled
from behest_core.testing.invocation import invoke
from tests.simulation.surroundings import Finding

if TYPE_CHECKING:
    from behest_core.testing import Delivery, MappingSettings
    from behest_core.testing.invocation import FailureRecord
    from behest_core.testing.stream_reader import LaneBy
    from tests.simulation.feed import Feed
    from tests.simulation.processes import Pool, Process
    from tests.simulation.scheduler import Task
    from tests.simulation.surroundings import Surroundings

TIMEOUTS = (4.0, 15.0)
"""Seconds that an invocation may take. In the shorter of them, a slow one has to leave most of its batch for another time."""

_RECOVER_SECONDS = 60.0
_QUEUE_SECONDS = 20.0
_REMEMBERED = 100


class LambdaService:
    """Polls the stream, starts invocations, and hears how they went, or doesn't."""

    def __init__(
        self, around: Surroundings, feed: Feed, settings: MappingSettings, lane_by: LaneBy, pool: Pool
    ) -> None:
        self._scheduler, self._random, self._faults = around.scheduler, around.random, around.faults
        self._around = around
        self._report = around.report
        self._stream = feed.stream
        self._pool = pool
        self._timeout = around.random.choice(TIMEOUTS)
        self._function = FunctionSettings(timeout_seconds=self._timeout)
        self._queue: list[FailureRecord] = []
        self._invisible = 0
        self.delivered: Counter[str] = Counter()
        """How many records of each run were delivered, each as often as it was."""

        self.discarded: set[tuple[str, str]] = set()
        """Run id and position of what was in batches that Lambda gave up."""

        self._past: deque[Delivery] = deque(maxlen=_REMEMBERED)
        self.is_idle = False
        self.is_in_order = lane_by == "partition_key"
        """Whether the records of a run come in order, where none of them is late."""

        self.mapping = EventSourceMapping(
            feed.stream,
            self._never,
            settings,
            function=self._function,
            clock=around.scheduler.clock,
            random=around.random,
            on_failure=self._discard,
            lane_by=lane_by,
            retry_delay=lambda retry: min(10.0, 0.2 * 2**retry),
        )

    @staticmethod
    def _never(_event: Any, _context: Any) -> object:
        raise AssertionError("invocations are made here, not by the mapping")

    def tick(self, seconds: float) -> None:
        """Look at the stream and the queue, as Lambda does every so often; `seconds` since the last time."""
        polled = self.mapping.poll()
        self.is_idle = not (polled or self._queue or self._invisible or self.mapping.next_due() is not None)
        while (delivery := self.mapping.begin()) is not None:
            if self._faults.strikes("invocation_throttled"):
                self.mapping.finish(delivery, Throttled())
                continue
            self._past.append(delivery)
            self._invoke(delivery)
        if self._past and self._faults.within("stale_delivery", seconds):
            self._invoke(self._random.choice(self._past), is_stale=True)
        messages, self._queue[:] = self._queue[:], []
        for message in messages:
            self._recover(message)

    def _invoke(self, delivery: Delivery, *, is_stale: bool = False) -> None:
        """Run the function on a delivery. Of a stale one, nobody waits for the answer."""
        process = self._pool.take()
        event = delivery.batch()
        keys = [record["dynamodb"]["Keys"] for record in event["Records"]]
        self.delivered.update(str(key["run_id"]["S"]) for key in keys)
        shown = " ".join(f"{key['run_id']['S']},{key['sequence']['N']}" for key in keys)
        self._around.note(f"{'stale ' if is_stale else ''}delivery of {shown} to process {process.number}")
        in_flight = [] if is_stale else [delivery]

        def body() -> None:
            context = LambdaContext.of(self._function, delivery.request_id, self._scheduler.clock)
            result = invoke(lambda event, context: self._handle(process, event, context), event, context)
            if isinstance(result, Returned):
                self._pool.give_back(process)
                if in_flight and self._faults.strikes("duplicate_delivery"):
                    result = Failed("the answer was lost")
            if in_flight:
                self.mapping.finish(in_flight.pop(), result)

        def be_killed() -> None:
            """Hear of one that died before it had begun; of the others, `invoke` tells."""
            if in_flight:
                self.mapping.finish(in_flight.pop(), Failed("it was killed"))

        name = f"projector-{self.mapping.counts.deliveries}"
        task = self._scheduler.start(name, body, process.release, if_killed=be_killed)
        task.is_slow = self._faults.strikes("slow_invocation")
        self._scheduler.after(self._timeout, lambda: self._time_out(task, in_flight))

    def _time_out(self, task: Task, in_flight: list[Delivery]) -> None:
        if task.is_over:
            return
        self._faults.counts["timeout"] += 1
        if not task.was_held_up:
            self._report(Finding("?", f"{task.name} did not stop before its deadline, and no call of it was held up"))
        if in_flight:
            self.mapping.finish(in_flight.pop(), Failed("Task timed out"))
        if not self._faults.strikes("zombie"):
            self._scheduler.kill(task)

    def _handle(self, process: Process, event: Any, context: LambdaContext) -> object:
        try:
            return process.handle(event, context)
        except Exception as error:
            self._report(Finding("?", f"the projector raised {error!r}"))
            raise

    def _discard(self, message: FailureRecord) -> None:
        self._queue.append(message)
        batch = message["DDBStreamBatchInfo"]
        before = str(int(batch["startSequenceNumber"]) - 1)
        for record in self._stream.read(batch["shardId"], before, batch["batchSize"]).records:
            keys = record["dynamodb"]["Keys"]
            self.discarded.add((str(keys["run_id"]["S"]), str(keys["sequence"]["N"])))

    def _recover(self, message: FailureRecord) -> None:
        """Let the reconciler see to a lost batch. A message that isn't done with comes back."""
        process = self._pool.take()
        deadline = self._scheduler.now + _RECOVER_SECONDS
        self._faults.counts["lost_batch"] += 1

        def come_back() -> None:
            self._invisible += 1
            self._scheduler.after(_QUEUE_SECONDS, be_visible)

        def be_visible() -> None:
            self._invisible -= 1
            self._queue.append(message)

        def body() -> None:
            batch = LostBatch.from_message(json.dumps(message))
            try:
                report = process.reconciler.recover(
                    batch,
                    process.streams,
                    remaining=lambda: deadline - self._scheduler.now,  # type: ignore[arg-type]
                )
            except (ClientError, BotoCoreError):
                come_back()
                return
            self._pool.give_back(process)
            if not report.is_complete:
                come_back()

        task = self._scheduler.start("recover", body, process.release, if_killed=come_back)
        self._scheduler.after(_RECOVER_SECONDS, lambda: task.is_over or self._scheduler.kill(task))
