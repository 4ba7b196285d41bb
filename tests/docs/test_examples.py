"""Every example of the documentation runs, and prints what it says it prints."""

from __future__ import annotations

import io
import re
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from behest_core.cli.app import app
from tests.cli import commands
from tests.docs.pages import ROOT, blocks, names, pages, rows
from tests.docs.stub_models import MODELS

if TYPE_CHECKING:
    from behest_core.testing.local_stack import LocalStack
    from tests.docs.pages import Block

ANSI = re.compile(r"\x1b\[[0-9;]*m")
COMMANDS = commands()


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page, "python", "console")])
def test_the_examples_of_a_page_run_and_print_what_is_shown(
    page: str, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # so that the command writes for a terminal
    monkeypatch.setenv("COLUMNS", "110")
    namespace: dict[str, Any] = {"__name__": page, **MODELS}
    for block in blocks(page, "python", "console"):
        if block.language == "console":
            # not beside the functions: they print, and whoever runs a command takes all that is printed meanwhile
            check_commands(block)
            stack.deliver()
            continue
        with stack.running():
            printed = run(block, namespace)
        if block.output is not None:
            assert (str(block), block.output) == (str(block), printed)


def run(block: Block, namespace: dict[str, Any]) -> str:
    """Run a block as if its page were a module, so that a traceback names the page's line."""
    code = compile("\n" * (block.line - 1) + block.text, ROOT / block.page, "exec", dont_inherit=True)
    printed = io.StringIO()
    # not by replacing sys.stdout: the projector works beside the example, and prints too
    namespace["print"] = partial(print, file=printed)
    exec(code, namespace)
    return printed.getvalue()


def check_commands(block: Block) -> None:
    """Run the commands of a block, each with what it prints below it; one without anything below has to succeed."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "behest"
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert (command, result.exit_code) == (command, 0)
        if shown:
            printed = [line.rstrip() for line in ANSI.sub("", result.output).splitlines()]
            assert (command, shown.splitlines()) == (command, printed)


def test_every_command_is_documented_with_its_arguments_and_options():
    said = {
        row["Command"].strip("`"): {name for name in names(row["Options"]) if name.startswith("--")}
        for row in rows("docs/querying.md", "Command", "Does", "Options")
    }
    assert said == {
        " ".join([name, *(argument(each) for each in command.params if each.param_type_name == "argument")]): {
            each.opts[0] for each in command.params if each.param_type_name == "option"
        }
        for name, command in COMMANDS.items()
    }


def argument(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()
