"""Asks before what can't be undone, or takes long."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import typer

from behest_core.cli.failures import CommandError
from behest_core.terminal import messages

Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def can_ask() -> bool:
    """Return whether there is somebody to ask: at a terminal that shows questions and takes answers."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> None:
    """Ask, on standard error. Raises CommandError for anything but yes."""
    console = messages()
    console.print(f"{question} [y/N]: ", end="", soft_wrap=True)
    answer = sys.stdin.readline()
    if not answer:
        console.print()
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandError("the answer was not yes; nothing was changed")
