"""Exceptions as text: what of an agent's error is kept.

- What is behind an exception is told: what caused it (`__cause__`), or what was being handled when it was raised (`__context__`,
  unless suppressed), and each member of a group.
- Each is told once, and a bounded number of them; one that says the same as what came of it is not repeated. How long a text may
  be is for whoever writes it (cut.py).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAUSES: Final = 8
"""How many causes of an exception are told where they are a list."""

_LINES: Final = 20
_INDENT: Final = "  "


def error_text(error: BaseException) -> str:
    """Return an exception's class and message; its class alone where it has no message, or can't tell it."""
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 (whatever the agent's own class raises)
        message = ""
    return f"{name}: {message}" if message else name


def text_with_causes(error: BaseException) -> str:
    """Return an exception's text, and a line for each that is behind it, at most 20 lines."""
    lines = [error_text(error)]
    lines.extend(f"{how}{text}" for how, text in islice(_behind(error), _LINES))
    return "\n".join(lines if len(lines) <= _LINES else [*lines[:_LINES], "(and more)"])


def causes_of(error: BaseException) -> list[str]:
    """Return the texts of what was behind an exception, nearest first."""
    return [text for _, text in islice(_behind(error), _CAUSES)]


def _behind(error: BaseException) -> Iterator[tuple[str, str]]:
    """Return what is behind an exception, the nearest first: how a line of it begins, and its text."""
    seen = {id(error)}
    pending = [
        (error, "", "", "")
    ]  # with how far in and by which words its line begins, and the text of what it led to
    while pending:
        each, indent, how, led_to = pending.pop()
        text = error_text(each)
        if each is not error and text != led_to:
            yield indent + how, text
        new = [(one, indent + deeper, why, text) for one, why, deeper in _sources(each) if id(one) not in seen]
        seen.update(id(one) for one, *_ in new)
        pending.extend(reversed(new))


def _sources(error: BaseException) -> Iterator[tuple[BaseException, str, str]]:
    """Return what an exception comes from directly, with how to say so, and how much further in."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions[:_LINES]:
            yield member, "member: ", _INDENT
    if error.__cause__ is not None:
        yield error.__cause__, "caused by ", ""
    elif error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__, "while handling ", ""
