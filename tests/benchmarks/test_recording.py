"""What recording costs: the agent's thread in microseconds, the table in write units, and LangGraph's checkpointer beside it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from behest_langchain import BehestCallbackHandler
from botocore.config import Config
from langchain_models import weather_agent
from langgraph_checkpoint_aws import DynamoDBSaver

from behest_core import interchange
from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.model.decoding import core_decoder
from behest_core.model.events import TextDelta
from behest_core.model.timestamps import now, to_datetime
from behest_core.recording.outbox import Outbox
from behest_core.testing import LocalStack
from tests.aws.conftest import Requests
from tests.benchmarks.whole_story import whole_story
from tests.docs.costs import units
from tests.golden import NO_AIRLINE_RUNS, airline_runs, golden_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.interchange import RunLine
    from behest_core.model.events import AnyEvent, EncodedEvent

EMIT_GOAL_US = 5.0
EMITS, ROUNDS = 5_000, 15
INTERVALS = (0.1, 0.25, 0.5, 1.0, 2.0)
DEFAULT_INTERVAL = 1.0
UNITS_GOAL = 60.0


# ---------------------------------------------------------------- the agent's thread


@pytest.mark.benchmark
def test_emit_on_the_agents_thread():
    with LocalStack() as stack, stack.store.recorder(provider="p", model="m", interval=3600) as run:
        run.flush()
        seen = sorted(_microseconds_of_an_emit(run) for _ in range(ROUNDS))
    print(f"\nemit: {seen[0]:.1f} us (goal {EMIT_GOAL_US:g}; up to {seen[-1]:.1f} in {ROUNDS} rounds of {EMITS:,})")


def _microseconds_of_an_emit(run: Any) -> float:
    began = time.perf_counter_ns()
    for _ in range(EMITS):
        run.emit(TextDelta(delta="Hello wor", timestamp=now()))
    took = time.perf_counter_ns() - began
    run.flush()
    return took / EMITS / 1000


# ---------------------------------------------------------------- the table


class _Table:
    """A DynamoDB client for an event table that takes everything and keeps nothing but the sizes."""

    def __init__(self) -> None:
        self.units = 0

    def put_item(self, *, Item: dict[str, Any], **_: Any) -> None:  # noqa: N803 (boto3's)
        self.units += _units_written(Item)

    def query(self, **_: Any) -> dict[str, Any]:
        return {"Items": []}


@pytest.mark.benchmark
def test_write_units_of_real_runs_at_their_own_times():
    if (file := airline_runs()) is None:
        pytest.skip(NO_AIRLINE_RUNS)
    runs = [interchange.read_run("airline_runs", number, line) for number, line in enumerate(golden_lines(file), 1)]
    bare = [[(event.timestamp, each) for event, each in zip(decoded(run), run.events, strict=True)] for run in runs]
    told = [whole_story(decoded(run)) for run in runs]
    counts = [sum(map(len, each)) for each in (bare, told)]
    print(f"\n{len(runs)} runs: write units per 1,000 events (goal {UNITS_GOAL:g} at {DEFAULT_INTERVAL} s)")
    print(f"  {'':4}   {counts[0]:,} events as the seed tells them, {counts[1]:,} with what models are sent and answer")
    for interval in INTERVALS:
        units = [
            sum(_replay(run, each, interval).units for run, each in zip(runs, how, strict=True)) for how in (bare, told)
        ]
        per_thousand = [1000 * used / events for used, events in zip(units, counts, strict=True)]
        print(f"  {interval:4} s {per_thousand[0]:6.1f} {per_thousand[1]:6.1f}")
        if interval == DEFAULT_INTERVAL:
            assert max(per_thousand) <= UNITS_GOAL


def decoded(run: RunLine) -> list[AnyEvent]:
    return [core_decoder.decode_one(event.raw) for event in run.events]


def _replay(run: RunLine, events: Sequence[tuple[str, EncodedEvent]], interval: float) -> _Table:
    """Record a run with the recorder's own packing, in the run's own time."""
    assert run.record is not None
    table, schedule = _Table(), _Schedule()
    log = EventLog(table, "events")  # type: ignore[arg-type]  # it has the methods that are called
    how: dict[str, Any] = {"give_up_after": 0, "on_error": "raise", "exit_wait": 0, "heartbeat": None}
    outbox = Outbox(log, run.record, schedule, interval=interval, **how)
    outbox.start()
    for moment, encoded in events:
        schedule.run_until(to_datetime(moment).timestamp(), outbox)
        outbox.put(encoded)
    schedule.run_until(float("inf"), outbox)
    assert outbox.last == len(events)
    return table


class _Schedule:
    """A writer without threads, in a time of its own."""

    def __init__(self) -> None:
        self._moment = 0.0
        self._due: float | None = None

    def now(self) -> float:
        return self._moment

    def open(self, _outbox: Outbox) -> None:
        pass

    def wake(self, _outbox: Outbox, at: float | None) -> None:
        if at is not None:
            self._due = at if self._due is None else min(at, self._due)

    def stepped(self, _outbox: Outbox, at: float | None) -> None:
        self._due = at

    def run_until(self, moment: float, outbox: Outbox) -> None:
        while self._due is not None and self._due <= moment:
            self._moment = max(self._due, self._moment)
            self._due = None
            outbox.step()
        self._moment = moment


# ---------------------------------------------------------------- beside it


@pytest.mark.benchmark
def test_what_recording_an_agent_writes_beside_langgraphs_dynamodb_checkpointer():
    with LocalStack() as stack:
        stack.dynamodb.create_table(
            TableName="checkpoints",
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
            BillingMode="PAY_PER_REQUEST",
        )
        checkpointer = DynamoDBSaver("checkpoints", region_name="us-east-1", boto_config=Config())
        theirs, ours = Requests(checkpointer.client), Requests(stack.dynamodb)
        for compiled, callbacks in [({"checkpointer": checkpointer}, []), ({}, [BehestCallbackHandler(stack.store)])]:
            config = {"configurable": {"thread_id": "alice"}, "callbacks": callbacks}
            answer = weather_agent(**compiled).invoke({"messages": [("user", "How warm is it in Oslo?")]}, config)
            assert answer["messages"][-1].content == "3 degrees."
    print("\nan agent with two model calls and a tool call")
    for name, requests in (("langgraph-checkpoint-aws", theirs), ("behest", ours)):
        made = Counter(operation for operation, _ in requests.made)
        items = [item for operation, params in requests.made for item in _items(operation, params)]
        print(f"  {name}: {dict(made)}, {len(items)} items, {sum(map(_units_written, items))} write units")


def _units_written(item: dict[str, Any]) -> int:
    return units(item) + (items.HOUR_SHARD in item)  # an entry of that index is one


def _items(operation: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    match operation:
        case "PutItem":
            return [params["Item"]]
        case "BatchWriteItem":
            return [each["PutRequest"]["Item"] for table in params["RequestItems"].values() for each in table]
        case _:
            return []
