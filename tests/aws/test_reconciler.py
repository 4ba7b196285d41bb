import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import MalformedError
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.model.agent_events import Heartbeat
from behest_core.model.state import RunStatus
from behest_core.model.timestamps import canonical, from_datetime
from behest_core.projection.catch_up import CatchUp
from behest_core.projection.lost_batch import LostBatch
from behest_core.projection.reconciler import Reconciler, Silence
from tests.aws.test_projector import raiser, throttled
from tests.builders import (
    RUN,
    at,
    commit,
    deploy_reducer,
    model_started,
    poison,
    record_commit,
    run_record,
    run_started,
    text_delta,
    whole_run,
)

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Outage:
    """Tables whose stream nobody reads; `log` writes at the time `now`."""

    def __init__(self, stack):
        self.stack, self.now = stack, NOW - 3 * HOUR
        self.log = EventLog(stack.dynamodb, stack.event_table, now=lambda: self.now)
        self.catch_up = CatchUp(stack.store.event_log, stack.store.state_table, now=lambda: NOW)
        self.reconciler = Reconciler(stack.store.event_log, stack.store.state_table, self.catch_up, now=lambda: NOW)

    def write(self, run_id, *events, record=True):
        if record:
            self.log.create(run_record(run_id))
        self.log.append(run_id, events or [run_started()])

    def folded(self):
        """Return how many runs have a state."""
        return sum(not state.is_blank for state in self.stack.store.states())

    def sweep(self, lookback=4 * HOUR, silence=Silence(HOUR), **more):  # noqa: B008 (it doesn't change)
        return self.reconciler.sweep(lookback=lookback, silence=silence, **more)


@pytest.fixture
def outage(stack):
    return Outage(stack)


def test_after_a_day_without_projector_one_sweep_makes_every_run_right(outage, stack):
    outage.now = NOW - 30 * HOUR
    outage.write("old-and-known")
    outage.catch_up.fold("old-and-known")
    for n in range(25):
        outage.now = NOW - (25 - n) * HOUR
        outage.write(f"run-{n}", *whole_run())
    outage.write("without-record", *whole_run(), record=False)
    outage.write("old-and-known", *whole_run()[1:], record=False)
    report = outage.sweep(lookback=26 * HOUR)
    assert (report.lagging, report.caught_up, report.is_complete) == (27, 27, True)
    assert len(list(stack.store.states(status=RunStatus.COMPLETED))) == 27
    assert outage.sweep().lagging == 0


def test_a_late_event_of_a_finished_run_is_found(outage, stack):
    outage.write(RUN, *whole_run())
    outage.catch_up.fold(RUN)
    outage.write(RUN, text_delta(), record=False)
    assert outage.sweep().lagging == 1
    assert stack.store.get_state(RUN).event_count == 6


@pytest.mark.parametrize("metadata", [{"a": 1}, None])
@pytest.mark.parametrize("events", [[run_started()], whole_run()])
def test_a_record_that_came_late_and_was_lost_is_found(outage, stack, events, metadata):
    record = run_record(RUN, metadata=metadata)
    outage.write(RUN, *events, record=False)
    outage.catch_up.fold(RUN)
    outage.log.create(record)
    assert outage.sweep().caught_up == 1
    state = stack.store.get_state(RUN)
    assert (state.metadata, state.created_at) == (metadata, canonical(record.created_at))
    assert outage.sweep().lagging == 0


def test_a_late_record_of_a_lost_batch_is_folded(outage, stack):
    outage.write(RUN, record=False)
    outage.catch_up.fold(RUN)
    outage.log.create(run_record(RUN, metadata={"a": 1}))
    outage.reconciler.recover(LostBatch.from_message(lost(stack, first=-1)), streams(stack))
    assert stack.store.get_state(RUN).metadata == {"a": 1}


def test_an_active_run_is_found_however_old_it_is(outage, stack):
    outage.now = NOW - 900 * HOUR
    outage.write(RUN)
    outage.catch_up.fold(RUN)
    outage.write(RUN, text_delta(), record=False)
    assert outage.sweep(lookback=HOUR).caught_up == 1
    assert stack.store.get_state(RUN).event_count == 2


def test_a_run_begun_before_the_lookback_is_not_looked_at(outage):
    outage.now = NOW - 5 * HOUR
    outage.write(RUN)
    assert outage.sweep(lookback=4 * HOUR).checked == 0


def test_what_was_written_within_the_last_minute_is_on_its_way(outage):
    outage.now = NOW - timedelta(seconds=30)
    outage.write(RUN)
    assert (outage.sweep().checked, outage.sweep().lagging) == (1, 0)


def test_an_active_run_that_has_not_moved_is_stuck_and_a_finished_one_is_not(outage):
    outage.write("active", run_started())
    outage.write("finished", *whole_run())
    outage.sweep()
    report = outage.sweep()
    assert (report.stuck, report.lagging, report.checked) == (1, 0, 2)


def test_a_run_that_has_a_record_and_nothing_else_for_long_is_stuck(outage):
    outage.log.create(run_record("no-events"))
    outage.sweep()
    assert outage.sweep().stuck == 1


def paused(outage):
    outage.write(RUN, run_started(), {"type": "agent.Paused", "reason": "approval", "pending": [], "timestamp": at(2)})
    outage.sweep()


def test_a_run_that_waits_for_somebody_is_not_stuck_until_it_goes_on(outage):
    paused(outage)
    assert outage.sweep(silence=EXPIRE).stuck == 0
    outage.write(RUN, model_started(), record=False)
    outage.sweep()
    assert outage.sweep().stuck == 1


def test_a_heartbeat_is_a_sign_of_life(outage):
    outage.write(RUN, run_started())
    outage.now = NOW - timedelta(minutes=10)
    outage.write(RUN, Heartbeat(timestamp=from_datetime(outage.now)), record=False)
    outage.catch_up.fold(RUN)
    assert (outage.sweep().stuck, outage.sweep(silence=Silence(timedelta(minutes=5))).stuck) == (0, 1)


def test_an_old_event_that_was_appended_just_now_is_a_sign_of_life(outage):
    outage.now = NOW - timedelta(minutes=10)
    outage.write(RUN, run_started())
    outage.catch_up.fold(RUN)
    assert outage.sweep().stuck == 0


# ---------------------------------------------------------------- runs that are given an end

EXPIRE = Silence(HOUR, 2 * HOUR)


def test_a_stuck_run_is_left_as_it_is_unless_it_is_to_expire(outage, stack):
    outage.write(RUN)
    outage.catch_up.fold(RUN)
    for silence in (Silence(HOUR), Silence(HOUR, 4 * HOUR)):
        report = outage.sweep(silence=silence)
        assert (report.stuck, report.expired) == (1, 0)
    assert len(list(stack.store.events(RUN))) == 1


def test_a_run_that_has_been_stuck_for_long_is_failed_and_says_since_when(outage, stack):
    outage.write(RUN)
    outage.catch_up.fold(RUN)
    report = outage.sweep(silence=EXPIRE)
    assert (report.stuck, report.expired) == (1, 1)
    outage.catch_up.fold(RUN)
    state = stack.store.get_state(RUN)
    assert (state.status, state.last_error) == (RunStatus.FAILED, "no sign of life since 2026-02-01T09:00:00.000000Z")
    assert outage.sweep(silence=EXPIRE).stuck == 0


def test_a_run_of_which_there_is_a_record_only_expires_too(outage, stack):
    outage.log.create(run_record(RUN))
    outage.sweep()
    assert outage.sweep(silence=EXPIRE).expired == 1
    outage.catch_up.fold(RUN)
    assert stack.store.get_state(RUN).status is RunStatus.FAILED


def test_a_run_that_moves_while_it_is_looked_at_goes_on(outage, stack, requests):
    outage.write(RUN)
    outage.catch_up.fold(RUN)
    requests.before("PutItem", lambda: outage.write(RUN, text_delta(), record=False))
    report = outage.sweep(silence=EXPIRE)
    assert (report.stuck, report.expired, report.troubles) == (1, 0, [])
    assert [each.event.delta for each in list(stack.store.events(RUN))[1:]] == [text_delta().delta]


def test_a_run_that_is_not_folded_to_its_end_is_folded_and_does_not_expire(outage):
    outage.write(RUN)
    outage.catch_up.fold(RUN)
    outage.write(RUN, text_delta(), record=False)
    report = outage.sweep(silence=EXPIRE)
    assert (report.caught_up, report.stuck, report.expired) == (1, 0, 0)


def test_a_parked_run_is_counted_and_left_alone_until_its_version_is_gone(outage, stack, monkeypatch):
    for each in (record_commit(), poison(1)):
        stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(each))
    outage.catch_up.fold(RUN)
    report = outage.sweep()
    assert (report.parked, report.lagging) == (1, 0)
    deploy_reducer(monkeypatch, REDUCER_VERSION + 1)
    assert outage.sweep().lagging == 1
    assert stack.store.get_state(RUN).parked.version == REDUCER_VERSION + 1


def test_a_deleted_run_is_left_alone(outage, stack):
    outage.write(RUN)
    stack.store.delete_run(RUN)
    assert outage.sweep().lagging == 0


def test_a_state_item_that_something_else_broke_stops_no_sweep_and_is_folded_again(outage, stack):
    outage.write(RUN)
    outage.write("other")
    outage.catch_up.fold(RUN)
    broken = items.state_to_item(stack.store.get_state(RUN)) | {"event_count": {"S": "many"}}
    stack.dynamodb.put_item(TableName=stack.state_table, Item=broken)
    assert outage.sweep().caught_up == 2
    assert stack.store.get_state(RUN).event_count == 1


def test_many_active_runs_keep_a_lost_one_waiting_no_longer_than_their_number(outage, stack):
    for n in range(10):
        outage.write(f"run-{n}")
    outage.sweep()
    outage.write("lost")
    left = iter([60] * 100 + [1])
    outage.now = NOW - 100 * HOUR
    assert outage.sweep(lookback=4 * HOUR, remaining=lambda: next(left)).caught_up == 1
    assert stack.store.get_state("lost").event_count == 1


def test_what_was_begun_last_is_looked_at_first(outage, stack):
    for hours in range(12, 0, -1):
        outage.now = NOW - hours * HOUR
        for n in range(4):
            outage.write(f"{hours}-hours-old-{n}", *whole_run())
    left = iter([60.0] * 66)  # two for each run, and a few for each lot
    report = outage.sweep(lookback=24 * HOUR, remaining=lambda: next(left, 0))
    folded = {state.run_id for state in stack.store.states()}
    assert not report.is_complete
    assert {f"1-hours-old-{n}" for n in range(4)} < folded
    assert not {f"12-hours-old-{n}" for n in range(4)} & folded


def test_runs_are_looked_at_side_by_side_and_folded_one_after_the_other(outage, stack, monkeypatch):
    """A run that kills the process that folds it is alone in that: nobody else is taken for deadly."""
    for n in range(40):
        outage.write(f"run-{n}", *whole_run())
    fold, folding, most = outage.catch_up.fold, [], []

    def watched(run_id, *how, **more):
        folding.append(run_id)
        most.append(len(folding))
        try:
            return fold(run_id, *how, **more)
        finally:
            folding.remove(run_id)

    monkeypatch.setattr(outage.catch_up, "fold", watched)
    looking, together = threading.Barrier(4, timeout=30), []
    tail = stack.store.event_log.tail

    def looked_at(run_id):
        if not together:
            looking.wait()  # four threads meet here
            together.append(run_id)
        return tail(run_id)

    monkeypatch.setattr(stack.store.event_log, "tail", looked_at)
    with ThreadPoolExecutor(4) as pool:
        side_by_side = Reconciler(
            stack.store.event_log, stack.store.state_table, outage.catch_up, spread=pool.map, now=lambda: NOW
        )
        report = side_by_side.sweep(lookback=4 * HOUR, silence=Silence(HOUR))
    assert (report.checked, report.lagging, report.caught_up, report.is_complete) == (40, 40, 40, True)
    assert len(most) == 40
    assert max(most) == 1


def test_a_look_at_a_run_that_is_right_is_one_request(outage, requests):
    def made(runs):
        for n in range(runs):
            outage.write(f"{runs}-{n}", *whole_run())
            outage.catch_up.fold(f"{runs}-{n}")
        requests.made.clear()
        assert outage.sweep().lagging == 0
        return Counter(name for name, _ in requests.made)

    few, more = made(1), made(50)
    assert more - few == Counter(Query=50)


def test_a_sweep_that_runs_out_of_time_says_so(outage):
    for n in range(5):
        outage.write(f"run-{n}")
    report = outage.sweep(remaining=lambda: 60 if outage.folded() < 2 else 1)
    assert (report.is_complete, report.caught_up) == (False, 2)


def test_a_run_that_cannot_be_folded_now_is_reported(outage, requests):
    outage.write(RUN)
    requests.before("PutItem", raiser(throttled("PutItem")))
    report = outage.sweep()
    assert (report.is_complete, report.caught_up) == (False, 0)
    assert [each.kind for each in report.troubles] == ["unfinished"]


# ---------------------------------------------------------------- lost batches


def streams(stack):
    return stack._source._client


def lost(stack, first=0, last=-1):
    """Return the message about a batch of the event table's stream."""
    arn = stack.dynamodb.describe_table(TableName=stack.event_table)["Table"]["LatestStreamArn"]
    [shard] = streams(stack).describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams(stack).get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    numbers = [
        each["dynamodb"]["SequenceNumber"]
        for each in streams(stack).get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    ]
    info = {
        "streamArn": arn,
        "shardId": shard["ShardId"],
        "startSequenceNumber": numbers[first],
        "endSequenceNumber": numbers[last],
    }
    return json.dumps({"requestContext": {}, "DDBStreamBatchInfo": info})


def test_the_runs_of_a_lost_batch_are_found_in_the_stream_and_folded(outage, stack):
    for n in range(4):
        outage.write(f"run-{n}")
    batch = LostBatch.from_message(lost(stack, first=2, last=5))
    report = outage.reconciler.recover(batch, streams(stack))
    assert (report.runs, report.was_found, report.is_complete) == (2, True, True)
    assert {state.run_id for state in stack.store.states()} == {"run-1", "run-2"}


@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_a_batch_that_the_stream_no_longer_has_is_left_to_the_sweep(outage, stack, monkeypatch, code):
    outage.write(RUN)
    batch = LostBatch.from_message(lost(stack))
    gone = ClientError({"Error": {"Code": code, "Message": "gone"}}, "GetRecords")
    monkeypatch.setattr(streams(stack), "get_records", lambda **_: raiser(gone)())
    report = outage.reconciler.recover(batch, streams(stack))
    assert (report.was_found, report.runs, report.is_complete) == (False, 0, True)
    assert outage.sweep().caught_up == 1


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"DDBStreamBatchInfo": null}', '{"DDBStreamBatchInfo": {}}'])
def test_a_message_of_something_else_is_malformed(body):
    with pytest.raises(MalformedError):
        LostBatch.from_message(body)


def test_a_projector_that_always_fails_loses_nothing(stack, outage):
    broken = CatchUp(stack.store.event_log, stack.store.state_table)
    stack.mapping.handler = lambda *_: raiser(RuntimeError("broken"))()
    outage.write(RUN, *whole_run())
    stack.deliver()
    assert stack.failures
    for message in stack.failures:
        outage.reconciler.recover(LostBatch.from_message(json.dumps(message)), streams(stack))
    assert stack.store.get_state(RUN).status is RunStatus.COMPLETED
    assert broken.fold(RUN).saves == 0


def test_commits_other_than_a_runs_first_are_in_no_index():
    assert "hour_shard" in items.commit_to_item(commit(1, text_delta()))
    assert "hour_shard" not in items.commit_to_item(commit(2, text_delta()))
