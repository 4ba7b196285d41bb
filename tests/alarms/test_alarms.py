"""Each fault is seen by an alarm: the functions run with it, and the template's own alarms are judged on what they count."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest

from behest_core import runtime
from behest_core.dynamodb.state_table import StateTable
from behest_core.model.state import RunStatus
from behest_core.plugins.loading import Plugins
from behest_core.projection.projector import Trouble
from behest_core.testing import LocalStack, ManualClock
from tests.alarms.faults import HEALED, NO_FAULTS, NOT_OURS, OF_THE_SIMULATION, SEEN_BY
from tests.alarms.making import RUN
from tests.alarms.runs import parked
from tests.alarms.watch import Watch
from tests.simulation.faults import Rates
from tests.simulation.poison import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setitem(StateTable.__init__.__kwdefaults__, "sleep", lambda _: None)
    clock = ManualClock(datetime.now(UTC).timestamp())
    with LocalStack(clock=clock) as stack:
        yield Watch(stack, clock)


def test_every_fault_of_the_simulation_is_seen_or_healed():
    faults = {each.name for each in fields(Rates)} | KINDS.keys()
    assert faults - NO_FAULTS <= OF_THE_SIMULATION.keys() | HEALED.keys() | NOT_OURS
    assert OF_THE_SIMULATION.keys() | NOT_OURS | NO_FAULTS <= faults


def test_every_alarm_sees_some_fault(watch: Watch):
    assert {alarm for alarm, _ in SEEN_BY.values()} | {"ParkedRunsAlarm"} == watch.monitoring.alarms.keys()


@pytest.mark.filterwarnings("ignore:No application metrics")  # a function that fails publishes none
@pytest.mark.parametrize(
    "fault",
    SEEN_BY,
)
def test_a_fault_that_lasts_is_seen_by_its_alarm(watch: Watch, fault: str):
    alarm, befall = SEEN_BY[fault]
    befall(watch)
    assert {alarm, "UnwellAlarm"} <= watch.went_on()


def test_runs_that_stay_parked_are_shown_and_hide_no_other_reason_to_be_unwell(watch: Watch):
    parked(watch)
    assert "ParkedRunsAlarm" in watch.went_on()
    assert "ParkedRunsAlarm" not in watch.monitoring.reasons


@pytest.mark.parametrize("fault", HEALED)
def test_what_is_healed_wakes_nobody(watch: Watch, fault: str):
    HEALED[fault](watch)
    watch.wait(2)
    watch.sweep()
    watch.wait(1)
    assert watch.went_on() == set()
    assert watch.stack.store.get_state(RUN).status is RunStatus.COMPLETED


@pytest.mark.parametrize("kind", runtime.METRIC_OF_TROUBLE)
def test_every_kind_of_trouble_is_counted_for_the_stack_whichever_function_meets_with_it(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BEHEST_STACK", "behest")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Behest")
    runtime.publish(MagicMock(), MagicMock(), {}, Plugins(), [Trouble(kind, RUN, 1, "error")] * 2)
    written = json.loads(capsys.readouterr().out)
    assert (written["service"], written[runtime.METRIC_OF_TROUBLE[kind]]) == ("behest", [2.0])
