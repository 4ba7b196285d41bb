"""One run's own trouble: what DynamoDB refuses of it, and a log that no longer reaches back."""

import pytest
from botocore.exceptions import ClientError

from behest_core.dynamodb import items
from behest_core.errors import LogTruncatedError
from behest_core.model.record import RunRecord
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.projector import Projector
from tests.aws.test_projector import LOG, raiser
from tests.builders import (
    RUN,
    at,
    commit,
    deploy_reducer,
    model_started,
    raw_commit,
    record_commit,
    run_record,
    run_started,
    text_delta,
)


@pytest.fixture
def projector(stack):
    return Projector(stack.store.event_log, stack.store.state_table)


def refused():
    return ClientError({"Error": {"Code": "ValidationException", "Message": "no"}}, "PutItem")


def test_a_state_that_dynamodb_refuses_parks_its_run_and_the_batch_goes_on(projector, put, stack, requests):
    records = put(*LOG, record_commit(run_record("run-2")))
    requests.before("PutItem", raiser(refused()))
    report = projector.project(records)
    assert report.first_unfinished is None
    assert [(each.kind, each.run_id, each.error) for each in report.troubles] == [
        ("parked", RUN, "ValidationException")
    ]
    assert stack.store.get_state(RUN).parked.error == "ValidationException"
    assert stack.store.get_state("run-2").parked is None


def test_where_parking_is_refused_too_the_batch_succeeds_and_the_trouble_is_told(projector, put, stack, requests):
    records = put(*LOG)
    requests.made.clear()

    def refuse_twice():
        requests.before("PutItem", raiser(refused()))
        raise refused()

    requests.before("PutItem", refuse_twice)
    report = projector.project(records)
    assert (report.first_unfinished, [each.kind for each in report.troubles]) == (None, ["parked"])
    assert len(requests.named("PutItem")) == 2
    assert stack.store.state_table.get(RUN) is None


@pytest.mark.parametrize("field", ["created_at", "updated_at"])
def test_a_record_with_a_time_of_two_megabytes_parks_its_run_alone(projector, put, stack, field):
    text = b'{"session_id":"s","provider":"p","model":"m","created_at":"%b","updated_at":"%b","metadata":null}'
    times = {"created_at": at(0), "updated_at": at(0)} | {field: "2" * 300_000}
    record = raw_commit(0, 1, text % (times["created_at"].encode(), times["updated_at"].encode()))
    report = projector.project(put(record, record_commit(run_record("run-2"))))
    assert report.first_unfinished is None
    assert stack.store.get_state(RUN).parked.error == "MalformedRecordError"
    assert stack.store.get_state("run-2").parked is None


def test_a_run_whose_record_expired_first_keeps_what_the_record_said(projector, put, stack, monkeypatch):
    first = model_started(0)
    record = RunRecord(run_id=RUN, session_id="s", provider="p", model="m", created_at=at(0))
    projector.project(put(record_commit(record), commit(1, first)))
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": RUN}, "sequence": {"N": "0"}})
    before = stack.store.get_state(RUN)
    catch_up = CatchUp(stack.store.event_log, stack.store.state_table)
    with pytest.raises(LogTruncatedError):
        catch_up.fold(RUN, Fold.AGAIN)
    assert stack.store.get_state(RUN) == before
    deploy_reducer(monkeypatch, 2)
    projector.project(put(commit(2, text_delta())))
    after = stack.store.get_state(RUN)
    assert (after.session_id, after.provider, after.model, after.sequence) == ("s", "p", "m", 2)


def test_a_deleted_run_that_raises_what_nobody_thought_of_does_not_stop_the_batch(projector, put, stack, monkeypatch):
    tombstones = [
        {
            "eventName": "INSERT",
            "dynamodb": {
                "Keys": {name: item[name] for name in ("run_id", "sequence")},
                "NewImage": item,
                "SequenceNumber": "1",
            },
        }
        for item in items.tombstone_items("run-2", at(9))
    ]
    for tombstone in tombstones:
        stack.dynamodb.put_item(TableName=stack.event_table, Item=tombstone["dynamodb"]["NewImage"])
    monkeypatch.setattr(stack.store.state_table, "bury", lambda *_: raiser(RuntimeError("secret"))())
    report = projector.project([*tombstones, *put(record_commit())])
    assert [(each.kind, each.run_id, each.error, each.message) for each in report.troubles] == [
        ("raised", "run-2", "RuntimeError", "")
    ]
    assert (report.first_unfinished, report.deleted, stack.store.get_state(RUN).sequence) == (None, 2, 0)


def test_a_run_that_raises_what_nobody_thought_of_does_not_stop_the_batch(projector, put, stack, requests):
    records = put(*LOG, record_commit(run_record("run-2")), commit(1, run_started(), run_id="run-2"))
    requests.before("PutItem", raiser(RuntimeError("secret")))
    report = projector.project(records)
    assert [(each.kind, each.run_id, each.error, each.message) for each in report.troubles] == [
        ("raised", RUN, "RuntimeError", "")
    ]
    assert stack.store.get_state("run-2").event_count == 1
