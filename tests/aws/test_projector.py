import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from msgspec.structs import replace

from behest_core.fold.rules import fold
from behest_core.model.state import RunState, RunStatus
from behest_core.projection.projector import Projector, memory_of
from tests.builders import (
    RUN,
    commit,
    model_started,
    poison,
    record_commit,
    record_of,
    run_completed,
    run_record,
    run_started,
    text_delta,
    usage_recorded,
)


@pytest.fixture
def projector(stack):
    return Projector(stack.store.event_log, stack.store.state_table)


def names(requests):
    return [name for name, _ in requests.made]


LOG = [
    record_commit(),
    commit(1, run_started(), model_started()),
    commit(3, usage_recorded(), text_delta()),
    commit(5, run_completed()),
]


def test_a_batch_becomes_one_state_per_run(projector, put, stack):
    records = put(*LOG, record_commit(run_record("run-2")), commit(1, run_started(), run_id="run-2"))
    report = projector.project(records)
    assert (report.records, report.runs, report.events, report.saves) == (6, 2, 6, 2)
    assert (report.first_unfinished, report.troubles) == (None, [])
    assert stack.store.get_state(RUN).status is RunStatus.COMPLETED
    assert stack.store.get_state("run-2").status is RunStatus.SESSION_LOADED


def test_cold_it_reads_states_in_one_request_and_no_log(projector, put, requests):
    records = put(*LOG)
    requests.made.clear()
    projector.project(records)
    assert names(requests) == ["BatchGetItem", "PutItem"]


def test_warm_it_writes_once_per_run_and_batch_and_reads_nothing(projector, put, requests):
    projector.project(put(*LOG[:2]))
    records = put(*LOG[2:])
    requests.made.clear()
    projector.project(records)
    assert names(requests) == ["PutItem"]


def test_duplicates_are_counted_and_written_nowhere(projector, put, requests):
    records = put(*LOG)
    projector.project(records)
    requests.made.clear()
    report = projector.project(records)
    assert (report.events, report.duplicates, report.saves) == (0, 6, 0)
    assert names(requests) == []


def test_whatever_part_of_the_log_arrives_in_whatever_order_the_state_is_that_of_the_log(projector, put, stack):
    records = put(*LOG)
    report = projector.project([records[2]])
    assert (report.log_reads, report.events) == (1, 5)
    assert stack.store.get_state(RUN).total_usage.input_tokens == 10
    projector.project([records[3], records[1]])
    assert stack.store.get_state(RUN).sequence == 5


def test_commits_of_a_batch_are_folded_in_order_whatever_theirs_is(projector, put, requests):
    records = put(*LOG)
    requests.made.clear()
    projector.project(records[::-1])
    assert names(requests) == ["BatchGetItem", "PutItem"]


def test_a_run_without_record_is_folded_from_its_events(projector, put, stack):
    assert projector.project(put(*LOG[1:])).log_reads == 1
    state = stack.store.get_state(RUN)
    assert (state.session_id, state.status) == ("session-1", RunStatus.COMPLETED)


def test_a_record_that_arrives_after_its_events_completes_the_state(projector, put, stack):
    projector.project(put(*LOG[1:]))
    projector.project(put(record_commit(run_record(metadata={"a": 1}))))
    state = stack.store.get_state(RUN)
    assert (state.metadata, state.sequence, state.status) == ({"a": 1}, 5, RunStatus.COMPLETED)


# ---------------------------------------------------------------- other writers


def test_a_save_that_meets_another_writer_is_decided_again(projector, put, stack, requests):
    projector.project(put(*LOG[:1]))
    records = put(*LOG[1:])
    requests.before("PutItem", lambda: Projector(stack.store.event_log, stack.store.state_table).project(records[:1]))
    report = projector.project(records)
    assert (report.conflicts, report.saves, report.events) == (1, 1, 3)
    assert stack.store.get_state(RUN).total_usage.input_tokens == 10


def test_a_process_that_wakes_up_late_overwrites_nothing(stack, put):
    asleep, awake = (Projector(stack.store.event_log, stack.store.state_table) for _ in range(2))
    records = put(*LOG)
    asleep.project(records[:2])
    awake.project(records)
    report = asleep.project(records[2:3])
    assert (report.conflicts, report.saves) == (1, 0)
    assert stack.store.get_state(RUN).status is RunStatus.COMPLETED


def test_a_save_whose_answer_is_lost_is_settled_and_counted_once(projector, put, stack, requests):
    records = put(*LOG)
    requests.lose_answer_of("PutItem")
    report = projector.project(records)
    assert (report.first_unfinished, report.saves) == (None, 0)
    assert stack.store.get_state(RUN).total_usage.input_tokens == 10


def test_a_state_item_that_was_deleted_is_folded_again(projector, put, stack):
    projector.project(put(*LOG[:2]))
    stack.dynamodb.delete_item(TableName=stack.state_table, Key={"run_id": {"S": RUN}})
    projector.project(put(*LOG[2:]))
    assert stack.store.get_state(RUN).event_count == 5


def test_a_state_item_that_something_else_broke_is_folded_again(projector, put, stack):
    stack.dynamodb.put_item(TableName=stack.state_table, Item={"run_id": {"S": RUN}, "sequence": {"S": "x"}})
    projector.project(put(*LOG))
    assert stack.store.get_state(RUN).event_count == 5


# ---------------------------------------------------------------- poison


def test_a_malformed_event_parks_its_run_and_the_batch_succeeds(projector, put, stack):
    report = projector.project(put(*LOG, poison(6), record_commit(run_record("run-2"))))
    assert report.first_unfinished is None
    [trouble] = report.troubles
    assert (trouble.kind, trouble.run_id, trouble.sequence, trouble.error) == ("parked", RUN, 7, "MalformedEventError")
    assert "secret" not in trouble.message
    parked = stack.store.get_state(RUN)
    assert (parked.sequence, parked.parked.sequence) == (6, 7)
    assert parked.parked.parked_at.endswith("Z")
    assert stack.store.get_state("run-2").parked is None


def test_a_parked_run_costs_nothing_when_more_arrives(projector, put, requests):
    projector.project(put(*LOG, poison(6)))
    records = put(commit(9, text_delta()))
    requests.made.clear()
    report = projector.project(records)
    assert (names(requests), report.troubles, report.duplicates) == ([], [], 0)


def test_an_item_that_is_no_commit_parks_its_run(projector, stack):
    item = {"run_id": {"S": RUN}, "sequence": {"N": "1"}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    broken = {"eventName": "INSERT", "dynamodb": {"Keys": item, "NewImage": item, "SequenceNumber": "1"}}
    assert [each.kind for each in projector.project([broken]).troubles] == ["parked"]
    assert stack.store.get_state(RUN).parked.sequence == 1


# ---------------------------------------------------------------- tampering and gaps


def test_changes_of_the_log_are_reported_and_never_folded(projector, put, stack):
    [record, *_] = put(*LOG)
    keys = record["dynamodb"]["Keys"]
    misplaced = keys | {"sequence": {"N": "1.5"}}
    report = projector.project(
        [
            record | {"eventName": "MODIFY"},
            {"eventName": "REMOVE", "dynamodb": {"Keys": keys, "SequenceNumber": "2"}},
            {"eventName": "INSERT", "dynamodb": {"Keys": misplaced, "NewImage": misplaced, "SequenceNumber": "3"}},
        ]
    )
    assert {each.error for each in report.troubles} == {"modified", "removed", "misplaced"}
    assert {each.kind for each in report.troubles} == {"tampered"}
    assert list(stack.store.states()) == []


def test_deletes_by_ttl_are_expected(projector, put):
    [record, *_] = put(*LOG)
    expired = record | {
        "eventName": "REMOVE",
        "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    }
    report = projector.project([expired])
    assert (report.expired, report.troubles) == (1, [])


def test_a_log_that_lacks_events_is_folded_up_to_there_and_reported(projector, put, stack):
    report = projector.project(put(*LOG[:2], commit(9, text_delta())))
    assert [(each.kind, each.sequence) for each in report.troubles] == [("gap", 3)]
    assert report.first_unfinished is None
    assert stack.store.get_state(RUN).sequence == 2


# ---------------------------------------------------------------- trouble with AWS


def throttled(operation):
    return ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)


def raiser(error):
    def raise_it():
        raise error

    return raise_it


@pytest.mark.parametrize("error", [throttled("BatchGetItem"), ReadTimeoutError(endpoint_url="https://dynamodb")])
def test_if_states_cannot_be_read_the_whole_batch_is_unfinished(projector, put, requests, error):
    records = put(*LOG, record_commit(run_record("run-2")))
    requests.before("BatchGetItem", raiser(error))
    report = projector.project(records)
    assert report.first_unfinished == records[0]["dynamodb"]["SequenceNumber"]
    assert {each.kind for each in report.troubles} == {"unfinished"}
    assert projector.project(records).first_unfinished is None


def test_a_save_that_is_throttled_leaves_its_run_unfinished_and_finishes_the_others(projector, put, stack, requests):
    records = put(record_commit(run_record("run-0")), *LOG, record_commit(run_record("run-2")))
    requests.before("PutItem", lambda: requests.before("PutItem", raiser(throttled("PutItem"))))
    report = projector.project(records)
    assert report.first_unfinished == records[1]["dynamodb"]["SequenceNumber"]
    assert [(each.run_id, each.error) for each in report.troubles] == [(RUN, "ThrottlingException")]
    assert set(stack.store.get_states(["run-0", RUN, "run-2"])) == {"run-0", "run-2"}
    assert projector.project(records[1:]).first_unfinished is None
    assert stack.store.get_state(RUN).event_count == 5


def test_a_log_that_cannot_be_read_leaves_its_run_unfinished_and_unparked(projector, put, stack, requests):
    records = put(*LOG)
    requests.before("Query", raiser(throttled("Query")))
    report = projector.project(records[2:])
    assert report.first_unfinished == records[2]["dynamodb"]["SequenceNumber"]
    assert list(stack.store.states()) == []


def test_before_the_deadline_it_stops_and_reports_the_rest(projector, put, stack):
    records = put(*(record_commit(run_record(f"run-{n}")) for n in range(5)))
    left = iter([60, 30, 1, 1, 1])
    report = projector.project(records, lambda: next(left))
    assert report.first_unfinished == records[2]["dynamodb"]["SequenceNumber"]
    assert report.saves == 2
    assert {each.error for each in report.troubles} == {"Deadline"}
    assert projector.project(records[2:]).first_unfinished is None
    assert len(list(stack.store.states())) == 5


def test_a_long_log_is_folded_in_several_calls_if_it_must_be(projector, put, stack):
    records = put(*LOG)
    left = iter([60, 60, 60, 1])
    report = projector.project(records[3:], lambda: next(left))
    assert (report.first_unfinished, report.events) == (records[3]["dynamodb"]["SequenceNumber"], 2)
    assert projector.project(records[3:]).first_unfinished is None
    assert stack.store.get_state(RUN).event_count == 5


# ---------------------------------------------------------------- side by side


def test_runs_are_saved_side_by_side(stack, put):
    records = put(*(record_commit(run_record(f"run-{n}")) for n in range(30)))
    with ThreadPoolExecutor(8) as pool:
        report = Projector(stack.store.event_log, stack.store.state_table, spread=pool.map).project(records)
    assert (report.saves, report.first_unfinished) == (30, None)


@pytest.mark.parametrize(
    "metadata",
    [[[n] for n in range(4_500)], {str(n): n for n in range(4_000)}, {"text": "x" * 120_000}, None],
    ids=["lists", "numbers by name", "one text", "none"],
)
def test_a_state_takes_no_more_memory_than_is_reckoned(metadata):
    encoded = msgspec.json.encode(metadata)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        state = RunState(run_id=RUN, provider="openai", model="gpt-4o", metadata=msgspec.json.decode(encoded))
        assert tracemalloc.get_traced_memory()[0] - before < memory_of(state)
    finally:
        tracemalloc.stop()


def test_the_states_that_stay_in_memory_are_bounded_by_what_they_take_there(stack):
    largest = run_record(metadata={"small": [[n] for n in range(4_500)]})
    room_for_two = 5 * memory_of(fold(None, [record_commit(largest)]).state) // 2
    projector = Projector(stack.store.event_log, stack.store.state_table, kept_bytes=room_for_two)
    for n in range(4):
        record = record_commit(replace(largest, run_id=f"run-{n}"))
        assert projector.project([record_of(record)]).saves == 1
    assert len(projector._kept) == 2


def test_small_states_stay_in_memory_by_the_thousand(stack):
    projector = Projector(stack.store.event_log, stack.store.state_table)
    projector.project([record_of(record_commit(run_record(f"run-{n}"))) for n in range(1_100)])
    assert len(projector._kept) == 1_100


# ---------------------------------------------------------------- the function


def test_the_deployed_handler_folds_what_agents_append(stack):
    record = stack.store.create_run(provider="openai", model="gpt-4o", metadata={"a": 1})
    stack.store.append(record.run_id, [run_started(), usage_recorded()])
    stack.deliver()
    state = stack.store.get_state(record.run_id)
    assert state == replace(fold(None, stack.store.event_log.commits(record.run_id)).state, revision=state.revision)
    assert (state.status, state.total_usage.total_tokens) == (RunStatus.SESSION_LOADED, 15)


def test_the_deployed_handler_counts_a_parked_run_and_logs_it_without_payload(stack, put):
    put(record_commit(), poison(1))
    stack.deliver()
    assert stack.failures == []
    output = "".join(stack.output.lines)
    assert '"RunsParked"' in output
    assert '"run_id":"run-1"' in output
    assert "secret" not in output


def test_the_deployed_handler_names_the_first_unfinished_record_and_lambda_comes_back(stack, put, requests):
    put(*LOG)
    requests.before("PutItem", raiser(throttled("PutItem")))
    stack.deliver()
    assert stack.store.get_state(RUN).event_count == 5
