"""What the functions do in DynamoDB and Lambda is what their roles allow: no less, no more."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.client import BaseClient

from behest_core.dynamodb.event_table import EventLog
from behest_core.testing import LocalStack, MappingSettings, Template
from behest_core.testing.cloudformation import CloudFormationTemplate
from behest_core.testing.template import template_path
from tests.builders import poison, run_record, run_started, text_delta, whole_run

BODY = CloudFormationTemplate.load(template_path(), "behest", {}).body
BY_LAMBDA = {"DescribeStream", "ListStreams"}
"""What Lambda's stream mapping does with a function's role, beside reading records."""

MAPPINGS = {
    Template().function(function).mappings[0].uuid: f"{function}{event}"
    for function, event in (("ProjectorFunction", "EventStream"), ("NotifierFunction", "StateStream"))
}
"""What SAM calls the stream mappings, by their UUIDs."""


@pytest.fixture
def stack():
    with LocalStack(settings=MappingSettings(batch_size=3, maximum_retry_attempts=0)) as stack:
        yield stack


@pytest.fixture
def done(monkeypatch):
    """Return what was done in DynamoDB and Lambda: operation and resource, as the template's roles name it."""
    done = set()
    call = BaseClient._make_api_call

    def note(self, operation, params):
        done.add((operation, resource(params)))
        return call(self, operation, params)

    monkeypatch.setattr(BaseClient, "_make_api_call", note)
    return done


def resource(params):
    if "UUID" in params:
        return MAPPINGS[params["UUID"]]
    if "ShardIterator" in params or "StreamArn" in params:
        return "EventTable.StreamArn"
    [table] = params.get("RequestItems", [params.get("TableName")])
    table = table.removeprefix("behest-")
    return f"{table}.Arn/index/{params['IndexName']}" if "IndexName" in params else f"{table}.Arn"


def granted(role):
    """Return the same of what a role allows."""
    return allowed_by(BODY["Resources"][role]["Properties"]["Policies"])


def allowed_by(policies):
    allowed = set()
    for policy in policies:
        for statement in policy["PolicyDocument"]["Statement"]:
            for action in listed(statement["Action"]):
                service, operation = action.split(":")
                if service in {"dynamodb", "lambda"}:
                    allowed |= {(operation, named(each)) for each in listed(statement["Resource"])}
    return allowed


def listed(value):
    return value if isinstance(value, list) else [value]


def named(reference):
    text = reference.get("Fn::GetAtt") or reference["Fn::Sub"].rpartition(":")[-1]
    return text.replace("${", "").replace("}", "")


def write_runs(stack):
    log = EventLog(stack.dynamodb, stack.event_table, now=lambda: datetime.now(UTC) - timedelta(hours=2))
    for run_id in ("run-1", "run-2", "run-3"):
        log.create(run_record(run_id))
        log.append(run_id, [run_started()])
        log.append(run_id, whole_run()[1:])
    log._put(poison(1, run_id="parked"))
    log.append("without-record", [run_started(), text_delta()])


def test_the_projector(stack, done):
    write_runs(stack)
    done.clear()
    stack.deliver()
    by_mapping = {(operation, "EventTable.StreamArn") for operation in ("GetRecords", "GetShardIterator", *BY_LAMBDA)}
    assert done | by_mapping == granted("ProjectorRole")


def test_the_reconciler(stack, done):
    projector = stack.mapping.handler
    write_runs(stack)
    stack.mapping.handler = lambda *_: 1 / 0
    stack.deliver()
    stack.mapping.handler = projector
    done.clear()
    stack.recover()
    stack.sweep()
    assert done == granted("ReconcilerRole")


def test_the_reconciler_may_write_to_the_event_table_only_where_stuck_runs_are_to_expire(done):
    policy = BODY["Resources"]["ReconcilerExpiryPolicy"]
    expiring = allowed_by([policy["Properties"]])
    with LocalStack(template=Template(parameters={"ExpireStuckAfterMinutes": 60})) as stack:
        log = EventLog(stack.dynamodb, stack.event_table, now=lambda: datetime.now(UTC) - timedelta(hours=2))
        log.append("stuck", [run_started()])
        stack.deliver()
        done.clear()
        stack.sweep()
    assert expiring == {("PutItem", "EventTable.Arn")} == done - granted("ReconcilerRole")
    assert policy["Condition"] == "IsExpiringStuckRuns"
    assert BODY["Conditions"]["IsExpiringStuckRuns"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "ExpireStuckAfterMinutes"}, 0]}]
    }
    assert BODY["Parameters"]["ExpireStuckAfterMinutes"]["Default"] == 0
