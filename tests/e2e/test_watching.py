"""What watches the deployed stack is there: alarms, dashboard, schedule, dead-letter queue."""

from __future__ import annotations

import json
import re

import pytest

from behest_core.testing.cloudformation import CloudFormationTemplate
from behest_core.testing.template import template_path

pytestmark = pytest.mark.e2e

MONITORING = CloudFormationTemplate.load(template_path().with_name("monitoring.yaml"), "behest", {})
ALIAS = re.compile(r"^\s*<<:|: [&*]\w+$", re.MULTILINE)


def test_every_alarm_is_there_by_its_name(deployed_stack):
    pages = deployed_stack.client("cloudwatch").get_paginator("describe_alarms").paginate()
    alarms = {alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"]}
    assert alarms == {f"{deployed_stack.name}-{name}" for name in MONITORING.resources("AWS::CloudWatch::Alarm")}


def test_every_alarm_looks_at_a_resource_of_the_stack(deployed_stack):
    pages = deployed_stack.client("cloudwatch").get_paginator("describe_alarms").paginate()
    looked_at = {alarm["Dimensions"][0]["Value"] for page in pages for alarm in page["MetricAlarms"]}
    [nested] = deployed_stack.client("cloudformation").describe_stack_resources(
        StackName=deployed_stack.name, LogicalResourceId="Monitoring"
    )["StackResources"]
    [described] = deployed_stack.client("cloudformation").describe_stacks(StackName=nested["PhysicalResourceId"])[
        "Stacks"
    ]
    given = {each["ParameterValue"] for each in described["Parameters"]}
    assert looked_at <= given | {f"{deployed_stack.name}-reconciler"}
    assert len(looked_at) == 3 + 2 + 4  # functions; the stack and its sweeps; queues


def test_what_is_deployed_has_no_yaml_anchors_as_cloudformation_knows_none(deployed_template):
    written = (deployed_template.parent / "Monitoring" / "template.yaml").read_text()
    assert ALIAS.search(template_path().with_name("monitoring.yaml").read_text())
    assert not ALIAS.search(written)


def test_a_sweep_sees_that_the_streams_are_read_until_somebody_disables_one(deployed_stack):
    functions = deployed_stack.client("lambda")
    name = deployed_stack.outputs["NotifierFunctionName"]
    [mapping] = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    assert disabled(functions, deployed_stack) == 0
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        assert disabled(functions, deployed_stack) == 1
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert disabled(functions, deployed_stack) == 0


def disabled(functions, stack):
    answer = functions.invoke(FunctionName=stack.outputs["ReconcilerFunctionName"], Payload=b"{}")
    return json.loads(answer["Payload"].read())["MappingsDisabled"]


def test_the_dashboard_names_this_stacks_resources(deployed_stack):
    name = deployed_stack.outputs["DashboardName"]
    body = deployed_stack.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    assert json.loads(body)["widgets"]
    assert "${" not in body
    for table in ("EventTableName", "StateTableName"):
        assert deployed_stack.outputs[table] in body


def test_the_reconciler_is_called_every_hour_and_by_the_failure_queue(deployed_stack):
    [rule] = deployed_stack.client("events").list_rules()["Rules"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 hour)", "ENABLED")
    [mapping] = deployed_stack.client("lambda").list_event_source_mappings(
        FunctionName=deployed_stack.outputs["ReconcilerFunctionName"]
    )["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["EventSourceArn"].split(":")[-1] == deployed_stack.outputs["FailureQueueUrl"].split("/")[-1]


def test_the_failure_queue_has_a_dead_letter_queue(deployed_stack):
    attributes = deployed_stack.client("sqs").get_queue_attributes(
        QueueUrl=deployed_stack.outputs["FailureQueueUrl"], AttributeNames=["RedrivePolicy", "VisibilityTimeout"]
    )["Attributes"]
    redrive = json.loads(attributes["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"].split(":")[-1] == deployed_stack.outputs["DeadLetterQueueUrl"].split("/")[-1]
    assert int(attributes["VisibilityTimeout"]) == 5400
