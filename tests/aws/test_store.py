import pytest
from botocore.exceptions import ClientError

from behest_core import RunStore
from behest_core.errors import RunNotFoundError, RunParkedError, WaitTimeoutError
from behest_core.model.state import RunStatus
from tests.builders import at, custom, run_started, text_delta, whole_run


@pytest.fixture
def store(stack):
    return stack.store


class Clock:
    """A time that passes while one sleeps on it."""

    def __init__(self, meanwhile=lambda: None):
        self.time, self.meanwhile, self.pauses = 0.0, meanwhile, []

    def __call__(self):
        return self.time

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.time += seconds
        self.meanwhile()


def test_creating_with_the_same_client_request_id_returns_the_first_run(store):
    first = store.create_run(provider="openai", model="gpt-4o", client_request_id="order-7", metadata={"n": 1})
    again = store.create_run(provider="other", model="other", client_request_id="order-7")
    assert again == first == store.get_record(first.run_id)


def test_the_run_id_of_a_client_request_id_never_changes(store):
    run = store.create_run(provider="p", model="m", client_request_id="order-7")
    assert run.run_id == "33c3157d-d484-54de-90b4-0c3a4581c2c4"


def test_without_one_every_run_is_another_and_has_a_session_of_its_own(store):
    first, second = (store.create_run(provider="p", model="m") for _ in range(2))
    assert first.run_id != second.run_id
    assert first.session_id != second.session_id


def test_a_run_may_be_given_its_ids_and_its_time(store):
    run = store.create_run(provider="p", model="m", run_id="r", session_id="s", created_at=at(7))
    assert (run.run_id, run.session_id, run.created_at) == ("r", "s", at(7))


def test_a_run_that_is_not_there_is_an_error_with_its_id(store):
    for missing in (store.get_record, store.get_state):
        with pytest.raises(RunNotFoundError, match="nowhere"):
            missing("nowhere")
    assert list(store.events("nowhere")) == []
    assert store.get_states(["nowhere"]) == {}


def test_a_whole_run_goes_in_and_its_state_comes_out(stack, store):
    run = store.create_run(provider="openai", model="gpt-4o", session_id="s")
    last = store.append(run.run_id, [*whole_run(), custom()])
    stack.deliver()
    state = store.wait(run.run_id, last)
    assert (state.status, state.event_count) == (RunStatus.COMPLETED, 6)
    assert [each.sequence for each in store.events(run.run_id, after=4)] == [5, 6]
    assert store.get_states([run.run_id]) == {run.run_id: state}
    assert list(store.states(session_id="s")) == list(store.states(status=RunStatus.COMPLETED)) == [state]


def test_waiting_reads_until_the_state_has_come_as_far(stack, store):
    run = store.create_run(provider="openai", model="gpt-4o")
    last = store.append(run.run_id, [run_started()])
    clock = Clock(meanwhile=lambda: stack.deliver() if clock.time > 1 else None)
    state = store.wait(run.run_id, last, clock=clock, sleep=clock.sleep)
    assert state.sequence == last
    assert clock.pauses[:3] == [0.05, 0.1, 0.2]


def test_waiting_ends_at_its_timeout_and_says_how_far_the_state_is(store):
    clock = Clock()
    with pytest.raises(WaitTimeoutError) as caught:
        store.wait("r", 3, timeout=7, clock=clock, sleep=clock.sleep)
    assert (caught.value.expected, caught.value.actual, clock.time) == (3, 0, 7)


def test_waiting_for_a_parked_run_does_not_wait(stack, store):
    item = {"run_id": {"S": "r"}, "sequence": {"N": "1"}, "count": {"N": "1"}, "events": {"S": "nonsense"}}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)
    stack.deliver()
    with pytest.raises(RunParkedError, match="sequence 1"):
        store.wait("r", 1)


def test_healthy_tables_are_healthy(store):
    store.check_health()


def test_a_missing_table_is_not_healthy(stack):
    with pytest.raises(ClientError, match="ResourceNotFound"):
        RunStore("nowhere", stack.state_table, client=stack.dynamodb).check_health()


def test_without_a_client_boto3_makes_one(stack):
    store = RunStore(stack.event_table, stack.state_table)
    assert store.append("r", [run_started(), text_delta()]) == 2
