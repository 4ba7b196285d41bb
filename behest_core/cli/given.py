"""Times and statuses as users give them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

from behest_core.model.state import RunStatus
from behest_core.model.timestamps import canonical, from_datetime

_AGE: Final = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNIT: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_time(text: str) -> str:
    """Read a time: RFC 3339, where the offset may be left out for UTC; a date; or an age such as `2h`.

    Gives it in the form that sorts. Raises typer.BadParameter.
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


def parse_status(text: str) -> RunStatus:
    """Read a status, in capitals or not. Raises typer.BadParameter."""
    for status in RunStatus:
        if status.lower() == text.lower():
            return status
    raise typer.BadParameter(f"expected one of {', '.join(RunStatus)}")
