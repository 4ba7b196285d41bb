"""An alarm is judged as CloudWatch judges it."""

from __future__ import annotations

from typing import Any

from tests.alarms.judging import Alarm


def alarm(**properties: Any) -> Alarm:
    usual = {"Namespace": "N", "MetricName": "M", "Dimensions": [{"Name": "D", "Value": "V"}], "Statistic": "Sum"}
    usual |= {"Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "TreatMissingData": "notBreaching"}
    return Alarm(usual | {"ComparisonOperator": "GreaterThanOrEqualToThreshold"} | properties)


def test_an_alarm_is_on_while_so_many_of_the_last_periods_breach():
    judged = alarm(EvaluationPeriods=3, DatapointsToAlarm=2).states({0: [1], 2: [5]}, 5)
    assert list(judged) == ["OK", "OK", "ALARM", "OK", "OK"]


def test_a_period_is_judged_as_a_whole():
    assert list(alarm(Period=120, Threshold=3).states({0: [1], 1: [2]}, 3)) == ["OK", "ALARM", "OK"]


def test_an_alarm_that_ignores_missing_data_stays_as_it_is():
    judged = alarm(TreatMissingData="ignore").states({1: [1], 3: [0]}, 5)
    assert list(judged) == ["INSUFFICIENT_DATA", "ALARM", "ALARM", "OK", "OK"]


def test_missing_data_breaches_where_that_is_said():
    less = {"ComparisonOperator": "LessThanThreshold", "Statistic": "SampleCount", "TreatMissingData": "breaching"}
    assert list(alarm(EvaluationPeriods=2, **less).states({0: [0]}, 3)) == ["OK", "OK", "ALARM"]
