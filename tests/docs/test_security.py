"""SECURITY.md says of the templates what is so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docs.pages import part, text_of
from tests.docs.test_deploying import MONITORING, TEMPLATE

PAGE = "SECURITY.md"
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]


def of_type(kind: str) -> list[str]:
    return [name for name, each in RESOURCES.items() if each["Type"] == kind]


@pytest.mark.parametrize("table", of_type("AWS::DynamoDB::Table"))
def test_a_table_is_encrypted_retained_and_can_be_restored(table: str):
    properties = RESOURCES[table]["Properties"]
    assert properties["SSESpecification"]["SSEEnabled"] in {True, "true"}
    assert "KMSMasterKeyId" not in properties["SSESpecification"]
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] in {True, "true"}
    assert RESOURCES[table]["DeletionPolicy"] == RESOURCES[table]["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_a_queue_is_encrypted_and_forgets_when_it_is_said(queue: str):
    properties = RESOURCES[queue]["Properties"]
    assert properties["SqsManagedSseEnabled"] in {True, "true"}
    days = int(properties["MessageRetentionPeriod"]) / 86_400
    assert f"for {days:.0f} days" in " ".join(part(PAGE, "## What you have to do").split())


@pytest.mark.parametrize("name", ["TamperedItemsAlarm", "NotifierRole"])
def test_what_it_names_of_the_templates_is_there(name: str):
    assert f"`{name}`" in text_of(PAGE)
    assert name in RESOURCES | MONITORING.section("Resources")
