"""docs/deploying.md leaves nothing of the template and the projector out, and says of them what is so."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import pytest
from botocore.client import BaseClient
from typer.testing import CliRunner

from behest_core.cli.app import app
from behest_core.model.events import RunCancelled
from behest_core.model.state import RunStatus
from behest_core.plugins import RunChanged
from behest_core.testing.cloudformation import CloudFormationTemplate
from behest_core.testing.template import template_path
from tests.docs.aws_cli import commands, perform
from tests.docs.pages import ROOT, blocks, names, rows, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.store import RunStore
    from behest_core.testing.local_stack import LocalStack

PAGE = "docs/deploying.md"
TEMPLATE: dict[str, Any] = cast("dict[str, Any]", CloudFormationTemplate.load(template_path(), "behest", {}).body)
MONITORING = CloudFormationTemplate.load(template_path().with_name("monitoring.yaml"), "", {"StackName": "behest"})
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
DOCUMENTED = {row["Parameter"].strip("`"): row for row in rows(PAGE, "Parameter", "Default", "Allowed", "Meaning")}
METRICS = {
    row["Metric"].strip("`"): row["Unit"]
    for whose in ("stack", "projector", "reconciler", "notifier")
    for row in rows(PAGE, "Metric", "Unit", "Meaning", below=f"### Of the {whose}")
}
MALFORMED = {"run_id": {"S": "r"}, "sequence": {"N": "1"}, "count": {"N": "1"}, "events": {"S": "[{}]"}}
CANCELLED = RunCancelled(timestamp="2026-01-31T12:00:00Z")


# ---------------------------------------------------------------- the template


def test_every_parameter_is_documented():
    assert DOCUMENTED.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_has_the_default_and_allows_what_is_said(name: str):
    parameter, said = PARAMETERS[name], DOCUMENTED[name]
    assert said["Default"] == (str(parameter["Default"]) or "none")
    if "AllowedPattern" in parameter:
        assert said["Allowed"]
    elif "MinValue" in parameter:
        assert said["Allowed"] == f"{parameter['MinValue']} to {parameter['MaxValue']}"
    elif len(parameter["AllowedValues"]) < 10:
        assert sorted(said["Allowed"].split(", ")) == sorted(map(str, parameter["AllowedValues"]))


def test_every_output_is_documented():
    said = {row["Output"].strip("`") for row in rows(PAGE, "Output", "Meaning")}
    assert said == TEMPLATE["Outputs"].keys()


@pytest.mark.parametrize(
    ("role", "column"),
    [("ProjectorRole", "Actions"), ("ReconcilerRole", "Its actions"), ("NotifierRole", "What it may do")],
)
def test_the_permissions_of_each_function_are_documented(role: str, column: str):
    policies = TEMPLATE["Resources"][role]["Properties"]["Policies"]
    granted = [statement["Action"] for policy in policies for statement in policy["PolicyDocument"]["Statement"]]
    said = [names(row[column]) for row in rows(PAGE, column, "On", "For")]
    assert said == [[actions] if isinstance(actions, str) else actions for actions in granted]


def test_every_variable_of_the_environment_is_documented():
    variables = {*re.findall(r"BEHEST_\w+", (ROOT / "template.yaml").read_text())}
    assert variables <= {*re.findall(r"BEHEST_\w+", text_of(PAGE))}


# ---------------------------------------------------------------- the projector


def test_every_metric_is_documented():
    functions = [each for each in TEMPLATE["Resources"].values() if each["Type"] == "AWS::Serverless::Function"]
    files = [ROOT / each["Properties"]["CodeUri"] / "app.py" for each in functions]
    files.append(ROOT / "behest_core" / "runtime.py")
    texts = {node.value for file in files for node in ast.walk(ast.parse(file.read_text())) if is_text(node)}
    named = {text for text in texts if re.fullmatch(r"(?:[A-Z][a-z]+)+", text)}
    assert named - {"Count"} == METRICS.keys()


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize(("service", "counted"), [("behest", "RunsParked"), ("behest-projector", "Records")])
def test_metrics_have_the_namespace_the_dimension_and_the_units_that_are_said(
    stack: LocalStack, service: str, counted: str
):
    stack.dynamodb.put_item(TableName=stack.event_table, Item=MALFORMED)
    stack.deliver()
    metrics = [line for line in map(json.loads, stack.output.lines) if "_aws" in line]
    [written] = [line for line in metrics if line["service"] == service]
    [directive] = written["_aws"]["CloudWatchMetrics"]
    assert f"namespace `{directive['Namespace']}`, dimension `service` = `{written['service']}`" in text_of(PAGE)
    assert directive["Dimensions"] == [["service"]]
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert counted in units
    assert units == {name: METRICS[name] for name in units}


# ---------------------------------------------------------------- the notifier


def test_an_event_of_the_notifier_is_as_it_is_shown(stack: LocalStack):
    stack.store.create_run(run_id="run-1", session_id="session-1", provider="openai", model="gpt-4o")
    stack.deliver()
    stack.store.append("run-1", [CANCELLED])
    stack.deliver()
    entry = stack.notifications[-1]
    shown, pattern = (json.loads(block.text) for block in blocks(PAGE, "json"))
    assert (shown["source"], shown["detail-type"]) == (entry["Source"], entry["DetailType"])
    detail = json.loads(entry["Detail"])
    assert detail["id"] == f"run-1#{stack.store.get_state('run-1').revision}"
    assert (shown["detail"], shown["resources"]) == (detail | {"id": shown["detail"]["id"]}, entry["Resources"])
    assert pattern["source"] == [entry["Source"]]
    assert pattern["detail-type"] == [entry["DetailType"]]
    assert {*pattern["detail"]} <= {*RunChanged.__struct_fields__}
    assert {*pattern["detail"]["after"]} <= {*RunStatus}


def test_every_field_of_a_change_is_documented():
    said = [row["Of `detail`"].strip("`") for row in rows(PAGE, "Of `detail`", "Type", "Meaning")]
    assert said == [*RunChanged.__struct_fields__]


# ---------------------------------------------------------------- what others need to be allowed


def create_and_append(store: RunStore) -> None:
    store.create_run(provider="p", model="m", client_request_id="once")
    run = store.create_run(provider="p", model="m", client_request_id="once")
    store.append(run.run_id, [CANCELLED])


def read_states(store: RunStore) -> None:
    list(store.states(session_id="s"))
    list(store.states(status=RunStatus.CANCELLED))
    list(store.parked_states())
    store.get_states(["r"])
    store.get_state("r")


@pytest.mark.parametrize(
    ("who", "does"),
    [
        ("an agent that creates runs and appends", create_and_append),
        ("an agent that waits for its states", lambda store: store.wait("r", 1)),
        ("a reader of states", read_states),
        ("whoever deletes runs", lambda store: store.delete_run("r")),
        ("a reader of events", lambda store: list(store.events("r", after=0))),
        ("whoever calls `check_health`", lambda store: store.check_health()),
    ],
)
def test_the_permissions_that_are_named_are_those_that_are_used(
    stack: LocalStack, who: str, does: Callable[[RunStore], Any]
):
    stack.store.create_run(run_id="r", session_id="s", provider="p", model="m")
    stack.store.append("r", [CANCELLED])
    stack.deliver()
    used = set()
    stack.dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: used.add(f"dynamodb:{model.name}"))
    does(stack.store)
    assert used == allowed(who)


@pytest.mark.parametrize(
    ("who", "types"),
    [
        ("whoever resumes parked runs", ["resume r", "resume --all"]),
        ("whoever verifies runs", ["verify", "verify --since 2h", "verify r"]),
        ("whoever rebuilds runs", ["rebuild --yes", "rebuild --since 2h --yes", "rebuild r --yes"]),
        ("whoever deletes runs", ["delete r --yes"]),
    ],
)
def test_the_permissions_that_are_named_are_those_that_a_command_uses(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, who: str, types: list[str]
):
    stack.dynamodb.put_item(TableName=stack.event_table, Item=MALFORMED)
    stack.deliver()
    used = set()
    call = BaseClient._make_api_call

    def note(self: Any, operation: str, params: dict[str, Any]) -> Any:
        used.add(f"dynamodb:{operation}")
        return call(self, operation, params)

    monkeypatch.setattr(BaseClient, "_make_api_call", note)
    for each in types:
        CliRunner().invoke(app, each.split())
    assert used == allowed(who)


def allowed(who: str) -> set[str]:
    """Return the actions said for somebody; a row without a name goes on with the one before."""
    actions: dict[str, set[str]] = {}
    name = ""
    for row in rows(PAGE, "Who", "Actions", "On"):
        name = row["Who"] or name
        actions.setdefault(name, set()).update(names(row["Actions"]))
    return actions[who]


# ---------------------------------------------------------------- the commands


def test_the_commands_that_delete_the_tables_delete_them(stack: LocalStack):
    for table in (stack.event_table, stack.state_table):
        stack.dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
    for block in blocks(PAGE, "sh"):
        for command in commands(block.text):
            perform(stack.dynamodb, command)
    assert stack.dynamodb.list_tables()["TableNames"] == []
