"""Tokens that LangChain tells, in behest's meaning.

- `usage_metadata` of a message is LangChain's: input and output tokens are all of them, those of a cache and those of reasoning
  are parts. Where a part is more than the whole, the integration has handed on counts of a provider that counts beside it.
- Cache reads and writes have more keys than LangChain documents: `priority_cache_read` and `flex_cache_read` of OpenAI's service
  tiers; `ephemeral_5m_input_tokens` and `ephemeral_1h_input_tokens` of Anthropic, which are parts of `cache_creation` where that
  is told.
- Some integrations tell only what the provider reported: `token_usage` or `usage`. Its form says whose rule it goes by.
- Chunks of a stream add up, as LangChain adds them: the input is told once. One that tells it again counts from the beginning.
- An answer from LangChain's own cache (`set_llm_cache`) has the usage of the call that filled it, with a `total_cost` of 0. It
  used no tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from langchain_core.messages.ai import add_usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NotRequired

    from langchain_core.messages.ai import UsageMetadata


class Tokens(TypedDict):
    """The arguments of `ModelCall.usage`."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: NotRequired[int]
    cache_creation_input_tokens: NotRequired[int]
    cache_creation_1h_input_tokens: NotRequired[int]
    reasoning_output_tokens: NotRequired[int]


_REASONS_BESIDE: Final = frozenset({"xai"})
"""Providers whose output tokens leave out what was thought."""

_REPORTS: Final = ("token_usage", "usage")


def tokens(usage: UsageMetadata | Mapping[str, Any], provider: str | None = None) -> Tokens | None:
    """Return the usage of a message as the arguments of `ModelCall.usage`; None where no tokens were used, or told."""
    if usage.get("total_cost") == 0:
        return None
    given, written = _counts(usage.get("input_token_details")), _counts(usage.get("output_token_details"))
    hour = given.get("ephemeral_1h_input_tokens", 0)
    parts = sum(count for key, count in given.items() if key.startswith("ephemeral_"))
    stored = max(parts, sum(count for key, count in given.items() if key.endswith("cache_creation")))
    read = sum(count for key, count in given.items() if key.endswith("cache_read"))
    reasoning = sum(count for key, count in written.items() if key.endswith("reasoning"))
    output = usage["output_tokens"]
    return _arguments(
        _whole(usage["input_tokens"], read + stored),
        output + reasoning if provider in _REASONS_BESIDE else _whole(output, reasoning),
        read=read,
        stored=stored,
        hour=hour,
        reasoning=reasoning,
    )


def reported(told: Mapping[str, Any], provider: str | None = None) -> Tokens | None:
    """Return the tokens that a provider reported, of what a message or a result tells beside its text."""
    report: Mapping[str, Any] = next(
        (told[key] for key in _REPORTS if isinstance(told.get(key), dict) and told[key]), {}
    )
    for key, read in _READERS.items():
        if report.get(key) is not None:
            return read(report, provider)
    return None


def _openai(report: Mapping[str, Any], provider: str | None) -> Tokens:
    reasoning = _part(report, "completion_tokens_details", "reasoning_tokens")
    return _arguments(
        report["prompt_tokens"],
        (report.get("completion_tokens") or 0) + (reasoning if provider in _REASONS_BESIDE else 0),
        read=_part(report, "prompt_tokens_details", "cached_tokens"),
        reasoning=reasoning,
    )


def _bedrock(report: Mapping[str, Any], _: str | None) -> Tokens:
    read, stored = report.get("cacheReadInputTokens") or 0, report.get("cacheWriteInputTokens") or 0
    return _arguments(report["inputTokens"] + read + stored, report.get("outputTokens") or 0, read=read, stored=stored)


def _google(report: Mapping[str, Any], _: str | None) -> Tokens:
    reasoning = report.get("thoughts_token_count") or 0
    return _arguments(
        report["prompt_token_count"],
        (report.get("candidates_token_count") or 0) + reasoning,
        read=report.get("cached_content_token_count") or 0,
        reasoning=reasoning,
    )


def _anthropic_or_responses(report: Mapping[str, Any], _: str | None) -> Tokens:
    """Anthropic counts cached tokens beside the input, OpenAI's Responses within: each has keys of its own for them."""
    read, stored = report.get("cache_read_input_tokens") or 0, report.get("cache_creation_input_tokens") or 0
    return _arguments(
        report["input_tokens"] + read + stored,
        report.get("output_tokens") or 0,
        read=read or _part(report, "input_tokens_details", "cached_tokens"),
        stored=stored,
        hour=_part(report, "cache_creation", "ephemeral_1h_input_tokens"),
        reasoning=_part(report, "output_tokens_details", "reasoning_tokens"),
    )


_READERS: Final = {
    "prompt_tokens": _openai,
    "inputTokens": _bedrock,
    "prompt_token_count": _google,
    "input_tokens": _anthropic_or_responses,
}
"""How a provider's report is read, by a key that it has."""


class StreamedUsage:
    """What the chunks of a stream told so far."""

    def __init__(self) -> None:
        self.is_cumulative = False
        self.latest: UsageMetadata | None = None

    def add(self, usage: UsageMetadata) -> None:
        """Take a chunk's usage."""
        if self.latest is not None and usage["input_tokens"] >= self.latest["input_tokens"] > 0:
            self.is_cumulative = True
        self.latest = usage if self.is_cumulative else add_usage(self.latest, usage)


def _arguments(  # noqa: PLR0913 (what a provider counts)
    given: int, written: int, *, read: int = 0, stored: int = 0, hour: int = 0, reasoning: int = 0
) -> Tokens:
    counts = {
        "input_tokens": given,
        "output_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": stored,
        "cache_creation_1h_input_tokens": hour,
        "reasoning_output_tokens": reasoning,
    }
    always = ("input_tokens", "output_tokens")
    return cast("Tokens", {name: count for name, count in counts.items() if count or name in always})


def _whole(count: int, parts: int) -> int:
    return count if parts <= count else count + parts


def _counts(details: Mapping[str, Any] | None) -> dict[str, int]:
    return {key: count for key, count in (details or {}).items() if isinstance(count, int)}


def _part(report: Mapping[str, Any], details: str, name: str) -> int:
    found = report.get(details)
    return (found.get(name) or 0) if isinstance(found, dict) else 0
