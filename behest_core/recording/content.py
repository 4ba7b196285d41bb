"""Recording without content: shapes, counts and ids stay, and nothing of what was said.

Content is what a person, a model or a tool said: texts, arguments, results, messages. `CONTENT` names where it is in the events
of the core. A text becomes empty, a value null; of an error its class stays; what may be absent is. `content_bytes` of the event
says how much was left out, in bytes of JSON. A plugin's own events stay as they are: who emits them knows what is in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from behest_core.model.json import JSON

VARIABLE: Final = "BEHEST_RECORD_CONTENT"
"""The environment variable that says whether content is recorded where the recorder wasn't told: ``true`` or ``false``."""

_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*(?=: |$)")

_Left = Callable[[Any], Any]
_GONE: Final = object()


def _text(_: JSON) -> JSON:
    return ""


def _value(_: JSON) -> JSON:
    return None


def _absent(_: JSON) -> object:
    return _GONE


def _error(text: str) -> JSON:
    """Return the class of an error: what error_text begins with."""
    found = _CLASS.match(text)
    return found[0] if found else ""


def _errors(texts: list[str]) -> JSON:
    return [_error(each) for each in texts]


CONTENT: Final[Mapping[str, Mapping[str, _Left]]] = MappingProxyType(
    {
        "TextDelta": {"delta": _text},
        "ToolCallDelta": {"delta": _text},
        "ToolCallCompleted": {"call.arguments": _value},
        "ToolExecutionFinished": {"result.Success.output": _value, "result.Failure.error": _error},
        "RunFailed": {"error": _error},
        "DoomLoopDetected": {"description": _text},
        "agent.ModelRequested": {"messages": _absent, "system_instructions": _absent, "tool_definitions": _absent},
        "agent.ModelFinished": {"text": _absent, "reasoning": _absent, "tool_calls": _absent},
        "agent.ModelFailed": {"error": _error, "causes": _errors},
        "agent.StepFinished": {"error": _error},
        "agent.ToolRefused": {"reason": _text},
    }
)
"""By type, the fields that hold content, and what is left of each."""


def is_recorded_by_default() -> bool:
    """Return what BEHEST_RECORD_CONTENT says, true where it is not set. Raises ValueError for another word."""
    said = os.environ.get(VARIABLE, "true").strip().lower()
    if said not in {"true", "false"}:
        raise ValueError(f"{VARIABLE} is {said!r}; write true or false")
    return said == "true"


def without_content(event: dict[str, JSON]) -> dict[str, JSON]:
    """Take the content out of an event, in place; return it."""
    left_out = 0
    for path, left in CONTENT.get(str(event.get("type")), {}).items():
        *way, name = path.split(".")
        holder: Any = event
        for each in way:
            holder = holder.get(each) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or name not in holder:
            continue
        before = holder[name]
        rest = left(before)
        if rest is _GONE:
            del holder[name]
        else:
            holder[name] = rest
        left_out += len(msgspec.json.encode(before)) - (0 if rest is _GONE else len(msgspec.json.encode(rest)))
    if left_out > 0:
        event["content_bytes"] = left_out
    return event
