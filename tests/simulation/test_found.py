"""What simulations have found, each told in a few lines."""

from __future__ import annotations

from typing import Any

import pytest

from behest_core import codec
from behest_core.event_log import EventLog
from behest_core.projector import Projector
from behest_core.state_table import StateTable
from behest_core.testing import Template
from tests.builders import RUN, commit, record_commit, run_completed, run_started
from tests.contract.fake import FakeDynamoDB, throttled

TABLES = Template().tables()
EVENTS, STATES = TABLES["EventTable"], TABLES["StateTable"]


class Flaky:
    """A client of the fake whose calls can be made to fail."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self._database = FakeDynamoDB([EVENTS.create, STATES.create])

    def __getattr__(self, name: str) -> Any:
        if name in self.failing:
            raise throttled(name)
        return getattr(self._database, name)


@pytest.fixture
def client():
    client = Flaky()
    for each in (record_commit(), commit(1, run_started()), commit(2, run_completed())):
        client.put_item(TableName=EVENTS.name, Item=codec.commit_to_item(each))
    return client


@pytest.fixture
def states(client):
    return StateTable(client, STATES.name, sleep=lambda _seconds: None)


@pytest.fixture
def projector(client, states):
    return Projector(EventLog(client, EVENTS.name), states)


def test_a_run_whose_log_cannot_be_read_for_long_is_not_taken_for_one_that_kills(client, states, projector):
    client.failing = {"query"}
    for _ in range(5):
        assert not projector.catch_up(RUN, guarded=True).is_finished
    client.failing = set()
    assert projector.catch_up(RUN, guarded=True).is_finished
    state = states.get(RUN)
    assert (state.parked, state.sequence, state.unfinished_folds) == (None, 2, 0)
