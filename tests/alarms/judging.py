"""monitoring.yaml's alarms, judged as CloudWatch judges them ("Using Amazon CloudWatch alarms", "Evaluating an alarm").

Each minute, by the alarm's own definition: of the last periods, those ending now, so many have to breach the threshold. A period
without a datapoint is taken as TreatMissingData says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from behest_core.testing.cloudformation import CloudFormationTemplate
from behest_core.testing.template import template_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MINUTE = 60
_STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max, "SampleCount": len}
_BREACHES: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}
_MISSING = {"breaching": True, "notBreaching": False, "ignore": None}


class Metric(NamedTuple):
    namespace: str
    name: str
    of: str
    """The value of its one dimension."""


class Alarm:
    """An alarm, by its properties in the template."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        [dimension] = properties["Dimensions"]
        self.metric = Metric(properties["Namespace"], properties["MetricName"], dimension["Value"])
        self.period = properties["Period"] // MINUTE
        self.periods = properties["EvaluationPeriods"]
        self.enough = properties.get("DatapointsToAlarm", self.periods)
        self._statistic = _STATISTICS[properties["Statistic"]]
        self._breaches = _BREACHES[properties["ComparisonOperator"]]
        self._threshold = float(properties["Threshold"])
        self._missing = _MISSING[properties["TreatMissingData"]]

    def states(self, points: Mapping[int, list[float]], minutes: int) -> Iterator[str]:
        """Return its state at the end of each minute, from the first on. `points` are its metric's, by the minute."""
        state = "INSUFFICIENT_DATA"
        for end in range(1, minutes + 1):
            judged = [self._judged(points, end - (number + 1) * self.period) for number in range(self.periods)]
            if any(breaches is not None for breaches in judged):
                state = "ALARM" if sum(breaches is True for breaches in judged) >= self.enough else "OK"
            yield state

    def _judged(self, points: Mapping[int, list[float]], start: int) -> bool | None:
        values = [value for minute in range(start, start + self.period) for value in points.get(minute, ())]
        return self._breaches(self._statistic(values), self._threshold) if values else self._missing


class Monitoring:
    """monitoring.yaml, for a stack's name, with the names that template.yaml passes on."""

    def __init__(self, stack_name: str) -> None:
        around = CloudFormationTemplate.load(template_path(), stack_name, {})
        given: Any = around.resolve(around.resources("AWS::CloudFormation::Stack")["Monitoring"]["Parameters"])
        nested = CloudFormationTemplate.load(template_path().with_name("monitoring.yaml"), f"{stack_name}-M", given)
        alarms: dict[str, Any] = nested.resources("AWS::CloudWatch::Alarm")
        self.names: dict[str, str] = given
        self.alarms = {name: Alarm(nested.resolve(properties)) for name, properties in alarms.items()}  # type: ignore[arg-type]
        [unwell] = nested.resources("AWS::CloudWatch::CompositeAlarm").values()
        self.reasons = set(re.findall(r"ALARM\(\"\$\{(\w+)\}\"\)", str(unwell["AlarmRule"])))
