"""What breaks on the deployed stack is mended there: a poisoned run, a projector that did not run for a day, a lost batch.

The tests follow each other: each begins with the states that the one before it left.
"""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.items import commit_to_item
from behest_core.interchange import read_run
from behest_core.model.commit import Commit
from behest_core.model.events import TextDelta
from behest_core.model.timestamps import from_datetime
from tests.e2e.states import import_runs, states, wait_for_states, wrong
from tests.golden import SEED_FOLD, golden_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.emulator import Stack
    from tests.e2e.states import State

pytestmark = pytest.mark.e2e

RUNS = 200
SWEEP_SECONDS = 120
COMMAND_SECONDS = 60
SECRET = "the patient's name"
POISON = f'[{{"type":"UsageRecorded","timestamp":"2030-01-01T00:00:00Z","usage":"{SECRET}"}}]'.encode()


class Writer:
    """Writes runs to the deployed stack, and knows what their states have to be."""

    def __init__(self, stack: Stack, *, ago: timedelta = timedelta(0)) -> None:
        client = stack.client("dynamodb")
        self.log = EventLog(client, stack.outputs["EventTableName"], now=lambda: datetime.now(UTC) - ago)
        self._put = client.put_item

    def append(self, state: State, minute: int = 1) -> None:
        """Append an event that changes nothing but the count and the time."""
        moment = f"2030-01-01T00:{minute:02}:00Z"
        self.log.append(state["run_id"], [TextDelta(delta=SECRET, timestamp=moment)])
        state |= {"event_count": state["event_count"] + 1, "updated_at": moment}

    def write(self, line: bytes) -> None:
        """Write a run as a line holds it."""
        run = read_run("golden", 1, line)
        assert run.record
        self.log.create(run.record)
        self.log.append(run.run_id, run.events)

    def put(self, run_id: str, sequence: int, payload: bytes) -> None:
        """Put an item of one event at a position, whatever is there and whatever is in it."""
        commit = Commit(
            run_id=run_id,
            sequence=sequence,
            payload=payload,
            commit_id="by hand",
            committed_at=from_datetime(datetime.now(UTC)),
        )
        self._put(TableName=self.log.table, Item=commit_to_item(commit))


@pytest.fixture(scope="module")
def expected() -> dict[str, State]:
    """Return what each run's state has to be, by run id; tests add to it what they write."""
    return {}


@pytest.fixture(scope="module")
def imported(deployed_stack, expected, tmp_path_factory) -> dict[str, State]:
    """Import 200 runs; return what their states have to be."""
    lines = list(renamed("repair", 0, RUNS))
    file: Path = tmp_path_factory.mktemp("import") / "runs.jsonl"
    file.write_bytes(b"".join(lines))
    expected.update(map(state_of, lines))
    said = import_runs(deployed_stack, file)
    assert wrong(expected, wait_for_states(deployed_stack, expected, said)) == {}
    return expected


def renamed(prefix: str, first: int, last: int) -> Iterator[bytes]:
    """Return lines of the golden file, their runs under ids of their own."""
    for line in itertools.islice(golden_lines(SEED_FOLD), first, last):
        run_id = json.loads(line)["state"]["run_id"]
        yield line.replace(run_id.encode(), f"{prefix}-{run_id}".encode())


def state_of(line: bytes) -> tuple[str, State]:
    state = json.loads(line)["state"]
    return state["run_id"], state


# ---------------------------------------------------------------- a poisoned run


def test_of_200_runs_a_poisoned_one_is_parked_and_199_are_right(deployed_stack, imported):
    poisoned, *others = imported.values()
    writer = Writer(deployed_stack)
    writer.put(poisoned["run_id"], poisoned["event_count"] + 1, POISON)
    for state in others:
        writer.append(state)
    waiting = dict(poisoned)
    writer.append(waiting)  # it lies behind the poison, and has to wait there
    found = wait_for_states(deployed_stack, imported)
    assert wrong(imported, found) == {}
    [parked] = [state for state in found.values() if "parked" in state]
    assert parked["run_id"] == poisoned["run_id"]
    assert parked["parked"]["sequence"] == poisoned["event_count"] + 1
    assert parked["parked"]["error"] == "MalformedEventError"


def test_once_its_log_is_mended_and_it_is_resumed_all_200_are_right(deployed_stack, imported):
    poisoned = next(iter(imported.values()))
    mended = json.dumps([{"type": "TextDelta", "timestamp": "2030-01-01T00:00:00Z", "delta": "mended"}])
    Writer(deployed_stack).put(poisoned["run_id"], poisoned["event_count"] + 1, mended.encode())
    done = deployed_stack.behest("resume", poisoned["run_id"], "--stack", deployed_stack.name, timeout=COMMAND_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    poisoned |= {"event_count": poisoned["event_count"] + 2, "updated_at": "2030-01-01T00:01:00Z"}
    found = states(deployed_stack)
    assert wrong(imported, found) == {}
    assert [state for state in found.values() if "parked" in state] == []


# ---------------------------------------------------------------- a day without a projector


def test_after_a_day_without_projector_one_sweep_makes_all_runs_right(deployed_stack, imported):
    writer = Writer(deployed_stack, ago=timedelta(hours=20))
    new = list(renamed("day", RUNS, RUNS + 50))
    with no_projector(deployed_stack):
        for state in imported.values():
            writer.append(state, minute=2)
        for line in new:
            writer.write(line)
        imported.update(map(state_of, new))
        assert len(wrong(imported, states(deployed_stack))) == RUNS + 50
        report = sweep(deployed_stack)
        assert wrong(imported, states(deployed_stack)) == {}
    assert report["RunsLagging"] == report["RunsCaughtUp"] == RUNS + 50
    assert (report["ParkedRuns"], report["SweepsCutShort"]) == (0, 0)


def test_records_that_arrive_after_the_sweep_change_nothing(deployed_stack, imported):
    last = list(imported.values())[-1]
    Writer(deployed_stack).append(last, minute=3)  # the stream is read in order: it comes behind those of the day
    assert wrong(imported, wait_for_states(deployed_stack, imported)) == {}
    assert sweep(deployed_stack)["RunsLagging"] == 0


# ---------------------------------------------------------------- a lost batch


def test_the_runs_of_a_batch_that_lambda_gave_up_are_right_again(deployed_stack, imported):
    lines = list(renamed("lost", 0, 20))
    writer = Writer(deployed_stack)
    with no_projector(deployed_stack), new_records(deployed_stack) as position:
        for line in lines:
            writer.write(line)
        message = {"requestContext": {"condition": "RetryAttemptsExhausted"}, "DDBStreamBatchInfo": position()}
        sqs = deployed_stack.client("sqs")
        sqs.send_message(QueueUrl=deployed_stack.outputs["FailureQueueUrl"], MessageBody=json.dumps(message))
        imported.update(map(state_of, lines))
        assert wrong(imported, wait_for_states(deployed_stack, imported)) == {}


def test_the_functions_said_what_they_met_and_nothing_of_what_is_in_an_event(deployed_stack, imported):
    assert imported
    said = deployed_stack.log.read_text()  # the functions' own output is in it
    assert '"error":"MalformedEventError"' in said
    assert '"RunsCaughtUp"' in said
    assert SECRET not in said


# ---------------------------------------------------------------- what an operator does to the stack


@contextmanager
def no_projector(stack: Stack) -> Iterator[None]:
    """Disable the stream mapping for a while."""
    client = stack.client("lambda")
    function = stack.outputs["ProjectorFunctionArn"]
    [mapping] = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        assert client.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Disabled"
        yield
    finally:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def sweep(stack: Stack) -> dict[str, int]:
    """Invoke the reconciler as its schedule does, and return what it counted."""
    client = stack.client("lambda", Config(read_timeout=SWEEP_SECONDS, retries={"total_max_attempts": 1}))
    event = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
    answer = client.invoke(FunctionName=stack.outputs["ReconcilerFunctionName"], Payload=json.dumps(event))
    said = answer["Payload"].read().decode()
    assert "FunctionError" not in answer, said
    return json.loads(said)


@contextmanager
def new_records(stack: Stack) -> Iterator[Any]:
    """Return what tells where in the event table's stream the records of this context lie, as a failure record would."""
    table = stack.client("dynamodb").describe_table(TableName=stack.outputs["EventTableName"])["Table"]
    client, arn = stack.client("dynamodbstreams"), table["LatestStreamArn"]
    shard = client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][-1]["ShardId"]
    at = client.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="LATEST")["ShardIterator"]

    def position() -> dict[str, Any]:
        numbers = [each["dynamodb"]["SequenceNumber"] for each in client.get_records(ShardIterator=at)["Records"]]
        return {
            "streamArn": arn,
            "shardId": shard,
            "startSequenceNumber": numbers[0],
            "endSequenceNumber": numbers[-1],
            "batchSize": len(numbers),
        }

    yield position
