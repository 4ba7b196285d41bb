"""docs/operations.md leaves no alarm and no metric out, and what it says to type could be typed."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest
from botocore import xform_name
from botocore.session import Session

from behest_core.runtime import METRIC_OF_TROUBLE
from tests.cli import commands
from tests.docs.pages import blocks, names, part, prose, rows, text_of
from tests.docs.test_deploying import METRICS, MONITORING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.pages import Block

PAGE = "docs/operations.md"
SHELL = [block for page in (PAGE, "docs/deploying.md") for block in blocks(page, "sh")]
COMMANDS = commands()
OF_THE_AWS_CLI = {"--query", "--output", "--cli-read-timeout", "--cli-binary-format", "--zip-file"}
"""Its own options, beside those of the operations."""


def test_every_alarm_is_explained():
    said = [row["Alarm"].strip("`") for row in rows(PAGE, "Alarm", "Goes off when", "Look here")]
    assert said == [*MONITORING.resources("AWS::CloudWatch::Alarm")]


def test_the_alarm_that_tells_has_the_name_that_is_said():
    [(logical_id, unwell)] = MONITORING.resources("AWS::CloudWatch::CompositeAlarm").items()
    name = MONITORING.resolve(unwell["AlarmName"])
    assert f'`{logical_id}`, called "{name}" in a stack called `behest`' in text_of(PAGE)


@pytest.mark.parametrize("kind", METRIC_OF_TROUBLE)
def test_every_kind_of_trouble_is_named_where_the_logs_are_read(kind: str):
    assert f"`{kind}`" in part(PAGE, "## Read the logs")


def test_every_alarm_leads_to_a_part_that_says_what_to_do():
    for row in rows(PAGE, "Alarm", "Goes off when", "Look here"):
        [heading] = re.findall(r"^\[([^\]]+)\]\(#[^)]+\)$", row["Look here"])
        assert len(part(PAGE, f"### {heading}")) > 100


def test_every_metric_is_explained():
    said = [row["Metric"].strip("`") for row in rows(PAGE, "Metric", "When all is well", "Otherwise")]
    assert sorted(said) == sorted(METRICS)


def test_every_error_that_parks_is_explained():
    said = {name for row in rows(PAGE, "`error`", "Meaning", "Do") for name in names(row["`error`"])}
    of_the_log = {"MalformedEventError", "MalformedRecordError", "StateTooLargeError"}
    assert said == of_the_log | {"ProcessKilled", "LogDivergedError", "ValidationException"}


# ---------------------------------------------------------------- what to type


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_block_is_for_a_shell(block: Block):
    checked = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("block", [block for block in SHELL if "aws " in block.text], ids=str)
def test_a_command_of_the_aws_cli_has_the_options_that_are_given(block: Block):
    found = list(commands_of(block.text, "aws"))
    assert found
    for service, operation, *words in found:
        assert operation in operations(service)
        known = operations(service)[operation] | OF_THE_AWS_CLI
        assert {word.replace("--no-", "--") for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", [PAGE, "docs/deploying.md"])
def test_a_command_of_behest_has_the_options_that_are_given(page: str):
    written = [block.text for block in blocks(page, "sh", "console")] + names(prose(page))
    for name, *words in (words for text in written for words in commands_of(text, "behest")):
        if name != "--version":
            known = {option for each in COMMANDS[name].params for option in each.opts}
            assert {word for word in words if word.startswith("-")} <= known


def commands_of(shell: str, program: str) -> Iterator[list[str]]:
    """Return the words behind the program's name of each of its commands, those in a substitution first."""
    text = shell.replace("\\\n", " ")
    while inner := re.search(r"\$\(([^()]*)\)", text):
        yield from commands_of(inner[1], program)
        text = text.replace(inner[0], "VALUE")
    for line in re.split(r"\n|&&|\|", text):
        words = shlex.split(line, comments=True)
        while words and words[0] in {"$", "export"}:
            words.pop(0)
        if words[1:] and words[0] == program:
            yield words[1:]


@cache
def operations(service: str) -> dict[str, set[str]]:
    """Return what the AWS CLI offers of a service: operations, each with its options, which are botocore's own."""
    model = Session().get_service_model(service)
    return {
        xform_name(name, "-"): {
            f"--{xform_name(member, '-')}" for member in getattr(model.operation_model(name).input_shape, "members", {})
        }
        for name in model.operation_names
    }
