"""What one run does to a sweep, or to a lost batch: nothing."""

from types import SimpleNamespace

import pytest

from behest_core.projection.lost_batch import LostBatch
from tests.aws.test_reconciler import Outage
from tests.builders import RUN, commit, text_delta, whole_run

BATCH = LostBatch("stream", "shard", "1", "2")


@pytest.fixture
def outage(stack):
    return Outage(stack)


def break_one(outage, monkeypatch, error):
    fold = outage.catch_up.fold

    def folding(run_id, *arguments, **more):
        if run_id == "hostile":
            raise error
        return fold(run_id, *arguments, **more)

    monkeypatch.setattr(outage.catch_up, "fold", folding)


def test_a_run_that_raises_does_not_stop_a_sweep(outage, stack, monkeypatch):
    for run_id in ("a", "hostile", "z"):
        outage.write(run_id, *whole_run())
    break_one(outage, monkeypatch, RuntimeError("secret"))
    report = outage.sweep()
    assert [(each.kind, each.run_id, each.message) for each in report.troubles] == [("raised", "hostile", "")]
    assert report.caught_up == 2
    assert set(stack.store.get_states(["a", "hostile", "z"])) == {"a", "z"}


def test_a_run_that_raises_does_not_stop_a_lost_batch(outage, stack, monkeypatch):
    for run_id in ("a", "hostile", "z"):
        outage.write(run_id, *whole_run())
    break_one(outage, monkeypatch, RuntimeError("secret"))
    records = [
        {"dynamodb": {"Keys": {"run_id": {"S": run_id}, "sequence": {"N": "1"}}, "SequenceNumber": number}}
        for number, run_id in (("1", "hostile"), ("1", "a"), ("2", "z"))
    ]
    streams = SimpleNamespace(
        get_shard_iterator=lambda **_: {"ShardIterator": "i"}, get_records=lambda **_: {"Records": records}
    )
    report = outage.reconciler.recover(BATCH, streams)
    assert [(each.kind, each.run_id) for each in report.troubles] == [("raised", "hostile")]
    assert set(stack.store.get_states(["a", "hostile", "z"])) == {"a", "z"}


def test_a_sweep_over_a_gap_writes_nothing_and_counts_it_as_no_success(outage, put, requests):
    outage.write(RUN, text_delta())
    outage.catch_up.fold(RUN)
    put(commit(5, text_delta()))
    requests.made.clear()
    for _ in range(2):
        report = outage.sweep()
        assert (report.lagging, report.caught_up) == (1, 0)
        assert [(each.kind, each.sequence) for each in report.troubles] == [("gap", 2)]
    assert requests.named("PutItem") == []
