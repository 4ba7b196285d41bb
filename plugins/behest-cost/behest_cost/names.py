"""Under which names a price table may have a model: its own first, then those by which it is the same model at the same price.

- **Clouds**: Amazon Bedrock's names are the vendor's, behind a region's prefix, in an inference profile's ARN:
  ``bedrock/arn:aws:bedrock:…:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0`` is
  ``anthropic/claude-sonnet-4-5-20250929``. Azure's are OpenAI's, Vertex AI's are Google's or Anthropic's.
- **Versions**: where a name ends in a date, ``-20250929``, ``-2025-04-14`` or ``@20250929``, it is looked for without.
- **Fine-tunes** (``ft:gpt-4o-2024-08-06:…``) have prices of their own, under ``openai/ft:gpt-4o*`` or the like. They are never
  taken for their base model, which costs less. Nor is an application inference profile: its name says nothing.
- What a router serves (``openrouter/…``) has the router's price.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARN: Final = re.compile(r"arn:[^:]*:bedrock:[^/]*/")
_REGION: Final = re.compile(r"(?:us|us-gov|eu|apac|jp|au|ca|sa|me|af|global)\.(?=[a-z0-9]+\.)")
_BEDROCK_VERSION: Final = re.compile(r"(?:-v\d+)?(?::\d+)*(?::\w+)?$")
_DATE: Final = re.compile(r"[-@]20\d{2}-?[01]\d-?[0-3]\d$")

_SAME_AS: Final = {
    "aws.bedrock": "bedrock",
    "amazon-bedrock": "bedrock",
    "amazon_bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "azure": "openai",
    "azure.ai.openai": "openai",
    "azure_openai": "openai",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "vertex_ai": "google",
}
"""Providers that sell another one's models at that one's list price, or are only called otherwise by a framework."""


def names_of(name: str) -> Iterator[str]:
    """Return the names of a ``provider/model``, those that say most first."""
    yield name
    provider, _, model = name.partition("/")
    for each in dict.fromkeys(_sold_as(_SAME_AS.get(provider, provider), model)):
        if each != name:
            yield each
        undated = _DATE.sub("", each)
        if undated != each and "/ft:" not in each:
            yield undated


def _sold_as(provider: str, model: str) -> Iterator[str]:
    yield f"{provider}/{model}"
    if provider == "bedrock":
        inner = _REGION.sub("", _ARN.sub("", model), count=1)
        yield f"{provider}/{inner}"
        vendor, dot, rest = inner.partition(".")
        if dot and "/" not in vendor:
            yield f"{vendor}/{rest}"
            yield f"{vendor}/{_BEDROCK_VERSION.sub('', rest)}"
    elif provider == "google" and model.startswith("claude"):
        yield f"anthropic/{model.replace('@', '-')}"
