"""What the template, the Makefile and the requirements say of the same thing must agree."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from behest_core.projection.catch_up import _DEADLY
from behest_core.runtime import METRIC_OF_TROUBLE
from behest_core.testing import LocalStack
from behest_core.testing.cloudformation import CloudFormationTemplate
from tests.golden import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE: dict[str, Any] = CloudFormationTemplate.load(ROOT / "template.yaml", "behest", {}).body
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
MAKEFILE = (ROOT / "Makefile").read_text()
FUNCTIONS = [name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::Serverless::Function"]

MONITORING = CloudFormationTemplate.load(ROOT / "monitoring.yaml", "behest", {})
ALARMS: dict[str, Any] = MONITORING.resources("AWS::CloudWatch::Alarm")
ACTIONS = {"AlarmActions", "OKActions", "InsufficientDataActions"}
STANDING = {"ParkedRunsAlarm"}
"""What may stay as it is for as long as one likes, and would hide all other reasons to be unwell."""

PLUGINS = ROOT / "requirements" / "plugins.txt"
"""What users edit."""

LOCKED = sorted({*(ROOT / "requirements").glob("*.txt")} - {PLUGINS})

METRICS = {
    node.value
    for file in [
        ROOT / "behest_core" / "runtime.py",
        *(ROOT / RESOURCES[name]["Properties"]["CodeUri"] / "app.py" for name in FUNCTIONS),
    ]
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
    if re.fullmatch(r"(?:[A-Z][a-z]+)+", node.value) and node.value != "Count"
}
"""What the functions count: names in CamelCase stand in them for nothing else."""

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


def properties(name: str) -> dict[str, Any]:
    return RESOURCES[name]["Properties"]


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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_can_be_imported_with_what_the_layer_holds_of_behest_core(name, tmp_path):
    left_out = {Path(each).name for each in re.findall(r"--exclude (behest_core/\S+)", MAKEFILE)}
    assert left_out == {"cli", "demo", "terminal.py", "testing"}
    shutil.copytree(ROOT / "behest_core", tmp_path / "behest_core", ignore=lambda *_: left_out | {"__pycache__"})
    path = os.pathsep.join([str(tmp_path), str(ROOT / RESOURCES[name]["Properties"]["CodeUri"])])
    program = "import app, behest_core; print(behest_core.__file__)"
    env = os.environ | {"PYTHONPATH": path, "POWERTOOLS_SERVICE_NAME": "x", "POWERTOOLS_METRICS_NAMESPACE": "x"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == str(tmp_path / "behest_core" / "__init__.py"), done.stderr


def test_the_layer_has_no_plugin_unless_somebody_names_one():
    assert [line for line in PLUGINS.read_text().splitlines() if line and not line.startswith("#")] == []


def layer_plugins(tmp_path: Path, requirements: str) -> Path:
    """Return what is made of a requirements file before pip installs it into the layer."""
    (tmp_path / "plugins.txt").write_text(requirements)
    program = [sys.executable, ROOT / "requirements" / "layer_plugins.py", tmp_path / "plugins.txt", tmp_path]
    subprocess.run(program, check=True, timeout=30)
    return tmp_path / "plugins"


def test_without_a_plugin_nothing_is_made_for_pip(tmp_path):
    assert not layer_plugins(tmp_path, PLUGINS.read_text()).exists()


def test_a_plugin_gets_the_layers_versions_and_a_behest_that_holds_nothing(tmp_path):
    made = layer_plugins(tmp_path, "# mine\nacme-approvals==1.0\n")
    constraints = dict(line.split("==") for line in (made / "constraints.txt").read_text().splitlines())
    version = constraints.pop("behest-core")
    assert constraints == pins(ROOT / "requirements" / "layer.txt")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version == f"{declared}+layer"
    [wheel] = made.glob("*.whl")
    info = f"behest_core-{version}.dist-info"
    with zipfile.ZipFile(wheel) as packed:
        assert sorted(packed.namelist()) == [f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL")]


@pytest.mark.parametrize("function", of_type("AWS::Serverless::Function"))
def test_every_function_is_told_which_plugins_to_use_and_gets_their_layers(function):
    shared = TEMPLATE["Globals"]["Function"]
    assert shared["Environment"]["Variables"]["BEHEST_PLUGINS"] == {"Ref": "Plugins"}
    assert shared["Layers"]["Fn::If"][0] == "HasPluginLayers"
    assert "Layers" not in function["Properties"]
    assert "BEHEST_PLUGINS" not in function["Properties"]["Environment"]["Variables"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_stream_mapping_is_bounded_and_has_a_failure_queue(name):
    for event in properties(name)["Events"].values():
        if event["Type"] == "DynamoDB":
            mapping = event["Properties"]
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            assert mapping["BisectBatchOnFunctionError"] is True
            assert mapping["StartingPosition"] == "TRIM_HORIZON"
            assert {"MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "DestinationConfig"} <= mapping.keys()


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


def test_the_failure_queue_waits_long_enough_before_it_hands_a_message_out_again():
    # "at least six times the timeout": AWS Lambda developer guide, "Using Lambda with Amazon SQS"
    assert properties("FailureQueue")["VisibilityTimeout"] >= 6 * properties("ReconcilerFunction")["Timeout"]


def test_the_failure_queue_gives_up_later_than_the_reconciler_parks_and_earlier_than_the_stream_forgets():
    queue = properties("FailureQueue")
    receives = queue["RedrivePolicy"]["maxReceiveCount"]
    assert receives > 2 * _DEADLY
    assert receives * queue["VisibilityTimeout"] < 24 * 60 * 60


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_every_queue_is_encrypted_and_keeps_messages_for_as_long_as_can_be(queue):
    assert queue["Properties"]["SqsManagedSseEnabled"] is True
    assert queue["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 60 * 60


def test_a_sweep_looks_back_farther_than_the_stream_and_the_schedule_do_together():
    lookback, schedule = (TEMPLATE["Parameters"][name]["Default"] for name in ("SweepLookbackHours", "SweepSchedule"))
    assert schedule == "rate(1 hour)"
    assert lookback > 24 + 1


# ---------------------------------------------------------------- alarms and dashboard


def test_the_nested_stack_is_given_all_that_it_asks_for():
    given = properties("Monitoring")["Parameters"]
    assert given.keys() == MONITORING.section("Parameters").keys()
    for name, value in given.items():
        assert value in (
            {"Ref": {"StackName": "AWS::StackName"}.get(name, name)},
            {"Fn::GetAtt": f"{name}.QueueName"},
        )


def test_one_alarm_tells_the_topic_when_the_stack_is_unwell_and_when_that_is_over():
    [unwell] = MONITORING.resources("AWS::CloudWatch::CompositeAlarm").values()
    assert unwell["AlarmActions"] == unwell["OKActions"] == [{"Ref": "AlarmTopicArn"}]
    assert [name for name, alarm in ALARMS.items() if alarm.keys() & ACTIONS] == []


def test_every_alarm_is_a_reason_to_be_unwell():
    [unwell] = MONITORING.resources("AWS::CloudWatch::CompositeAlarm").values()
    reasons = unwell["AlarmRule"]["Fn::Sub"].split(" OR ")
    assert reasons == [f'ALARM("${{{name}}}")' for name in ALARMS if name not in STANDING]


def test_the_emulator_which_has_no_composite_alarms_gets_none_without_a_topic():
    assert MONITORING.section("Resources")["UnwellAlarm"]["Condition"] == "HasAlarmTopic"
    assert MONITORING.section("Conditions") == {
        "HasAlarmTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]}
    }


@pytest.mark.parametrize("name", ALARMS)
def test_every_alarm_has_the_stacks_name_in_its_own_and_says_what_it_means(name):
    assert ALARMS[name]["AlarmName"] == {"Fn::Sub": f"${{StackName}}-{name}"}
    assert ALARMS[name]["AlarmDescription"].endswith(".")


@pytest.mark.parametrize("name", ALARMS)
def test_every_alarm_looks_at_something_that_this_stack_measures(name):
    [dimension] = ALARMS[name]["Dimensions"]
    if ALARMS[name]["Namespace"] == "Behest":
        assert ALARMS[name]["MetricName"] in METRICS
        of_stack = ALARMS[name]["MetricName"] in {*METRIC_OF_TROUBLE.values(), "PluginsRefused"}
        assert dimension["Value"] == ({"Ref": "StackName"} if of_stack else {"Fn::Sub": "${StackName}-reconciler"})
    else:
        assert dimension["Value"].keys() == {"Ref"}


def test_every_function_counts_under_its_own_name_in_the_stack():
    names = [properties(name)["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]["Fn::Sub"] for name in FUNCTIONS]
    assert names == [f"${{AWS::StackName}}-{each}" for each in ("projector", "reconciler", "notifier")]
    assert TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["BEHEST_STACK"] == {"Ref": "AWS::StackName"}


def test_every_kind_of_trouble_has_an_alarm():
    watched = [
        alarm["MetricName"] for alarm in ALARMS.values() if alarm["Dimensions"][0]["Value"] == {"Ref": "StackName"}
    ]
    assert sorted(watched) == sorted([*METRIC_OF_TROUBLE.values(), "PluginsRefused"])


def test_every_alarm_that_waits_for_the_next_sweep_looks_at_what_every_sweep_counts():
    waiting = [alarm for alarm in ALARMS.values() if alarm["TreatMissingData"] == "ignore"]
    counted = {"ParkedRuns", "RunsLagging", "SweepsCutShort", "MappingsDisabled"}
    assert {alarm["MetricName"] for alarm in waiting} == counted
    for alarm in waiting:
        assert alarm["Dimensions"][0]["Value"] == {"Fn::Sub": "${StackName}-reconciler"}
    with LocalStack() as stack:
        assert counted <= stack.sweep().keys()


def test_the_dashboard_shows_every_alarm_and_every_metric_of_the_product():
    widgets = dashboard()
    [alarms] = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    assert alarms == [f"${{{name}.Arn}}" for name in ALARMS]
    assert {metric[1] for metric in shown(widgets) if metric[0] == "Behest"} == METRICS


def shown(widgets: list[dict[str, Any]]) -> Iterator[list[Any]]:
    """Return the metrics of all widgets, with what a dot stands for: what the metric before has there."""
    for widget in widgets:
        before: list[Any] = []
        for metric in widget["properties"].get("metrics", []):
            before = [before[place] if value == "." else value for place, value in enumerate(metric)]
            yield before


def test_the_dashboards_widgets_do_not_overlap():
    cells = [
        (x, y)
        for widget in dashboard()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def dashboard() -> list[dict[str, Any]]:
    [board] = MONITORING.resources("AWS::CloudWatch::Dashboard").values()
    return json.loads(board["DashboardBody"]["Fn::Sub"])["widgets"]


# ---------------------------------------------------------------- parameters and outputs


@pytest.mark.parametrize("name", ["AlarmTopicArn", "EventBusName", "PluginLayerArns", "Plugins", "SweepSchedule"])
def test_a_parameters_default_matches_its_pattern(name):
    parameter = TEMPLATE["Parameters"][name]
    assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"])


@pytest.mark.parametrize("allowed", ["", "*", "approvals", "approvals,cost", "approvals, behest-cost_2.x"])
def test_plugins_are_named_with_commas_between_them(allowed):
    assert re.fullmatch(TEMPLATE["Parameters"]["Plugins"]["AllowedPattern"], allowed)


@pytest.mark.parametrize("refused", [",", "approvals,", "a b", "a;b", "*,a"])
def test_plugins_that_would_not_be_found_are_refused(refused):
    assert not re.fullmatch(TEMPLATE["Parameters"]["Plugins"]["AllowedPattern"], refused)


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_every_parameter_has_a_default_a_description_and_bounds(name):
    parameter = TEMPLATE["Parameters"][name]
    assert {"Default", "Description"} <= parameter.keys()
    assert parameter.keys() & {"AllowedValues", "AllowedPattern"} or {"MinValue", "MaxValue"} <= parameter.keys()


@pytest.mark.parametrize("name", TEMPLATE["Outputs"])
def test_every_output_says_what_it_is_for(name):
    assert TEMPLATE["Outputs"][name]["Description"]


# ---------------------------------------------------------------- the runtime of a new stack


def default_runtime(template: Path) -> str:
    parameters = CloudFormationTemplate.load(template, "behest", {}).body["Parameters"]
    return str(parameters["Runtime"]["Default"])


@pytest.fixture
def built(tmp_path):
    """Return what makes a layer with bytecode of some Pythons, and returns what is then said, and the default."""
    template = tmp_path / "template.yaml"
    template.write_text((ROOT / "template.yaml").read_text())

    def build(*minors: int) -> tuple[str, str]:
        cache = tmp_path / "python" / "behest_core" / "__pycache__"
        cache.mkdir(parents=True)
        for minor in minors:
            (cache / f"__init__.cpython-3{minor}.pyc").touch()
        program = [sys.executable, ROOT / "requirements" / "built_runtime.py", template, tmp_path]
        said = subprocess.run(program, check=True, capture_output=True, text=True, timeout=30).stdout
        return said, default_runtime(template)

    return build


def test_where_the_layer_has_the_defaults_bytecode_the_default_stays(built):
    assert built(11, 13) == ("", "python3.13")


def test_where_it_has_not_the_default_is_the_newest_that_has(built):
    said, default = built(11, 12)
    assert default == "python3.12"
    assert said == "No python3.13 here: a new stack runs on python3.12, for which the layer has bytecode.\n"


def test_where_it_has_none_that_is_said(built):
    said, default = built()
    assert (default, said.startswith("The layer has no bytecode")) == ("python3.13", True)


def test_the_build_asks_for_it():
    assert "requirements/built_runtime.py .aws-sam/build/template.yaml .aws-sam/build/BehestLayer" in MAKEFILE
