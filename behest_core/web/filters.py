"""What the address of the list of runs says, as what is searched for; and the same as a command to type."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from behest_core.errors import InvalidValueError
from behest_core.model.state import RunStatus
from behest_core.model.timestamps import as_text, from_datetime
from behest_core.search import Where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from behest_core.web.application import Request

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_NANO: Final = 10**9

TEXTS: Final = ("session", "model", "agent", "tag", "user", "error")
"""Filters that take a text."""


def where_of(request: Request, now: datetime) -> Where:
    """Return what an address asks for. Raises InvalidValueError, naming the parameter."""
    status = request.get("status")
    if status is not None and status not in set(RunStatus):
        raise InvalidValueError("status", f"expected one of {', '.join(RunStatus)}, got {status[:50]!r}")
    cost = request.get("min_cost")
    session, model, agent, tag, user, error = map(request.get, TEXTS)
    return Where(
        status=RunStatus(status) if status else None,
        session_id=session,
        model=model,
        agent=agent,
        tag=tag,
        user=user,
        error=error,
        since=_time(request, "since", now),
        until=_time(request, "until", now),
        is_parked=request.get("parked") is not None,
        is_waiting=request.get("waiting") is not None,
        stuck_after=_seconds(request, "stuck"),
        min_nano_usd=None if cost is None else _dollars(cost),
        min_tokens=request.number("min_tokens"),
        min_duration=_seconds(request, "min_duration"),
    )


def _seconds(request: Request, name: str) -> float | None:
    text = request.get(name)
    if text is None:
        return None
    number, unit = text[:-1], text[-1]
    if not (number.isdecimal() and number.isascii() and len(number) <= 6 and unit in _UNITS):
        raise InvalidValueError(name, f"expected a time span such as 30s, 5m, 2h or 7d, got {text[:50]!r}")
    return float(int(number) * _UNITS[unit])


def _time(request: Request, name: str, now: datetime) -> str | None:
    text = request.get(name)
    if text is None:
        return None
    if text[-1] in _UNITS and text[:-1].isdecimal():
        return as_text(from_datetime(now - timedelta(seconds=_seconds(request, name) or 0)))
    for candidate in (text, f"{text}Z", f"{text}:00Z", f"{text}T00:00:00Z"):
        try:
            return as_text(candidate)
        except ValueError:
            continue
    raise InvalidValueError(name, f"expected a time, a date, or an age such as 2h, got {text[:50]!r}")


def _dollars(text: str) -> int:
    try:
        dollars = float(text.removeprefix("$"))
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < 1e9:
        raise InvalidValueError("min_cost", f"expected an amount of dollars such as 0.05, got {text[:50]!r}")
    return round(dollars * _NANO)


def command_of(request: Request, stack: str | None) -> str:
    """Return the command that lists the same runs."""
    return shlex.join(["behest", "runs", *_options(request), *(["--stack", stack] if stack else [])])


def _options(request: Request) -> Iterator[str]:
    for name in ("status", *TEXTS, "since", "until", "min_cost", "min_tokens", "min_duration"):
        value = request.get(name)
        if value is not None:
            yield from (f"--{name.replace('_', '-')}", value)
    for name in ("parked", "waiting"):
        if request.get(name) is not None:
            yield f"--{name}"
    stuck = request.get("stuck")
    if stuck is not None:
        yield from ("--stuck", "--silent-since", stuck)
