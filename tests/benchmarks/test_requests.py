"""What the projector asks of DynamoDB: requests by operation, cold and warm."""

from __future__ import annotations

from collections import Counter

import pytest

from behest_core.dynamodb import items
from behest_core.projection.projector import Projector
from behest_core.testing import LocalStack
from tests.aws.conftest import Requests
from tests.builders import commit, record_commit, run_record, run_started, text_delta

RUNS, BATCHES, COMMITS = 250, 4, 3


@pytest.mark.benchmark
def test_requests_of_the_projector_cold_and_warm():
    with LocalStack() as stack:
        requests = Requests(stack.dynamodb)
        projector = Projector(stack.store.event_log, stack.store.state_table)
        made = [requests_of(projector, requests, batch) for batch in range(BATCHES)]
    cold, *warm = made
    print(f"\n{RUNS} runs, {COMMITS} commits each in a batch: cold {dict(cold)}, warm {dict(warm[0])}")
    assert cold == Counter(BatchGetItem=-(-RUNS // 100), PutItem=RUNS)
    assert warm == [Counter(PutItem=RUNS)] * (BATCHES - 1)


def requests_of(projector: Projector, requests: Requests, batch: int) -> Counter[str]:
    commits = [record_commit(run_record(f"run-{n}")) for n in range(RUNS)] if batch == 0 else []
    for n in range(RUNS):
        for each in range(COMMITS):
            sequence = (batch * COMMITS + each) * 2 + 1
            commits.append(commit(sequence, run_started(), text_delta(), run_id=f"run-{n}"))
    records = [
        {"eventName": "INSERT", "dynamodb": {"NewImage": items.commit_to_item(each), "SequenceNumber": str(place)}}
        for place, each in enumerate(commits)
    ]
    requests.made.clear()
    assert projector.project(records).first_unfinished is None
    return Counter(name for name, _ in requests.made)
