"""What stands on the command line: the arguments and options that several commands share, and asking for a yes."""

from __future__ import annotations

import re
import shlex
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from behest_core.errors import BehestError
from behest_core.model.limits import check_run_id
from behest_core.model.state import RunStatus
from behest_core.model.timestamps import canonical, from_datetime
from behest_core.terminal import messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AGE: Final = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNIT: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class CommandError(BehestError):
    """A command can't do what it was asked to. The message is the line to show."""


# ---------------------------------------------------------------- times and statuses


def parse_time(text: str) -> str:
    """Read a time: RFC 3339, where the offset may be left out for UTC; a date; or an age such as `2h`.

    Returns it in the form that sorts. Raises typer.BadParameter.
    """
    age = _AGE.fullmatch(text)
    if age is not None:
        return canonical(from_datetime(datetime.now(UTC) - timedelta(**{_UNIT[age[2]]: int(age[1])})))
    if _DATE.fullmatch(text):
        text += "T00:00:00"
    for candidate in (text, f"{text}Z"):
        try:
            return canonical(candidate)
        except ValueError:
            continue
    raise typer.BadParameter("expected a time such as 2026-01-31T12:00:00Z, a date, or an age such as 30m, 2h or 7d")


def parse_span(text: str) -> float:
    """Read a time span such as `30s` or `5m`, in seconds. Raises typer.BadParameter."""
    span = _AGE.fullmatch(text)
    if span is None:
        raise typer.BadParameter("expected a time span such as 30s, 5m or 2h")
    return timedelta(**{_UNIT[span[2]]: int(span[1])}).total_seconds()


def parse_status(text: str) -> RunStatus:
    """Read a status, in capitals or not. Raises typer.BadParameter."""
    for status in RunStatus:
        if status.lower() == text.lower():
            return status
    raise typer.BadParameter(f"expected one of {', '.join(RunStatus)}")


# ---------------------------------------------------------------- arguments and options

Stack: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The CloudFormation stack whose tables to use. Without it they are named by BEHEST_EVENT_TABLE and "
        "BEHEST_STATE_TABLE, or the stack by BEHEST_STACK.",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON lines.")]
Run: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="Run id.", show_default=False)]
Runs: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", help="Run ids; without any, all runs.", show_default=False),
]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        parser=parse_time,
        help="Of all runs, only those created, or first written, since: a time, a date, or an age such as 2h.",
    ),
]
File: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="JSON lines, one run in each; gzip's if it ends in .gz. - is standard input.",
        show_default=False,
    ),
]
SkipInvalid: TypeAlias = Annotated[
    bool, typer.Option("--skip-invalid", help="Report a line that is refused, count it, and go on.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def named_runs(runs: list[str] | None, **of_all: object) -> list[str]:
    """Check the run ids of the command line, and return each once. `of_all` are options that select from all runs.

    Raises InvalidRunIdError, and typer.BadParameter where runs are named and such an option is given, too.
    """
    for option, value in of_all.items():
        if runs and value is not None:
            raise typer.BadParameter(f"--{option} selects from all runs: leave out either it or the run ids")
    return [check_run_id(run_id) for run_id in dict.fromkeys(runs or ())]


def to_type(command: str, options: Mapping[str, str | None], run_ids: Iterable[str] = ()) -> str:
    """Return a command of behest as somebody types it, with those of the options that have a value."""
    run_ids = list(run_ids)
    words = [f"{name}={value}" if value else name for name, value in options.items() if value is not None]
    if any(run_id.startswith("-") for run_id in run_ids):
        words.append("--")
    return shlex.join(["behest", command, *words, *run_ids])


# ---------------------------------------------------------------- asking


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
