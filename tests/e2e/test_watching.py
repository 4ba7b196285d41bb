"""What watches the deployed stack is there: alarms, dashboard, schedule, dead-letter queue."""

from __future__ import annotations

import json

import pytest

from behest_core.testing.cloudformation import CloudFormationTemplate
from behest_core.testing.template import template_path

pytestmark = pytest.mark.e2e

TEMPLATE = CloudFormationTemplate.load(template_path(), "behest", {})


def test_every_alarm_is_there(deployed_stack):
    pages = deployed_stack.client("cloudwatch").get_paginator("describe_alarms").paginate()
    alarms = [alarm for page in pages for alarm in page["MetricAlarms"]]
    declared = TEMPLATE.resources("AWS::CloudWatch::Alarm").values()
    assert sorted(alarm["AlarmDescription"] for alarm in alarms) == sorted(
        each["AlarmDescription"] for each in declared
    )


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
