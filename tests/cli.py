"""Running the `behest` command in the test's own process, and the lines that it reads."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import boto3
import typer
from typer.main import get_command
from typer.testing import CliRunner

from behest_core.cli.app import app
from behest_core.interchange import write_run
from behest_core.model.decoding import encode_event
from behest_core.model.packing import RecordedEvent
from tests.builders import RUN, run_record

if TYPE_CHECKING:
    from behest_core.model.events import NewEvent
    from behest_core.model.record import RunRecord

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def commands() -> dict[str, Any]:
    """Return behest's own commands by name."""
    group: Any = get_command(app)
    context = typer.Context(group)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


def behest(*arguments: str, stdin: bytes = b"", **environment: str) -> Any:
    """Run the command, and return its result: `exit_code`, `stdout`, `stderr`."""
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False, env=environment)


def done(*arguments: str, stdin: bytes = b"", **environment: str) -> str:
    """Return what a command wrote that had nothing to complain about."""
    result = behest(*arguments, stdin=stdin, **environment)
    assert (result.exit_code, result.stderr) == (0, "")
    return str(result.stdout)


def refused(*arguments: str, stdin: bytes = b"", **environment: str) -> str:
    """Return the one line that a command failed with."""
    result = behest(*arguments, stdin=stdin, **environment)
    assert result.exit_code == 1
    assert re.fullmatch("behest: .+\n", result.stderr)
    return str(result.stderr).removeprefix("behest: ").removesuffix("\n")


def screen(*arguments: str, columns: int) -> list[str]:
    """Return the rows that a command writes on a terminal of that width, without colours."""
    result = behest(*arguments, TTY_COMPATIBLE="1", COLUMNS=str(columns))
    assert result.exit_code == 0
    return _ANSI.sub("", result.stdout).splitlines()


_OF_RUN: Any = object()


def line(*events: NewEvent, run_id: str = RUN, record: RunRecord | None = _OF_RUN) -> bytes:
    """Return a run as a line of JSON."""
    recorded = [RecordedEvent(run_id, n, "", encode_event(event)) for n, event in enumerate(events, 1)]
    return write_run(run_record(run_id) if record is _OF_RUN else record, recorded) + b"\n"


def create_stack(name: str, **outputs: str) -> None:
    """Create a CloudFormation stack with these outputs."""
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {output: {"Value": value} for output, value in outputs.items()},
    }
    boto3.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))
