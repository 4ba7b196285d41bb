"""LangChain's words, in behest's: why a model stopped, who answered, what a model was sent, how somebody answered.

Finish reasons are the seed's words for OpenAI's, Anthropic's, Bedrock's and Google's; other ones stay as they are.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, ToolMessage

from behest_core.recording.adapter import as_json
from behest_langchain.langgraph_if_any import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

MESSAGE_FORMAT: Final = "langchain"

_UNNAMED: Final = "LangGraph"
"""The name of a graph that has none."""

_REASON_KEYS: Final = ("finish_reason", "stop_reason", "stopReason", "done_reason")

_FINISH_REASONS: Final = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "STOP": "stop",
        "max_tokens": "length",
        "MAX_TOKENS": "length",
        "tool_use": "tool_calls",
        "function_call": "tool_calls",
        "content_filtered": "content_filter",
        "guardrail_intervened": "content_filter",
        "refusal": "content_filter",
        "SAFETY": "content_filter",
    }
)

_NO_PARAMETERS: Final = frozenset({"tools", "functions", "_type", "messages"})
_SECRET: Final = ("key", "token", "secret", "password", "headers", "credential")
_NO_SECRETS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "budget_tokens")

_GRANTED: Final = frozenset({"approve", "approved", "accept", "edit", "yes"})
_DENIED: Final = frozenset({"reject", "rejected", "deny", "denied", "ignore", "no"})


def finish_reason(told: Mapping[str, Any]) -> str | None:
    """Return why a model stopped, of what its message or its generation tells; None where they don't."""
    reason = next((told[key] for key in _REASON_KEYS if told.get(key)), None)
    return None if reason is None else _FINISH_REASONS.get(str(reason), str(reason))


class Answering(TypedDict):
    """Who answered, as far as the message tells."""

    provider: str | None
    model: str | None


def who_answered(told: Mapping[str, Any]) -> Answering:
    """Return the provider and the model that answered."""
    model = told.get("model_name") or told.get("model")
    return Answering(provider=told.get("model_provider"), model=model if isinstance(model, str) else None)


def sent(prompt: str | Sequence[BaseMessage], parameters: Mapping[str, Any], *, has_content: bool) -> dict[str, Any]:
    """Return what a model is sent as the arguments of `RunRecorder.model_call`.

    Parameters with keys in them are left out; without content, all that are more than a number or a word.
    """
    messages = [prompt] if isinstance(prompt, str) else [dumpd(each)["kwargs"] for each in prompt]
    settings = {
        name: as_json(value)
        for name, value in parameters.items()
        if value is not None
        and name not in _NO_PARAMETERS
        and (name in _NO_SECRETS or not any(word in name.lower() for word in _SECRET))
        and (has_content or isinstance(value, bool | int | float | str))
    }
    tools = parameters.get("tools") or parameters.get("functions")
    return {
        "message_format": MESSAGE_FORMAT,
        "messages": [as_json(each) for each in messages],
        "tool_definitions": as_json(tools) if tools else None,
        "parameters": settings or None,
    }


def reasoning_of(message: object) -> str:
    """Return what a model thought, as far as its message tells."""
    if not isinstance(message, AIMessage):
        return ""
    return "".join(str(each.get("reasoning", "")) for each in message.content_blocks if each["type"] == "reasoning")


class ToolAnswer(NamedTuple):
    """What a model is told of a tool call."""

    call_id: str
    tool_name: str
    text: str


def tool_answers(state: Any) -> Iterator[ToolAnswer]:  # noqa: ANN401 (whatever goes into a node or comes out of it)
    """Return the tools' messages in what goes into a node, or comes out of it: a state, an update, a Command, or messages."""
    match state:
        case ToolMessage():
            yield ToolAnswer(state.tool_call_id, state.name or "", str(state.text))
        case {"tool_call_id": str(call_id), "content": content}:
            yield ToolAnswer(call_id, state.get("name") or "", str(content))
        case {"messages": messages}:
            yield from tool_answers(messages)
        case list() | tuple():
            for each in state:
                yield from tool_answers(each)
        case Command():
            yield from tool_answers(state.update)
        case _ if hasattr(state, "messages"):
            yield from tool_answers(state.messages)


def agent_name(name: str | None, metadata: Mapping[str, Any]) -> str | None:
    """Return the name of a root run's agent; None where it has none of its own."""
    found = metadata.get("lc_agent_name")
    if found is None and metadata.get("ls_integration") == "langgraph" and name != _UNNAMED:
        found = name
    return found


def answers_of(resume: object) -> str:
    """Return what somebody answered in one word: granted, denied, or answered where it is no yes or no.

    Besides booleans these are the answers to LangChain's `HumanInTheLoopMiddleware`. Of several decisions one denial counts.
    """
    if isinstance(resume, bool):
        return "granted" if resume else "denied"
    if isinstance(resume, str):
        word = resume.strip().lower()
        return "granted" if word in _GRANTED else "denied" if word in _DENIED else "answered"
    if isinstance(resume, dict):
        return answers_of(resume.get("decisions", resume.get("type")))
    if isinstance(resume, list) and resume:
        words = {answers_of(each) for each in resume}
        return "denied" if "denied" in words else words.pop() if len(words) == 1 else "answered"
    return "answered"
