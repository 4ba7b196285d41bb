"""LangChain's words and numbers, in behest's.

- Tokens: LangChain's `input_tokens` are all of them, those read from and written to a cache too. behest counts cache writes
  beside `input_tokens`, so they are taken off.
- Cache reads and writes have more keys than LangChain documents: `priority_cache_read` and `flex_cache_read` of OpenAI's service
  tiers; `ephemeral_5m_input_tokens` and `ephemeral_1h_input_tokens` of Anthropic, where `cache_creation` is 0 then.
- An answer from LangChain's own cache (`set_llm_cache`) has the usage of the call that filled it, with a `total_cost` of 0. It
  used no tokens.
- Finish reasons: the seed's words for OpenAI's, Anthropic's, Bedrock's and Google's; other ones as they are.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages.ai import UsageMetadata

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


def finish_reason(told: Mapping[str, Any]) -> str | None:
    """Return why a model stopped, of what its message or its generation tells; None where they don't."""
    reason = next((told[key] for key in _REASON_KEYS if told.get(key)), None)
    return None if reason is None else _FINISH_REASONS.get(str(reason), str(reason))


def tokens(usage: UsageMetadata) -> dict[str, int] | None:
    """Return a call's usage as the arguments of `RunRecorder.usage`; None where no tokens were used, or told."""
    if usage.get("total_cost") == 0:
        return None
    details: Mapping[str, Any] = usage.get("input_token_details") or {}
    present = {key: count for key, count in details.items() if count is not None}
    read = [count for key, count in present.items() if key.endswith("cache_read")]
    written = [
        count for key, count in present.items() if key.endswith("cache_creation") or key.startswith("ephemeral_")
    ]
    counts = {
        # some count the same tokens as input and as written, and more than once
        "input_tokens": max(0, usage["input_tokens"] - sum(written)),
        "output_tokens": usage["output_tokens"],
    }
    if read:
        counts["cached_input_tokens"] = sum(read)
    if written:
        counts["cache_creation_input_tokens"] = sum(written)
    return counts
