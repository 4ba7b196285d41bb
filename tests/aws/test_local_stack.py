"""The local stack: template.yaml's tables on moto, its projector behind the model of the stream mapping."""

import inspect
import io
import json
import os
import subprocess
import sys
import threading
import urllib.request
import uuid
from urllib.error import HTTPError, URLError

import boto3
import pytest
from botocore.exceptions import ClientError

from behest_core.errors import ConfigurationError
from behest_core.testing import FunctionKilled, LocalStack, MappingNotIdleError, MappingSettings, Template
from behest_core.testing.local_stack import BackgroundDeliveryError

WAIT = 10
"""Seconds after which a test that waits for a thread has failed."""


class Recorder:
    """A handler that keeps the records it got."""

    def __init__(self, answer=None):
        self.records = []
        self.calls = 0
        self.answer = answer

    def __call__(self, event, _context):
        self.calls += 1
        self.records += event["Records"]
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    @property
    def sequences(self):
        return [record["dynamodb"]["Keys"]["sequence"]["N"] for record in self.records]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def stack(recorder):
    with LocalStack(handler=recorder) as stack:
        yield stack


def put(stack, sequence, run_id="r", **more):
    item = {"run_id": {"S": run_id}, "sequence": {"N": str(sequence)}, **more}
    stack.dynamodb.put_item(TableName=stack.event_table, Item=item)


def started():
    return {
        "type": "RunStarted",
        "timestamp": "2026-01-01T00:00:00Z",
        "session_id": "s",
        "provider": "p",
        "model": "m",
    }


def completed():
    return {"type": "RunCompleted", "timestamp": "2026-01-01T00:00:01Z", "finish_reason": "Stop", "iterations": 1}


# ---------------------------------------------------------------------------------------------- what it is made of


def test_the_tables_are_those_of_the_template(stack):
    events = stack.dynamodb.describe_table(TableName=stack.event_table)["Table"]
    states = stack.dynamodb.describe_table(TableName=stack.state_table)["Table"]
    assert [key["AttributeName"] for key in events["KeySchema"]] == ["run_id", "sequence"]
    assert events["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    assert events["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert {index["IndexName"] for index in states["GlobalSecondaryIndexes"]} == {
        "by_session",
        "by_status",
        "by_parked",
        "by_waiting",
    }
    assert states["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    expiry = stack.dynamodb.describe_time_to_live(TableName=stack.event_table)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_the_mapping_has_the_templates_settings(stack):
    (mapping,) = Template().function("ProjectorFunction").mappings
    assert stack.mapping.settings == mapping.settings
    assert stack.mapping.function.timeout_seconds == Template().function("ProjectorFunction").timeout_seconds


def test_settings_and_parameters_can_be_chosen(recorder):
    with LocalStack(handler=recorder, template=Template(parameters={"BatchSize": 3})) as stack:
        assert stack.mapping.settings.batch_size == 3
    with LocalStack(handler=recorder, settings=MappingSettings(batch_size=4)) as stack:
        assert stack.mapping.settings.batch_size == 4


def test_the_environment_is_that_of_the_function_and_is_put_back(monkeypatch, recorder):
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    monkeypatch.setenv("BEHEST_EVENT_TABLE", "mine")
    monkeypatch.delenv("AWS_REGION", raising=False)
    before = dict(os.environ)
    with LocalStack(handler=recorder) as stack:
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_ENDPOINT_URL" not in os.environ
        assert os.environ["BEHEST_EVENT_TABLE"] == stack.event_table
        assert os.environ["BEHEST_STATE_TABLE"] == stack.state_table
        assert os.environ["AWS_LAMBDA_FUNCTION_NAME"] == "behest-ProjectorFunction"
        assert os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] == "disabled"
        assert stack.event_table in boto3.client("dynamodb").list_tables()["TableNames"]
    assert dict(os.environ) == before


def test_a_stack_begins_empty_after_another_one(recorder):
    for _ in range(2):
        with LocalStack(handler=recorder) as stack:
            assert stack.dynamodb.scan(TableName=stack.event_table)["Count"] == 0
            put(stack, 1)


def test_a_stack_that_cannot_start_leaves_nothing_behind(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(Template().path.read_text())
    before = dict(os.environ)
    with pytest.raises(ConfigurationError, match=r"app\.py"), LocalStack(template=Template(path)):
        pytest.fail("it started without a handler")
    assert dict(os.environ) == before


# ---------------------------------------------------------------------------------------------- the stream


def test_records_have_lambdas_shape(stack, recorder):
    put(
        stack,
        1,
        text={"S": "ü"},
        data={"B": b"\x00\xff"},
        deep={"M": {"set": {"BS": [b"a"]}, "list": {"L": [{"NULL": True}]}}},
    )
    stack.deliver()
    (record,) = recorder.records
    data = record["dynamodb"]
    assert set(record) == {
        "eventID",
        "eventName",
        "eventVersion",
        "eventSource",
        "awsRegion",
        "dynamodb",
        "eventSourceARN",
    }
    assert record["eventName"] == "INSERT"
    assert record["eventSource"] == "aws:dynamodb"
    assert record["eventSourceARN"].split(":")[:4] == ["arn", "aws", "dynamodb", record["awsRegion"]]
    assert f"table/{stack.event_table}/stream/" in record["eventSourceARN"]
    assert data["Keys"] == {"run_id": {"S": "r"}, "sequence": {"N": "1"}}
    assert data["NewImage"] == data["Keys"] | {
        "text": {"S": "ü"},
        "data": {"B": "AP8="},
        "deep": {"M": {"set": {"BS": ["YQ=="]}, "list": {"L": [{"NULL": True}]}}},
    }
    assert data["StreamViewType"] == "NEW_IMAGE"
    assert isinstance(data["SequenceNumber"], str)
    assert isinstance(data["ApproximateCreationDateTime"], float)
    assert data["ApproximateCreationDateTime"] % 1 == 0
    assert json.loads(json.dumps(record)) == record


def test_records_arrive_once_each_and_in_order(stack, recorder):
    for sequence in range(1, 30):
        put(stack, sequence)
        if sequence % 7 == 0:
            stack.deliver()
    stack.deliver()
    assert recorder.sequences == [str(sequence) for sequence in range(1, 30)]


def test_more_than_a_page_of_records_arrives(recorder):
    with LocalStack(handler=recorder, settings=MappingSettings(batch_size=10_000)) as stack:
        for start in range(1, 2002, 25):
            requests = [
                {"PutRequest": {"Item": {"run_id": {"S": "r"}, "sequence": {"N": str(start + offset)}}}}
                for offset in range(25)
            ]
            stack.dynamodb.batch_write_item(RequestItems={stack.event_table: requests})
        stack.deliver()
    assert len(recorder.records) == 2025
    assert recorder.sequences == [str(sequence) for sequence in range(1, 2026)]


def test_a_modification_and_a_deletion_say_so(stack, recorder):
    put(stack, 1)
    put(stack, 1, more={"S": "x"})
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": "r"}, "sequence": {"N": "1"}})
    stack.deliver()
    assert [record["eventName"] for record in recorder.records] == ["INSERT", "MODIFY", "REMOVE"]
    assert "NewImage" not in recorder.records[2]["dynamodb"]
    assert all("userIdentity" not in record for record in recorder.records)


def test_an_update_that_creates_an_item_is_one_record_as_on_dynamodb(stack, recorder):
    for sequence in (1, 2):
        stack.dynamodb.update_item(
            TableName=stack.event_table,
            Key={"run_id": {"S": "r"}, "sequence": {"N": str(sequence)}},
            UpdateExpression="SET committed_at = :now",
            ExpressionAttributeValues={":now": {"S": "2026-01-01"}},
        )
    stack.deliver()
    assert recorder.sequences == ["1", "2"]
    assert all("committed_at" in record["dynamodb"]["NewImage"] for record in recorder.records)


def test_an_item_that_is_created_again_after_its_deletion_is_two_records(stack, recorder):
    key = {"run_id": {"S": "r"}, "sequence": {"N": "1"}}
    put(stack, 1)
    stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)
    put(stack, 1)
    stack.deliver()
    assert [record["eventName"] for record in recorder.records] == ["INSERT", "REMOVE", "INSERT"]


def test_expired_commits_are_deleted_by_dynamodb_itself(stack, recorder):
    put(stack, 1, expires_at={"N": "1000"})
    put(stack, 2, expires_at={"N": "3000"})
    put(stack, 3)
    assert stack.expire(now=2000) == 1
    stack.deliver()
    removed = recorder.records[-1]
    assert (removed["eventName"], recorder.sequences[-1]) == ("REMOVE", "1")
    assert removed["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert stack.dynamodb.scan(TableName=stack.event_table)["Count"] == 2


def test_a_deletion_after_an_expiry_is_somebodys_own_again(stack, recorder):
    put(stack, 1, expires_at={"N": "1000"})
    stack.expire(now=2000)
    put(stack, 1)
    stack.deliver()
    stack.dynamodb.delete_item(TableName=stack.event_table, Key={"run_id": {"S": "r"}, "sequence": {"N": "1"}})
    stack.deliver()
    assert ["userIdentity" in record for record in recorder.records] == [False, True, False, False]


# ---------------------------------------------------------------------------------------------- delivering


def test_what_is_given_up_is_in_the_failure_queue():
    failing = Recorder(RuntimeError("always"))
    with LocalStack(handler=failing, settings=MappingSettings(maximum_retry_attempts=1)) as stack:
        put(stack, 1)
        assert stack.deliver() == 2
        (failure,) = stack.failures
    assert failure["DDBStreamBatchInfo"]["batchSize"] == 1
    assert failure["requestContext"]["functionArn"].endswith(":function:behest-ProjectorFunction")


def test_a_function_that_always_fails_ends_the_delivery_with_an_error():
    with LocalStack(handler=Recorder(RuntimeError("always")), settings=MappingSettings()) as stack:
        put(stack, 1)
        with pytest.raises(MappingNotIdleError, match="always"):
            stack.deliver(deliveries=30)


def test_records_are_delivered_in_the_background(recorder):
    arrived = threading.Event()

    def handler(event, context):
        recorder(event, context)
        arrived.set()

    with LocalStack(handler=handler, settings=MappingSettings()) as stack, stack.running():
        put(stack, 1)
        assert arrived.wait(WAIT)
        assert recorder.sequences == ["1"]


def test_leaving_delivers_what_still_waits(recorder):
    with LocalStack(handler=recorder, settings=MappingSettings(batching_window_seconds=300)) as stack:
        with stack.running():
            put(stack, 1)
            assert recorder.records == []
        assert recorder.sequences == ["1"]
    assert "behest-delivery" not in [thread.name for thread in threading.enumerate()]


def test_an_error_of_the_delivery_itself_reaches_whoever_leaves(stack, monkeypatch):
    def broken():
        raise RuntimeError("no stream")

    monkeypatch.setattr(stack.mapping, "step", broken)
    with pytest.raises(BackgroundDeliveryError, match="no stream"), stack.running():
        pass


def test_an_error_of_the_body_is_not_replaced_by_one_of_the_delivery(stack, monkeypatch):
    monkeypatch.setattr(stack.mapping, "drain", lambda **_: pytest.fail("delivered after an error"))
    with pytest.raises(KeyError), stack.running():
        raise KeyError


def test_a_function_that_does_not_come_back_is_reported(monkeypatch):
    monkeypatch.setattr("behest_core.testing.local_stack._STOP_SECONDS", 0.05)
    called, release = threading.Event(), threading.Event()

    def stuck(_event, _context):
        called.set()
        release.wait(WAIT)

    with LocalStack(handler=stuck, settings=MappingSettings()) as stack:
        put(stack, 1)
        with pytest.raises(BackgroundDeliveryError, match="not come back"), stack.running():
            called.wait(WAIT)
        release.set()
        next(thread for thread in threading.enumerate() if thread.name == "behest-delivery").join(WAIT)


# ---------------------------------------------------------------------------------------------- threads


def race(count, attempt):
    """Let `count` threads attempt the same thing at once and return what they did."""
    barrier, results = threading.Barrier(count), []

    def run(number):
        barrier.wait(WAIT)
        results.append(attempt(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(results) == count
    return results


def put_once(client, table, run_id, number):
    try:
        client.put_item(
            TableName=table,
            Item={"run_id": {"S": run_id}, "sequence": {"N": "1"}, "by": {"N": str(number)}},
            ConditionExpression="attribute_not_exists(run_id)",
        )
    except client.exceptions.ConditionalCheckFailedException:
        return None
    return str(number)


def test_of_many_threads_that_put_the_same_new_item_exactly_one_wins(stack, recorder):
    runs = [f"r{number}" for number in range(25)]
    for run_id in runs:
        winners = [
            winner
            for winner in race(
                8, lambda number, run_id=run_id: put_once(stack.dynamodb, stack.event_table, run_id, number)
            )
            if winner is not None
        ]
        key = {"run_id": {"S": run_id}, "sequence": {"N": "1"}}
        item = stack.dynamodb.get_item(TableName=stack.event_table, Key=key)["Item"]
        assert winners == [item["by"]["N"]]
    stack.deliver()
    assert [record["dynamodb"]["Keys"]["run_id"]["S"] for record in recorder.records] == runs


def test_of_many_threads_that_increment_a_counter_on_condition_none_is_lost(stack):
    key = {"run_id": {"S": "r"}}
    stack.dynamodb.put_item(TableName=stack.state_table, Item={**key, "revision": {"N": "0"}})

    def increment(_number):
        while True:
            seen = stack.dynamodb.get_item(TableName=stack.state_table, Key=key, ConsistentRead=True)["Item"][
                "revision"
            ]
            try:
                stack.dynamodb.update_item(
                    TableName=stack.state_table,
                    Key=key,
                    UpdateExpression="SET revision = :next",
                    ConditionExpression="revision = :seen",
                    ExpressionAttributeValues={":seen": seen, ":next": {"N": str(int(seen["N"]) + 1)}},
                )
            except stack.dynamodb.exceptions.ConditionalCheckFailedException:
                continue
            return

    for _ in range(5):
        race(8, increment)
    assert stack.dynamodb.get_item(TableName=stack.state_table, Key=key)["Item"]["revision"] == {"N": "40"}


# ---------------------------------------------------------------------------------------------- other processes


def test_another_process_uses_the_same_tables_through_the_endpoint(stack, recorder):
    put(stack, 1)
    script = """
        import boto3, json, os
        client = boto3.client("dynamodb")
        table = os.environ["BEHEST_EVENT_TABLE"]
        assert client.get_item(TableName=table, Key={"run_id": {"S": "r"}, "sequence": {"N": "1"}})["Item"]
        client.put_item(TableName=table, Item={"run_id": {"S": "r"}, "sequence": {"N": "2"}, "data": {"B": b"\\xff"}})
        try:
            client.describe_table(TableName="nowhere")
        except client.exceptions.ResourceNotFoundException:
            print(len(boto3.client("dynamodbstreams").list_streams()["Streams"]))
    """
    with stack.serving() as environment:
        done = subprocess.run(
            [sys.executable, "-c", "if True:" + script],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.stdout.strip(), done.stderr) == ("2", "")
    stack.deliver()
    assert recorder.sequences == ["1", "2"]
    assert recorder.records[1]["dynamodb"]["NewImage"]["data"] == {"B": "/w=="}


def test_calls_over_http_and_in_process_exclude_each_other(stack):
    with stack.serving() as environment:
        remote = boto3.client("dynamodb", endpoint_url=environment["AWS_ENDPOINT_URL"])
        for run_id in ("a", "b", "c", "d", "e"):
            wins = race(
                8,
                lambda number, run_id=run_id: put_once(
                    remote if number % 2 else stack.dynamodb, stack.event_table, run_id, number
                ),
            )
            assert len([win for win in wins if win is not None]) == 1
        remote.close()


def test_the_endpoint_listens_on_this_machine_only_and_stops(stack):
    with stack.serving() as environment:
        url = environment["AWS_ENDPOINT_URL"]
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(HTTPError, match="400") as refused:
            urllib.request.urlopen(url, data=b"{}", timeout=WAIT)
        refused.value.close()
    with pytest.raises(URLError):
        urllib.request.urlopen(url, data=b"{}", timeout=WAIT)
    assert "moto-endpoint" not in [thread.name for thread in threading.enumerate()]


def test_what_moto_cannot_do_is_said_to_the_other_process(stack, monkeypatch):
    def broken(_handler):
        raise NotImplementedError("moto lacks this")

    monkeypatch.setattr("moto.dynamodb.responses.DynamoHandler.list_tables", broken)
    with stack.serving() as environment:
        remote = boto3.client("dynamodb", endpoint_url=environment["AWS_ENDPOINT_URL"])
        with pytest.raises(ClientError, match="NotImplementedError: moto lacks this"):
            remote.list_tables()
        remote.close()


def test_another_process_gets_nothing_of_the_users_aws_configuration(recorder):
    with LocalStack(handler=recorder) as stack, stack.serving() as environment:
        assert environment["PATH"] == os.environ["PATH"]
        assert environment["BEHEST_STATE_TABLE"] == stack.state_table
        assert "AWS_LAMBDA_FUNCTION_NAME" not in environment
        assert "AWS_PROFILE" not in environment


# ---------------------------------------------------------------------------------------------- the real projector


def test_events_written_to_the_store_are_in_the_state_after_delivery():
    with LocalStack() as stack:
        run = stack.store.create_run(provider="p", model="m", session_id="s")
        sequence = stack.store.append(run.run_id, [started(), completed()])
        stack.deliver()
        state = stack.store.get_state(run.run_id)
    assert state.sequence == sequence == 2
    assert state.status == "Completed"
    assert stack.failures == []
    assert stack.mapping.counts.failures == 0


def test_the_projector_can_be_made_to_fail_between_its_work_and_its_answer():
    with LocalStack() as stack:
        project = stack.mapping.handler
        answers = iter([FunctionKilled("after its work")])

        def dies_once(event, context):
            answer = project(event, context)
            for killed in answers:
                raise killed
            return answer

        stack.mapping.handler = dies_once
        run = stack.store.create_run(provider="p", model="m")
        stack.store.append(run.run_id, [started(), completed()])
        stack.deliver()
        assert stack.mapping.counts.failures == 1
        assert stack.store.get_state(run.run_id).event_count == 2


def test_a_demo_waits_for_states_that_the_background_delivery_makes():
    with LocalStack(template=Template(parameters={"MaximumBatchingWindowInSeconds": 0})) as stack, stack.running():
        for _ in range(5):
            run = stack.store.create_run(provider="p", model="m", run_id=str(uuid.uuid4()))
            sequence = stack.store.append(run.run_id, [started()])
            assert stack.store.wait(run.run_id, sequence, timeout=WAIT).sequence == sequence


def test_each_stack_loads_the_function_anew():
    modules = []
    for _ in range(2):
        with LocalStack() as stack:
            modules.append(inspect.unwrap(stack.mapping.handler._handler).__globals__)
            assert modules[-1]["wiring"] is None
            stack.store.create_run(provider="p", model="m")
            stack.deliver()
            assert modules[-1]["wiring"] is not None
    assert modules[0] is not modules[1]


def test_what_the_function_prints_and_logs_is_kept_and_not_shown(capfd):
    for _ in range(2):
        with LocalStack() as stack:
            put(stack, 1, events={"S": "this is no JSON"})
            stack.deliver()
            lines = [json.loads(line) for line in stack.output.lines]
            assert any("_aws" in line for line in lines)
            assert any(line.get("run_id") == "r" for line in lines)
    shown = capfd.readouterr()
    assert shown.out == ""


def test_what_the_function_prints_can_be_shown():
    shown = io.StringIO()
    with LocalStack(echo=shown) as stack:
        stack.store.create_run(provider="p", model="m")
        stack.deliver()
    assert "_aws" in shown.getvalue()


def test_while_a_function_writes_other_threads_write_to_the_terminal(capsys, tmp_path):
    folder = tmp_path / "functions" / "projector"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(
        "import threading\n"
        "entered, leave = threading.Event(), threading.Event()\n"
        "def handler(event, context):\n"
        "    entered.set()\n"
        f"    leave.wait({WAIT})\n"
        "    print('from the function')\n"
    )
    path = tmp_path / "template.yaml"
    path.write_text(Template().path.read_text())
    with LocalStack(template=Template(path), settings=MappingSettings()) as stack, stack.running():
        module = stack.mapping.handler._handler.__globals__
        put(stack, 1)
        assert module["entered"].wait(WAIT)
        print("from the demo")  # noqa: T201
        module["leave"].set()
    assert capsys.readouterr().out == "from the demo\n"
    assert list(stack.output.lines) == ["from the function"]
