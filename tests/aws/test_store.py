import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from behest_core import RunStore
from behest_core.errors import (
    ConfigurationError,
    IncompleteLogError,
    InvalidValueError,
    RunDeletedError,
    RunExistsError,
    RunNotFoundError,
    RunParkedError,
    StateNotFoundError,
    WaitTimeoutError,
)
from behest_core.model.state import RunStatus
from tests.builders import at, custom, run_started, text_delta, whole_run
from tests.cli import create_stack
from tests.operating import folded_run, parked_run, put_broken_state, truncated_run
from tests.unit.test_extension import dispatch


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
    assert store.append("r", [run_started(), text_delta()], create=True) == 2


# ---------------------------------------------------------------- finding the tables


@pytest.fixture
def folded(stack, store):
    """Return the store with one folded run."""
    store.create_run(provider="openai", model="gpt-4o", run_id="r", created_at=at(0))
    store.append("r", whole_run())
    stack.deliver()
    return store


@pytest.mark.usefixtures("folded")
def test_the_environment_names_the_tables():
    assert RunStore.from_env().get_state("r").event_count == 5


@pytest.mark.usefixtures("folded")
def test_a_stack_names_the_tables(stack, monkeypatch):
    create_stack("mine", EventTableName=stack.event_table, StateTableName=stack.state_table)
    monkeypatch.delenv("BEHEST_EVENT_TABLE")
    monkeypatch.delenv("BEHEST_STATE_TABLE")
    store = RunStore.from_stack("mine")
    assert store.get_state("r").event_count == 5
    assert (store.event_log.table, store.state_table.table) == (stack.event_table, stack.state_table)


def test_commits_expire_where_a_store_is_told_so(stack):
    RunStore.from_env(expire_after=timedelta(days=30)).append("r", [run_started()], create=True)
    [item] = stack.dynamodb.scan(TableName=stack.event_table)["Items"]
    assert "expires_at" in item


@pytest.mark.usefixtures("stack")
def test_what_is_missing_to_reach_the_tables_is_a_configuration_error(monkeypatch):
    with pytest.raises(ConfigurationError, match="there is no stack nobodys in us-east-1; check the name"):
        RunStore.from_stack("nobodys")
    monkeypatch.setenv("BEHEST_STATE_TABLE", "gone")
    with pytest.raises(ConfigurationError, match="the state table gone doesn't exist in us-east-1"):
        RunStore.from_env().get_state("r")
    monkeypatch.delenv("BEHEST_EVENT_TABLE")
    with pytest.raises(ConfigurationError, match="BEHEST_EVENT_TABLE is not set; set it as well, or name the stack"):
        RunStore.from_env()


# ---------------------------------------------------------------- a state as it was


def test_a_state_is_what_it_was_at_a_sequence_or_a_time(folded):
    assert folded.state_at("r", sequence=5) == replace(folded.get_state("r"), revision=0)
    for sequence, status in ((0, RunStatus.PENDING), (1, RunStatus.SESSION_LOADED), (4, RunStatus.CALLING_MODEL)):
        at_sequence, at_time = folded.state_at("r", sequence=sequence), folded.state_at("r", time=at(sequence))
        assert at_sequence == at_time
        assert (at_sequence.sequence, at_sequence.event_count, at_sequence.status) == (sequence, sequence, status)
    assert folded.state_at("r", time=datetime(2027, 1, 1, tzinfo=UTC)).sequence == 5


def test_slices_are_folded_with_it_where_their_extensions_are_given(folded):
    assert folded.state_at("r", sequence=3).extensions == {}
    assert folded.state_at("r", sequence=3, dispatch=dispatch()).extensions["words"].state["count"] == 1


def test_a_state_that_there_never_was_is_an_error(folded):
    with pytest.raises(StateNotFoundError, match="run r has no sequence 6: its log ends at 5"):
        folded.state_at("r", sequence=6)
    with pytest.raises(StateNotFoundError, match="run r began after 2020-"):
        folded.state_at("r", time="2020-01-01T00:00:00Z")
    with pytest.raises(RunNotFoundError, match="nowhere"):
        folded.state_at("nowhere", sequence=0)
    folded.delete_run("r")
    with pytest.raises(RunDeletedError):
        folded.state_at("r", sequence=1)


def test_what_is_asked_for_is_a_sequence_or_a_time(folded):
    for wrong in ({}, {"sequence": 1, "time": at(1)}):
        with pytest.raises(TypeError, match="a sequence or a time"):
            folded.state_at("r", **wrong)
    with pytest.raises(InvalidValueError, match="sequence: expected 0 or more, got -1"):
        folded.state_at("r", sequence=-1)
    with pytest.raises(ValueError, match="RFC 3339"):
        folded.state_at("r", time="noon")


def test_a_log_whose_beginning_has_expired_has_no_past(stack, store):
    truncated_run(stack, "r")
    with pytest.raises(IncompleteLogError, match="lacks the events from sequence 1 to 5"):
        store.state_at("r", sequence=6)


# ---------------------------------------------------------------- a state item that can't be read


@pytest.fixture
def broken(stack):
    """Return the stack with three runs, one of whose states something else than behest broke."""
    for run_id in ("run-1", "run-2", "run-3"):
        folded_run(stack, run_id)
    put_broken_state(stack, "run-2")
    return stack


def test_a_broken_state_item_leaves_a_list_whole_and_is_told(broken, store):
    told = []
    wanted = {"unreadable": told.append}
    for found in (
        store.states(**wanted),
        store.states(status=RunStatus.COMPLETED, **wanted),
        store.get_states(["run-1", "run-2", "run-3", "nowhere"], **wanted).values(),
    ):
        assert sorted(state.run_id for state in found) == ["run-1", "run-3"]
    assert [error.run_id for error in told] == ["run-2"] * 3
    assert "state item: Expected `int`, got `str` - at `$.iteration`" in str(told[0])


def test_a_broken_state_item_is_logged_where_nobody_asks(broken, store, caplog):
    assert len(list(store.states())) == 2
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["left out of a list"]


def test_a_broken_state_item_leaves_the_list_of_parked_runs_whole(stack, store):
    for run_id in ("run-1", "run-2"):
        parked_run(stack, run_id)
    put_broken_state(stack, "run-2")
    told = []
    assert [state.run_id for state in store.parked_states(unreadable=told.append)] == ["run-1"]
    assert [error.run_id for error in told] == ["run-2"]


def test_a_status_may_be_given_by_its_name(stack, store):
    folded_run(stack, "r")
    assert [state.run_id for state in store.states(status="completed")] == ["r"]
    assert list(store.states(status="FAILED")) == []


def test_a_status_that_there_is_none_of_is_refused_at_once(store):
    with pytest.raises(InvalidValueError, match=r"status: 'running' is none; there are Pending, .*Failed"):
        store.states(status="running")


def test_what_a_query_finds_can_be_gone_through_again_and_is_true_where_there_is_any(stack, store):
    assert not store.states()
    folded_run(stack, "r")
    found = store.states()
    assert found
    assert [state.run_id for state in found] == [state.run_id for state in found] == ["r"]
    assert repr(found) == "<states of runs: go through them with `for`, or use list(…)>"


def test_appending_to_a_run_that_is_not_there_is_refused_unless_it_is_to_begin_one(store):
    with pytest.raises(RunNotFoundError, match=r"there is no run r; create_run makes it, and append with create=True"):
        store.append("r", [run_started()])
    assert list(store.events("r")) == []
    assert store.append("r", [run_started()], create=True) == 1
    assert store.append("r", [text_delta()]) == 2


def test_that_a_run_is_there_is_asked_by_no_request_of_its_own(store, requests):
    run = store.create_run(provider="p", model="m")
    store.append(run.run_id, [run_started()])
    store.append(run.run_id, [text_delta()])
    assert [name for name, _ in requests.made] == ["PutItem", "Query", "PutItem", "PutItem"]


def test_a_type_that_is_mistyped_is_refused_before_anything_is_written(store):
    run = store.create_run(provider="p", model="m")
    mistyped = custom(type_="TextDlta")
    with pytest.raises(InvalidValueError, match=r"no event type 'TextDlta'; .* dotted name"):
        store.append(run.run_id, [text_delta(), mistyped])
    assert list(store.events(run.run_id)) == []
    assert store.append(run.run_id, [mistyped], allow_unknown=True) == 1


def test_creating_a_run_twice_says_all_that_differs(store):
    store.create_run(provider="p", model="m", run_id="r", session_id="s", created_at=at(1))
    with pytest.raises(RunExistsError, match="another session_id, model and metadata") as caught:
        store.create_run(provider="p", model="n", run_id="r", session_id="t", metadata=1, created_at=at(1))
    assert caught.value.fields == ["session_id", "model", "metadata"]


def test_what_there_is_of_a_run_is_json_when_asked(stack, store):
    folded_run(stack, "r")
    state, event = store.get_state("r"), next(iter(store.events("r")))
    assert state.to_dict()["total_usage"]["total_tokens"] == state.total_usage.total_tokens
    assert json.loads(state.to_json()) == state.to_dict()
    assert event.to_dict()["event"] == event.event.to_dict() == json.loads(event.raw)
    assert store.get_record("r").to_dict()["id"] == store.transcript("r").to_dict()["run_id"] == "r"


def test_an_unknown_event_is_json_with_all_its_fields(store):
    run = store.create_run(provider="p", model="m")
    store.append(run.run_id, [custom()])
    assert [each.event.to_dict() for each in store.events(run.run_id)] == [custom()]


def test_what_prints_says_what_it_is(stack, store):
    folded_run(stack, "r")
    assert repr(store) == f"RunStore('{stack.event_table}', '{stack.state_table}')"
    assert repr(store.event_log) == f"EventLog('{stack.event_table}')"
    assert repr(store.state_table) == f"StateTable('{stack.state_table}')"
    shown = repr(store.get_state("r"))
    assert "run_id='r'" in shown
    assert "guard" not in shown
