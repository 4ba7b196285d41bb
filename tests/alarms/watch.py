"""A local stack under watch: what it counts and what AWS would count of it, minute by minute of its clock.

The functions' own metrics are those they write. Lambda's (`Errors`, `Throttles`, `IteratorAge`) are counted where the model of
the mapping calls a function, SQS's from what lies in the stack's queues.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from behest_core.testing import InvocationThrottled
from tests.alarms.judging import MINUTE, Metric, Monitoring

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.testing import LocalStack, ManualClock


class Watch:
    """A stack that is watched, minute by minute of its clock. A sweep that all is well with has just ended."""

    def __init__(self, stack: LocalStack, clock: ManualClock) -> None:
        self.stack = stack
        self.clock = clock
        self.monitoring = Monitoring("behest")
        self._start = clock()
        self._read = 0
        self._waits_since = self._start
        self._points: dict[Metric, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.count("Behest", "RunsChecked", "behest-reconciler", 0)
        stack.mapping.handler = self.metered("ProjectorFunction", stack.mapping.handler)
        notifier = stack._notifier.mapping
        notifier.handler = self.metered("NotifierFunction", notifier.handler)

    @property
    def minute(self) -> int:
        return int(self.clock() - self._start) // MINUTE

    def count(self, namespace: str, name: str, of: str, value: float) -> None:
        """Add a datapoint, now. `of` is the parameter of monitoring.yaml that names the resource, or the name itself."""
        metric = Metric(namespace, name, self.monitoring.names.get(of, of))
        self._points[metric][self.minute].append(value)

    def metered(self, function: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Return a handler whose calls are counted as Lambda counts them."""

        def call(event: Any, context: Any) -> Any:
            ages = [self.clock() - record["dynamodb"]["ApproximateCreationDateTime"] for record in event["Records"]]
            self.count("AWS/Lambda", "IteratorAge", function, 1000 * ages[-1])
            try:
                return handler(event, context)
            except BaseException as error:
                kind = "Throttles" if isinstance(error, InvocationThrottled) else "Errors"
                self.count("AWS/Lambda", kind, function, 1)
                raise

        return call

    def becomes(self, handler: Callable[..., Any]) -> None:
        """Let another handler stand in for the projector's."""
        self.stack.mapping.handler = self.metered("ProjectorFunction", handler)

    def wait(self, minutes: int) -> None:
        """Let time pass. Each minute both streams deliver what is due."""
        for _ in range(minutes):
            self.stack._step()
            self._collect()
            self.clock.advance(MINUTE)

    def sweep(self) -> dict[str, int] | None:
        """Sweep as the schedule does; an error is counted, and nothing returned."""
        try:
            return self.stack.sweep()
        except RuntimeError:
            self.count("AWS/Lambda", "Errors", "ReconcilerFunction", 1)
            return None
        finally:
            self._collect()

    def _collect(self) -> None:
        lines = list(self.stack.output.lines)
        for line in map(json.loads, lines[self._read :]):
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
                for metric in directive["Metrics"]:
                    for value in line[metric["Name"]]:
                        self.count(directive["Namespace"], metric["Name"], line["service"], value)
        self._read = len(lines)
        if not self.stack._reconciler.queue:
            self._waits_since = self.clock()
        self.count("AWS/SQS", "ApproximateAgeOfOldestMessage", "FailureQueue", self.clock() - self._waits_since)
        notifier = self.stack._notifier
        for queue, messages in (
            ("NotifierFailureQueue", [*notifier.failures, *notifier.not_told]),
            ("ReactionsQueue", notifier.reactions),
        ):
            self.count("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, len(messages))

    def went_on(self) -> set[str]:
        """Return the alarms that have been on at any minute since the watch began."""
        minutes = self.minute + 1
        on = {
            name
            for name, alarm in self.monitoring.alarms.items()
            if "ALARM" in alarm.states(self._points[alarm.metric], minutes)
        }
        return on | ({"UnwellAlarm"} if on & self.monitoring.reasons else set())
