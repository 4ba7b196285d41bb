"""What a framework's message says, and who says it: from the forms that `agent.ModelRequested` names to plain text.

One function for each `message_format` (docs/items.md). A message may say several things: a user's text beside a tool's result.
What is no text (an image, a file) is told by its kind, in brackets. A message of another form than expected is shown as JSON:
nothing is lost for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from behest_core.model.json import JSON

Role: TypeAlias = str
"""``system``, ``user``, ``assistant`` or ``tool``; another word where the framework has one."""


class Said(Struct, frozen=True):
    """What one says in a message. `call_id` is a tool's call, where a tool says it."""

    role: Role
    text: str
    call_id: str | None = None


_Reader: TypeAlias = Callable[[Any], Iterator[Said]]

_ROLES: Final = {"human": "user", "ai": "assistant", "developer": "system", "function": "tool", "model": "assistant"}


def said(message_format: str, message: JSON) -> list[Said]:
    """Return what a message says, in its order."""
    reader = _READERS.get(message_format, _by_role)
    try:
        return [each for each in reader(message) if each.text or each.role == "tool"]
    except (AttributeError, IndexError, KeyError, TypeError):
        role = message.get("role") if isinstance(message, dict) else None
        return [Said(str(role or "message"), as_text(message))]


def as_text(value: JSON) -> str:
    """Return a value as people read it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def instructions_text(value: JSON) -> str:
    """Return system instructions as text: they are text, or parts of it."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(_part_text, value)))
    return as_text(value)


def _by_role(message: Any) -> Iterator[Said]:  # noqa: ANN401 (a framework's message)
    """Read what has `role` and `content`: text, or parts with a type of their own."""
    role = _ROLES.get(message["role"], message["role"])
    content = message.get("content")
    text = content if isinstance(content, str) else "\n".join(filter(None, map(_part_text, content or [])))
    yield Said(role, text, message.get("tool_call_id"))


def _part_text(part: Any) -> str:  # noqa: ANN401 (the same)
    """Return the text of a part; of one that is none, its kind. What is shown elsewhere, such as a tool call, has none."""
    if isinstance(part, str):
        return part
    kind = str(part.get("type") or part.get("part_kind") or next(iter(part), ""))
    text = part.get("text", part.get("content"))
    if isinstance(text, str):
        return text
    if kind in _SHOWN_ELSEWHERE:
        return ""
    return f"[{kind}]"


_SHOWN_ELSEWHERE: Final = frozenset(
    {"tool_use", "tool_call", "tool-call", "toolUse", "reasoning", "thinking", "reasoningContent", "cachePoint"}
)


def _openai_responses(item: Any) -> Iterator[Said]:  # noqa: ANN401 (the same)
    kind = item.get("type", "message")
    if kind == "message":
        yield from _by_role(item)
    elif kind.endswith("_output"):
        yield Said("tool", as_text(item.get("output")), item.get("call_id"))


def _strands(message: Any) -> Iterator[Said]:  # noqa: ANN401 (the same)
    for block in message["content"]:
        if "toolResult" in block:
            result = block["toolResult"]
            yield Said("tool", "\n".join(map(_result_text, result["content"])), result.get("toolUseId"))
        else:
            yield Said(message["role"], _part_text(block))


def _result_text(block: Any) -> str:  # noqa: ANN401 (the same)
    return as_text(block["json"]) if "json" in block else _part_text(block)


def _langchain(message: Any) -> Iterator[Said]:  # noqa: ANN401 (the same)
    inner = message.get("kwargs") or message.get("data") or message
    role = inner.get("type") or message["type"]
    yield from _by_role({**inner, "role": inner.get("role", role) if role == "chat" else role})


def _pydantic_ai(message: Any) -> Iterator[Said]:  # noqa: ANN401 (the same)
    answers = message["kind"] == "response"
    for part in message["parts"]:
        kind, content = part["part_kind"], part.get("content")
        role = _PARTS.get(kind, "assistant" if answers else "user")
        if kind == "retry-prompt" and not part.get("tool_name"):
            role = "user"  # the framework asks for another answer
        if kind in _SHOWN_ELSEWHERE:
            continue
        text = "\n".join(map(_part_text, content)) if role == "user" and isinstance(content, list) else as_text(content)
        yield Said(role, text, part.get("tool_call_id"))


_PARTS: Final = {"system-prompt": "system", "user-prompt": "user", "tool-return": "tool", "retry-prompt": "tool"}


def _otel(message: Any) -> Iterator[Said]:  # noqa: ANN401 (the same)
    for part in message["parts"]:
        if part.get("type") == "tool_call_response":
            yield Said("tool", as_text(part.get("response", part.get("result"))), part.get("id"))
        else:
            yield Said(_ROLES.get(message["role"], message["role"]), _part_text(part))


_READERS: Final[dict[str, _Reader]] = {
    "openai": _by_role,
    "openai-responses": _openai_responses,
    "strands": _strands,
    "langchain": _langchain,
    "pydantic-ai": _pydantic_ai,
    "ag-ui": _by_role,
    "otel": _otel,
}
