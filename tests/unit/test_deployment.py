"""What the template, the Makefile and the requirements say of the same thing must agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from behest_core.testing.cloudformation import CloudFormationTemplate
from tests.golden import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPLATE: dict[str, Any] = CloudFormationTemplate.load(ROOT / "template.yaml", "behest", {}).body
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
MAKEFILE = (ROOT / "Makefile").read_text()
LOCKED = sorted((ROOT / "requirements").glob("*.txt"))

PLATFORMS = {"aarch64": "arm64", "x86_64": "x86_64"}


def make_list(name: str) -> list[str]:
    return re.search(rf"^{name} \?= (.*)$", MAKEFILE, re.MULTILINE).group(1).split()


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ]+)", file.read_text(), re.MULTILINE))


def of_type(kind: str) -> list[Any]:
    return [pytest.param(resource, id=name) for name, resource in RESOURCES.items() if resource["Type"] == kind]


def statements() -> Iterator[Any]:
    for role in (resource for resource in RESOURCES.values() if resource["Type"] == "AWS::IAM::Role"):
        for policy in role["Properties"]["Policies"]:
            yield from policy["PolicyDocument"]["Statement"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_layer_is_built_for_every_runtime_the_functions_may_run_on():
    runtimes = [f"python{version}" for version in make_list("LAYER_PYTHONS")]
    assert runtimes == TEMPLATE["Parameters"]["Runtime"]["AllowedValues"]
    assert runtimes == RESOURCES["BehestLayer"]["Properties"]["CompatibleRuntimes"]


def test_the_layer_is_built_for_every_architecture_the_functions_may_run_on():
    architectures = [PLATFORMS[platform] for platform in make_list("LAYER_PLATFORMS")]
    assert architectures == TEMPLATE["Parameters"]["Architecture"]["AllowedValues"]
    assert architectures == RESOURCES["BehestLayer"]["Properties"]["CompatibleArchitectures"]


def test_the_functions_run_with_the_versions_the_tests_ran_with():
    tested = pins(ROOT / "requirements" / "dev.txt")
    layer = pins(ROOT / "requirements" / "layer.txt")
    assert layer == {name: tested[name] for name in layer}


def test_the_layer_leaves_boto3_to_the_runtime():
    assert not {"boto3", "botocore"} & pins(ROOT / "requirements" / "layer.txt").keys()


@pytest.mark.parametrize("file", LOCKED, ids=lambda file: file.stem)
def test_every_pin_has_a_hash_and_no_file_names_an_index(file):
    text = file.read_text()
    entries = re.findall(r"^\S+==(?:.*\\\n)*.*", text, re.MULTILINE)
    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert not re.search(r"^ *-", text.replace("    --hash=", ""), re.MULTILINE)


@pytest.mark.parametrize("function", of_type("AWS::Serverless::Function"))
def test_every_function_has_a_target_that_builds_it(function):
    name = next(name for name, resource in RESOURCES.items() if resource is function)
    assert f"\nbuild-{name}:" in MAKEFILE
    assert (ROOT / function["Properties"]["CodeUri"] / "app.py").exists()


@pytest.mark.parametrize("table", of_type("AWS::DynamoDB::Table"))
def test_no_change_of_the_stack_deletes_a_table(table):
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_no_role_is_granted_more_than_named_actions_on_resources_of_the_stack():
    for statement in statements():
        assert [action for action in listed(statement["Action"]) if "*" in action] == []
        for resource in listed(statement["Resource"]):
            assert resource.keys() <= {"Fn::GetAtt", "Fn::Sub"}
            assert "*" not in str(resource)


def test_no_role_may_delete_scan_or_write_without_a_condition():
    granted = {action for statement in statements() for action in listed(statement["Action"])}
    assert not granted & {"dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:Scan", "dynamodb:UpdateItem"}


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_every_parameter_has_a_default_a_description_and_bounds(name):
    parameter = TEMPLATE["Parameters"][name]
    assert {"Default", "Description"} <= parameter.keys()
    assert parameter.keys() & {"AllowedValues", "AllowedPattern"} or {"MinValue", "MaxValue"} <= parameter.keys()


@pytest.mark.parametrize("name", TEMPLATE["Outputs"])
def test_every_output_says_what_it_is_for(name):
    assert TEMPLATE["Outputs"][name]["Description"]
