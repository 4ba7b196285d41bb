"""A third party's plugin in the deployed functions, and the events that the notifier puts on the event bus."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from behest_core.dynamodb.event_table import EventLog
from tests.builders import custom, run_completed, run_record, run_started
from tests.e2e import third_party
from tests.e2e.states import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.emulator import Stack

pytestmark = pytest.mark.e2e

ARRIVAL_SECONDS = 90
APPROVED, DISLIKED = "approved", third_party.DISLIKED


@pytest.fixture(scope="module")
def inbox(deployed_stack) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Have the event bus put behest's events into a queue; return what receives them."""
    sqs, events = deployed_stack.client("sqs"), deployed_stack.client("events")
    queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["behest"], "detail-type": ["Run Status Changed"], "detail": {"run_id": [APPROVED, DISLIKED]}}
    events.put_rule(Name="inbox", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="inbox", Targets=[{"Id": "inbox", "Arn": arn}])
    yield lambda: received(deployed_stack, queue)
    events.remove_targets(Rule="inbox", Ids=["inbox"])
    events.delete_rule(Name="inbox")


@pytest.fixture(scope="module")
def runs(deployed_stack, inbox) -> dict[str, dict[str, Any]]:
    """Write two runs, each step once the one before is folded; return their states."""
    log = EventLog(deployed_stack.client("dynamodb"), deployed_stack.outputs["EventTableName"])
    for run_id in (APPROVED, DISLIKED):
        log.create(run_record(run_id))
    wait_for(lambda: {APPROVED, DISLIKED} <= states(deployed_stack).keys(), deployed_stack)
    for step in ([run_started(), custom(), custom()], [custom(), run_completed()]):
        for run_id in (APPROVED, DISLIKED):
            last = log.append(run_id, step)
        wait_for(lambda last=last: sequences(deployed_stack) == {last}, deployed_stack)
    return states(deployed_stack)


def sequences(stack: Stack) -> set[int]:
    found = states(stack)
    return {found[run_id]["sequence"] for run_id in (APPROVED, DISLIKED)}


def received(stack: Stack, queue: str) -> list[dict[str, Any]]:
    """Receive what is in a queue, once."""
    sqs = stack.client("sqs")
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in messages]


def wait_for(is_so: Callable[[], bool], stack: Stack) -> None:
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"the emulator's last words:\n{stack.log.read_text()[-6000:]}"
        time.sleep(0.25)


def test_the_plugins_slice_is_in_the_deployed_states(runs):
    for run_id in (APPROVED, DISLIKED):
        piece = runs[run_id]["extensions"]["approvals"]
        assert piece == {"state": {"pending": 3}, "sequence": 5, "version": 1}


def test_the_command_shows_the_slice(deployed_stack, runs):
    assert runs
    shown = deployed_stack.behest("show", APPROVED, "--json", "--stack", deployed_stack.name, timeout=60)
    assert json.loads(shown.stdout)["extensions"]["approvals"]["state"] == {"pending": 3}


def test_each_change_of_status_is_an_event_on_the_bus(deployed_stack, runs, inbox):
    assert runs
    told: dict[str, tuple[str, str | None, str]] = {}

    def all_told() -> bool:
        for event in inbox():
            detail = event["detail"]
            told[detail["id"]] = (detail["run_id"], detail["before"], detail["after"])
        return sum(after == "Completed" for _, _, after in told.values()) == 2

    wait_for(all_told, deployed_stack)
    for run_id in (APPROVED, DISLIKED):
        changes = {(before, after) for run, before, after in told.values() if run == run_id}
        assert changes == {(None, "Pending"), ("Pending", "SessionLoaded"), ("SessionLoaded", "Completed")}
    assert len(told) == 6


def test_a_reaction_that_raises_is_in_its_queue(deployed_stack, runs):
    assert runs
    failed: list[dict[str, Any]] = []

    def all_there() -> bool:
        failed.extend(received(deployed_stack, deployed_stack.outputs["ReactionsQueueUrl"]))
        return len({each["change"]["id"] for each in failed}) == 3

    wait_for(all_there, deployed_stack)
    assert {(each["plugin"], each["error"]) for each in failed} == {(third_party.NAME, "RuntimeError")}
    assert {each["change"]["run_id"] for each in failed} == {DISLIKED}
