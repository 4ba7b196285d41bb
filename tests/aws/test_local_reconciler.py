"""The template's reconciler in the local stack: the schedule and the failure queue reach the real handler."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from behest_core.dynamodb.event_table import EventLog
from behest_core.fold.rules import replay
from behest_core.model.state import RunStatus
from behest_core.projection import catch_up
from behest_core.projection.one_run import OneRun
from behest_core.projection.reconciler import Reconciler
from behest_core.testing import FunctionKilled, LocalStack, MappingSettings, Template
from tests.aws.test_projector import raiser, throttled
from tests.builders import poison, run_failed, run_record, run_started, text_delta, usage_recorded, whole_run

RUNS = 9
SECRET = "the patient's name"


@pytest.fixture
def stack():
    with LocalStack(template=Template(parameters={"MaximumRetryAttempts": 2})) as stack:
        yield stack


@pytest.fixture
def log(stack):
    """Return a log that writes as if it were some hours ago, so that nothing is taken to be on its way."""
    return EventLog(stack.dynamodb, stack.event_table, now=lambda: datetime.now(UTC) - timedelta(hours=3))


@pytest.fixture
def runs(log):
    """Write runs of all kinds: finished, failed, under way; return the events of each by run id."""
    runs = {}
    for n in range(RUNS):
        runs[f"run-{n}"] = [
            whole_run(),
            [run_started(), usage_recorded(), run_failed()],
            [run_started(), text_delta(delta=SECRET), usage_recorded()],
        ][n % 3]
    for run_id, events in runs.items():
        log.create(run_record(run_id))
        log.append(run_id, events)
    return runs


def wrong(stack, runs):
    """Return the runs whose state isn't the plain fold of their log."""
    states = stack.store.get_states(runs)
    return [
        run_id
        for run_id, events in runs.items()
        if run_id not in states or content(states[run_id]) != content(replay(run_record(run_id), run_id, [events]))
    ]


def content(state):
    return {name: getattr(state, name) for name in state.__struct_fields__ if name not in {"revision", "commit_id"}}


def never(*_):
    raise RuntimeError("broken")


def metrics(stack, service="behest-reconciler"):
    """Return what a function counted, by metric."""
    counted = {}
    for line in map(json.loads, stack.output.lines):
        if "_aws" in line and line["service"] == service:
            [directive] = line["_aws"]["CloudWatchMetrics"]
            for metric in directive["Metrics"]:
                counted.setdefault(metric["Name"], []).extend(line[metric["Name"]])
    return {name: sum(values) for name, values in counted.items()}


# ---------------------------------------------------------------- lost batches


def test_what_a_projector_that_always_fails_leaves_is_recovered_from_the_failure_queue(stack, runs):
    stack.mapping.handler = never
    stack.deliver()
    assert len(wrong(stack, runs)) == RUNS
    assert stack.recover() == len(stack.failures) > 0
    assert wrong(stack, runs) == []
    assert stack.sweep()["RunsLagging"] == 0


def test_the_queue_hands_out_what_could_not_be_recovered_again(stack, runs, monkeypatch):
    stack.mapping.handler = never
    stack.deliver()
    with monkeypatch.context() as patched:
        patched.setattr("behest_core.dynamodb.state_table.StateTable.save", lambda *_: raiser(throttled("PutItem"))())
        assert stack.recover() == 0
    assert stack.recover() == len(stack.failures)
    assert wrong(stack, runs) == []
    assert stack.recover() == 0


@pytest.mark.usefixtures("runs")
def test_a_message_whose_part_of_the_stream_cannot_be_read_keeps_no_other_waiting(stack, monkeypatch):
    stack.mapping.handler = never
    stack.deliver()
    message = stack.failures[0]
    stack._reconciler.queue[:] = [message, message]
    recover, calls = Reconciler.recover, []

    def first_refused(self, batch, streams, *, remaining):
        calls.append(batch)
        if len(calls) == 1:
            raise throttled("GetRecords")
        return recover(self, batch, streams, remaining=remaining)

    monkeypatch.setattr(Reconciler, "recover", first_refused)
    assert stack.recover() == 1
    assert len(stack._reconciler.queue) == 1
    assert stack.recover() == 1


@pytest.mark.filterwarnings("ignore:No application metrics")  # a killed process would publish none, and not say so
def test_a_reconciler_that_is_killed_leaves_its_messages_in_the_queue(stack, runs, monkeypatch):
    stack.mapping.handler = never
    stack.deliver()
    with monkeypatch.context() as patched:
        patched.setattr(EventLog, "commits", lambda *_, **__: raiser(FunctionKilled("out of memory"))())
        with pytest.raises(FunctionKilled):
            stack.recover()
    assert stack.recover() == len(stack.failures)
    assert wrong(stack, runs) == []


@pytest.mark.filterwarnings("ignore:No application metrics")
def test_a_run_that_kills_every_process_is_parked_and_the_others_are_recovered(stack, runs, monkeypatch):
    stack.mapping.handler = never
    stack.deliver()
    read = OneRun.read

    def deadly(self, work, *how):
        if work.run_id == "run-1":
            raise FunctionKilled("out of memory")
        return read(self, work, *how)

    monkeypatch.setattr(OneRun, "read", deadly)
    # as long as a message of the queue is not handed out again: tests/unit/test_deployment.py
    monkeypatch.setattr(catch_up, "_LONGEST_FOLD", timedelta(0))
    receives = 0
    while stack._reconciler.queue:
        receives += 1
        try:
            stack.recover()
        except FunctionKilled:
            continue
    assert receives == 4  # the failure queue hands out more often than that: tests/unit/test_deployment.py
    assert stack.store.get_state("run-1").parked.error == "ProcessKilled"
    assert wrong(stack, runs) == ["run-1"]


def test_a_message_of_something_else_is_counted_and_done_with(stack):
    stack._reconciler.queue.append({"not": "a failure record"})
    assert stack.recover() == 1
    assert metrics(stack) == {"MalformedMessages": 1}


# ---------------------------------------------------------------- sweeps


def test_what_a_stream_that_nobody_read_has_lost_is_found_by_one_sweep(stack, runs):
    projector = stack.mapping.handler
    stack.mapping.handler = lambda *_: {"batchItemFailures": []}  # a day without a projector: the records are gone
    stack.deliver()
    stack.mapping.handler = projector
    assert len(wrong(stack, runs)) == RUNS
    report = stack.sweep()
    assert (report["RunsLagging"], report["RunsCaughtUp"], report["SweepsCutShort"]) == (RUNS, RUNS, 0)
    assert wrong(stack, runs) == []
    assert stack.sweep()["RunsLagging"] == 0


def test_what_was_lost_long_ago_is_found_by_a_sweep_that_is_told_to_look_back_so_far(stack):
    long_ago = EventLog(stack.dynamodb, stack.event_table, now=lambda: datetime.now(UTC) - timedelta(hours=80))
    long_ago.append("run-1", whole_run())
    assert stack.sweep()["RunsChecked"] == 0
    assert stack.sweep(lookback_hours=81)["RunsCaughtUp"] == 1
    assert stack.store.get_state("run-1").status is RunStatus.COMPLETED


def test_a_sweep_counts_parked_and_stuck_runs(stack, log):
    log.create(run_record("stuck"))
    log.append("stuck", [run_started()])
    log._put(poison(1, run_id="parked"))
    stack.deliver()
    report = stack.sweep()
    assert (report["ParkedRuns"], report["RunsStuck"], report["RunsLagging"]) == (1, 1, 0)


def test_a_stack_that_is_told_to_ends_stuck_runs_and_the_projector_folds_that():
    with LocalStack(template=Template(parameters={"ExpireStuckAfterMinutes": 60})) as stack:
        log = EventLog(stack.dynamodb, stack.event_table, now=lambda: datetime.now(UTC) - timedelta(hours=2))
        log.create(run_record("stuck"))
        log.append("stuck", [run_started()])
        stack.deliver()
        report = stack.sweep()
        assert (report["RunsStuck"], report["StuckRunsExpired"]) == (1, 1)
        stack.deliver()
        assert stack.store.get_state("stuck").status is RunStatus.FAILED


def test_a_sweep_beside_background_delivery_changes_nothing_that_is_right(runs, stack):
    with stack.running():
        for _ in range(3):
            stack.sweep()
    assert wrong(stack, runs) == []


# ---------------------------------------------------------------- what it says


@pytest.mark.usefixtures("runs")
def test_the_reconcilers_metrics_are_its_own_and_count_what_it_did(stack):
    stack.mapping.handler = never
    stack.deliver()
    stack.recover()
    stack.sweep()
    counted = metrics(stack)
    assert counted["LostBatches"] == len(stack.failures)
    assert counted["RunsRecovered"] >= RUNS
    assert counted["RunsChecked"] == RUNS
    assert metrics(stack, "behest-projector") == {}


@pytest.mark.usefixtures("runs")
def test_nothing_of_what_is_in_an_event_is_written_to_the_log(stack, log):
    log.append("run-0", [text_delta(delta=SECRET)])
    log._put(poison(1, run_id="parked"))
    stack.mapping.handler = never
    stack.deliver()
    stack.recover()
    stack.sweep()
    said = "\n".join(stack.output.lines)
    assert '"run_id":"parked"' in said.replace(" ", "")
    assert SECRET not in said
    assert "secret" not in said
    assert "unreached" not in said


@pytest.mark.filterwarnings("ignore:No application metrics")
def test_the_reconciler_runs_with_its_own_variables_and_leaves_the_projectors(stack, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "behest_core.projection.reconciler.Reconciler.sweep",
        lambda *_, **given: seen.update(given) or raiser(KeyError)(),
    )
    with pytest.raises(KeyError):
        stack.sweep()
    reconciler = Template().function("ReconcilerFunction")
    assert seen["lookback"] == timedelta(hours=float(reconciler.environment["BEHEST_LOOKBACK_HOURS"]))
    assert seen["silence"] == (timedelta(minutes=float(reconciler.environment["BEHEST_STUCK_AFTER_MINUTES"])), None)
    assert seen["remaining"]() == pytest.approx(reconciler.timeout_seconds, abs=30)


def test_the_failure_queue_of_the_projector_is_the_one_that_the_reconciler_reads():
    template = Template()
    [mapping] = template.function("ProjectorFunction").mappings
    [queue] = template.function("ReconcilerFunction").queues
    assert queue.queue == mapping.failure_destination == "FailureQueue"


def test_a_stack_whose_settings_lose_no_batch_has_an_empty_queue():
    with LocalStack(settings=MappingSettings(batch_size=10)) as stack:
        stack.store.event_log.append("run-1", whole_run())
        stack.deliver()
        assert stack.recover() == 0
