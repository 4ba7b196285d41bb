"""What a span's attributes say, whichever convention they follow: OpenTelemetry's for GenAI, or OpenInference's.

The names of GenAI that were in use before are read as well (`gen_ai.system`, `gen_ai.usage.prompt_tokens`). What instrumentations
put into a span event instead, `gen_ai.client.inference.operation.details`, counts as the span's. Messages are given in the form
of `gen_ai.input.messages`: a role, and parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AttributeValue

    from behest_core.model.json import JSON

STEP_KIND: Final = "behest.step.kind"
"""The attribute under which a step's kind is exported, as the conventions have none for most of them."""

RUN_ID: Final = "behest.run_id"

_DETAILS: Final = "gen_ai.client.inference.operation.details"
_MODEL: Final = frozenset({"chat", "text_completion", "generate_content"})
_AGENT: Final = frozenset({"invoke_agent", "invoke_workflow", "create_agent"})
_OPEN_INFERENCE: Final = {
    "LLM": "model",
    "TOOL": "tool",
    "AGENT": "agent",
    "CHAIN": "node",
    "RETRIEVER": "retriever",
    "RERANKER": "reranker",
    "EMBEDDING": "embeddings",
    "GUARDRAIL": "guardrail",
    "EVALUATOR": "evaluator",
}
_PARAMETERS: Final = "gen_ai.request."


class Told(Struct, frozen=True):
    """The attributes of a span. Values are those of OpenTelemetry: text, numbers, lists of them."""

    attributes: Mapping[str, Any]

    @classmethod
    def by(cls, span: ReadableSpan) -> Told:
        """Return what a span tells, so far."""
        found: dict[str, AttributeValue] = dict(span.attributes or {})
        for event in span.events:
            if event.name == _DETAILS:
                found.update(event.attributes or {})
        return cls(found)

    def text(self, *names: str) -> str | None:
        """Return the first of these attributes that is text and not empty."""
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, str) and value:
                return value
        return None

    def count(self, *names: str) -> int | None:
        """Return the first of these attributes that is a count."""
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                return int(value)
        return None

    def json(self, *names: str) -> JSON:
        """Return the first of these attributes that is there, read as JSON where it is JSON's text."""
        for name in names:
            value = self.attributes.get(name)
            if value is not None:
                return as_value(value)
        return None

    # ------------------------------------------------------------ what kind of span

    @property
    def kind(self) -> str | None:
        """Return ``model``, ``tool``, or the kind of a step; None for a span that is no part of an agent's work."""
        operation = self.text("gen_ai.operation.name")
        if operation in _MODEL:
            return "model"
        if operation == "execute_tool":
            return "tool"
        if self.text(STEP_KIND) is not None:
            return self.text(STEP_KIND)
        if operation is not None:
            return "agent" if operation in _AGENT else operation
        return _OPEN_INFERENCE.get(self.text("openinference.span.kind") or "")

    # ------------------------------------------------------------ who, and for whom

    @property
    def provider(self) -> str | None:
        """Return who serves the model."""
        return self.text("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")

    @property
    def model(self) -> str | None:
        """Return the model that was asked for."""
        return self.text("gen_ai.request.model", "llm.model_name", "embedding.model_name")

    @property
    def agent_name(self) -> str | None:
        """Return the agent's name."""
        return self.text("gen_ai.agent.name", "agent.name", "graph.node.id")

    @property
    def session_id(self) -> str | None:
        """Return the conversation that the agent's work belongs to."""
        return self.text("gen_ai.conversation.id", "session.id")

    @property
    def user_id(self) -> str | None:
        """Return for whom the agent works."""
        return self.text("user.id", "enduser.id")

    @property
    def tags(self) -> list[str]:
        """Return the tags."""
        value = self.attributes.get("tag.tags")
        return [str(each) for each in value] if isinstance(value, list | tuple) else []

    # ------------------------------------------------------------ a model call

    @property
    def finish_reason(self) -> str | None:
        """Return why the model stopped: of several choices, the first."""
        reasons = self.attributes.get("gen_ai.response.finish_reasons")
        first = reasons[0] if isinstance(reasons, list | tuple) and reasons else reasons
        return first if isinstance(first, str) and first else self.text("llm.finish_reason")

    @property
    def parameters(self) -> JSON:
        """Return what the model was asked with: temperature and so on."""
        found: dict[str, JSON] = {
            name.removeprefix(_PARAMETERS): as_value(value)
            for name, value in self.attributes.items()
            if name.startswith(_PARAMETERS) and name != "gen_ai.request.model"
        }
        given = self.json("llm.invocation_parameters")
        if isinstance(given, dict):
            found |= given
        return found or None

    @property
    def input_messages(self) -> list[JSON] | None:
        """Return what the model was sent; None where the span doesn't tell."""
        return self._messages("gen_ai.input.messages", "llm.input_messages")

    @property
    def output_messages(self) -> list[JSON] | None:
        """Return what the model answered; None where the span doesn't tell."""
        return self._messages("gen_ai.output.messages", "llm.output_messages")

    @property
    def system_instructions(self) -> JSON:
        """Return what the model was told to be."""
        return self.json("gen_ai.system_instructions")

    @property
    def tool_definitions(self) -> JSON:
        """Return the tools that the model might ask for."""
        given = self.json("gen_ai.tool.definitions")
        if given is not None:
            return given
        flat = _unflattened(self.attributes, "llm.tools.")
        return [as_value(each.get("tool.json_schema")) for each in flat] or None

    def _messages(self, name: str, flattened: str) -> list[JSON] | None:
        given = self.json(name)
        if isinstance(given, list):
            return given
        flat = _unflattened(self.attributes, f"{flattened}.")
        return [_message(each) for each in flat] or None


def as_value(value: Any) -> JSON:  # noqa: ANN401 (an attribute)
    """Return an attribute as JSON: what is JSON's text is read, a sequence is a list."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            found: JSON = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            return value
        return found
    if isinstance(value, list | tuple):
        return [as_value(each) for each in value]
    return value  # type: ignore[no-any-return]  # text, a number, or a truth value


def parts_of(messages: Sequence[JSON] | None) -> Iterator[dict[str, Any]]:
    """Return the parts of messages, in order; what is none is left out."""
    for message in messages or ():
        parts = message.get("parts") if isinstance(message, dict) else None
        if isinstance(parts, list):
            yield from (part for part in parts if isinstance(part, dict))


# ---------------------------------------------------------------- OpenInference's lists, in names


def _unflattened(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return the objects of a list that is spread over names: ``llm.input_messages.0.message.role``."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if name.startswith(prefix):
            place, _, rest = name[len(prefix) :].partition(".")
            if place.isdecimal():
                found.setdefault(int(place), {})[rest] = value
    return [found[place] for place in sorted(found)]


def _message(flat: Mapping[str, Any]) -> JSON:
    parts: list[JSON] = []
    if isinstance(flat.get("message.content"), str):
        parts.append({"type": "text", "content": flat["message.content"]})
    for content in _unflattened(flat, "message.contents."):
        kind = content.get("message_content.type", "text")
        parts.append({"type": kind, "content": content.get("message_content.text")})
    parts += [
        {
            "type": "tool_call",
            "id": call.get("tool_call.id"),
            "name": call.get("tool_call.function.name"),
            "arguments": as_value(call.get("tool_call.function.arguments")),
        }
        for call in _unflattened(flat, "message.tool_calls.")
    ]
    role = flat.get("message.role", "user")
    if role == "tool":
        answer = flat.get("message.content")
        parts = [{"type": "tool_call_response", "id": flat.get("message.tool_call_id"), "response": answer}]
    return {"role": role, "parts": parts}
