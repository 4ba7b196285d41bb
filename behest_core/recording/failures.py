"""Exceptions as text: what of an agent's error is kept."""

from __future__ import annotations

_CAUSES = 8
"""How many causes of an exception are told."""


def error_text(error: BaseException) -> str:
    """Return an exception's class and message; its class alone where it has no message, or can't tell it."""
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 (whatever the agent's own class raises)
        message = ""
    return f"{name}: {message}" if message else name


def causes_of(error: BaseException) -> list[str]:
    """Return what was behind an exception, nearest first: what it was raised from, or while; of a group, its members."""
    causes: list[str] = []
    seen = {id(error)}
    pending = _behind(error)
    while pending and len(causes) < _CAUSES:
        cause = pending.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            causes.append(error_text(cause))
            pending.extend(_behind(cause))
    return causes


def _behind(error: BaseException) -> list[BaseException]:
    members = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    if error.__cause__ is not None:
        return [*members, error.__cause__]
    if error.__context__ is not None and not error.__suppress_context__:
        return [*members, error.__context__]
    return members
