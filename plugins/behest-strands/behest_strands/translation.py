"""What Strands says, in behest's words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import as_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from strands.models import Model
    from strands.types.content import Message
    from strands.types.tools import ToolResult, ToolUse

    from behest_core.model.json import JSON

FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}

_COUNTED_WITHIN: Final = frozenset(
    {"gemini", "litellm", "llamaapi", "llamacpp", "mistral", "ollama", "openai", "writer"}
)
"""The providers whose input tokens hold the cached ones. Anthropic's and Bedrock's do not, and the form of Strands' messages, and
of its usage, is Bedrock's: so they don't in a model of somebody's own."""

_PARAMETERS: Final = ("temperature", "top_p", "max_tokens", "stop_sequences", "params")

_GRANTED: Final = frozenset(
    {"y", "yes", "true", "ok", "approve", "approved", "allow", "allowed", "grant", "granted", "t", "trust"}
)
_DENIED: Final = frozenset({"n", "no", "false", "deny", "denied", "reject", "rejected", "refuse", "refused"})


def provider_of(model: Model) -> str:
    """Return the name of the framework's module that the model's class, or one it is made from, comes from."""
    for each in type(model).__mro__:
        package, _, name = each.__module__.rpartition(".")
        if package == "strands.models" and name != "model":
            return name.removesuffix("_responses")  # another interface of the same provider
    return type(model).__name__


def model_id_of(model: Model) -> str:
    """Return the model's id, the name of its class where it has none."""
    config = model.get_config()
    known = config.get("model_id") if isinstance(config, dict) else None
    return str(known or type(model).__name__)


def parameters_of(model: Model, tool_choice: object) -> JSON:
    """Return what the model is configured with, and whether it has to call a tool; None where nothing is said."""
    config = model.get_config()
    known = {name: config[name] for name in _PARAMETERS if name in config} if isinstance(config, dict) else {}
    return as_json({**known, **({"tool_choice": tool_choice} if tool_choice else {})}) or None


def tokens_of(usage: Mapping[str, int], provider: str) -> dict[str, int]:
    """Return the tokens of one call as `ModelCall.usage` takes them; nothing where the provider told none.

    Parts that are more than the whole can't be within it, whatever the provider's rule is.
    """
    given, written = usage.get("inputTokens", 0), usage.get("outputTokens", 0)
    cached = {
        "cache_read_input_tokens": usage.get("cacheReadInputTokens") or 0,
        "cache_creation_input_tokens": usage.get("cacheWriteInputTokens") or 0,
    }
    beside = sum(cached.values())
    if provider not in _COUNTED_WITHIN or beside > given:
        given += beside
    if not given and not written:
        return {}
    return {"input_tokens": given, "output_tokens": written, **{name: count for name, count in cached.items() if count}}


def text_of(message: Message) -> str:
    """Return what a message says."""
    return "".join(block["text"] for block in message["content"] if "text" in block)


def reasoning_of(message: Message) -> str:
    """Return what a model was thinking, as far as it tells."""
    thoughts = (
        block["reasoningContent"].get("reasoningText") for block in message["content"] if "reasoningContent" in block
    )
    return "".join(thought.get("text", "") for thought in thoughts if thought)


def tools_in(message: Message) -> Iterator[ToolUse]:
    """Return the tool calls that a message asks for."""
    return (block["toolUse"] for block in message["content"] if "toolUse" in block)


def results_in(message: Message) -> Iterator[ToolResult]:
    """Return the tools' results that a message holds."""
    return (block["toolResult"] for block in message["content"] if "toolResult" in block)


def _told_by(result: ToolResult) -> list[Any]:
    return [block.get("text", block.get("json", block)) for block in result["content"]]


def error_of(result: ToolResult) -> str:
    """Return what a model is told of a tool that failed."""
    return "\n".join(str(each) for each in _told_by(result))


def outcome_of(result: ToolResult) -> ToolExecutionResult:
    """Return how a tool ended."""
    if result.get("status") == "error":
        return ToolExecutionResult.failed(error_of(result))
    blocks = _told_by(result)
    return ToolExecutionResult.ok(as_json(blocks[0] if len(blocks) == 1 else blocks))


def answers_in(responses: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what was answered to each interrupt, by its id: granted or denied where the response says so, else answered."""
    answers = [each["interruptResponse"] for each in responses]
    return {str(each["interruptId"]): _answer(each.get("response")) for each in answers}


def _answer(response: object) -> str:
    if isinstance(response, dict) and "approved" in response:
        response = response["approved"]
    word = str(response).strip().lower() if isinstance(response, str | bool) else ""
    if word in _GRANTED:
        return "granted"
    return "denied" if word in _DENIED else "answered"
