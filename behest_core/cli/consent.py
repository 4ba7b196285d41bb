"""Asks before what can't be undone, or takes long."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import typer

Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def can_ask() -> bool:
    """Say whether there is somebody to ask: at a terminal that shows questions and takes answers."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> None:
    """Ask; no, and Ctrl-C, end the command."""
    typer.confirm(question, abort=True, err=True)
