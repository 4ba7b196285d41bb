"""What the SDK's objects say, in behest's words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from agents import RunContextWrapper, RunState, default_tool_error_function, get_current_span
from agents.models import get_default_model
from agents.models.fake_id import FAKE_RESPONSES_ID

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import as_json

if TYPE_CHECKING:
    from agents import Agent, ModelResponse, RunConfig, Usage
    from agents.run import RunOptions
    from agents.usage import RequestUsage

    from behest_core.model.json import JSON

    Config = RunConfig | dict[str, Any] | None

_ROUTES: Final = ("litellm/", "any-llm/")
"""How a model's name begins where the SDK leaves it to a library to find the provider, whose name then follows."""


def configured(config: Config, name: str) -> Any:  # noqa: ANN401 (settings of any type)
    """Return a setting of a run's config."""
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)


def model_of(agent: Agent[Any], config: Config, provider: str) -> tuple[str, str]:
    """Return provider and name of the model that the agent calls; `provider` where the name has none."""
    model = configured(config, "model") or agent.model or get_default_model()
    name = model if isinstance(model, str) else str(getattr(model, "model", type(model).__name__))
    for route in _ROUTES:
        name = name.removeprefix(route)
    prefix, slash, rest = name.partition("/")
    return (prefix, rest) if slash else (provider, name)


def session_of(options: RunOptions[Any]) -> str | None:
    """Return what the SDK itself groups runs by."""
    session_id = None
    with suppress(Exception):  # a session of OpenAI's conversations has no id before it is used, and raises
        session_id = getattr(options.get("session"), "session_id", None)
    return options.get("conversation_id") or session_id or configured(options.get("run_config"), "group_id")


def calls_before(input: object, options: RunOptions[Any]) -> int:  # noqa: A002 (the SDK's name)
    """Return how many model calls the run's usage begins with: a resumed run goes on with that of the one before."""
    # a state's context is nowhere public until the first hook is called, and tools may have called models by then
    context = input._context if isinstance(input, RunState) else options.get("context")  # noqa: SLF001
    return len(context.usage.request_usage_entries) if isinstance(context, RunContextWrapper) else 0


def tokens_of(usage: Usage | RequestUsage) -> dict[str, int] | None:
    """Return the tokens of a model call, None where the provider told none."""
    if not usage.input_tokens and not usage.output_tokens:
        return None
    # the SDK's input tokens contain those that the cache was read for and those that were written into it
    read, written = usage.input_tokens_details.cached_tokens, _written(usage)
    tokens = {"input_tokens": usage.input_tokens - written, "output_tokens": usage.output_tokens}
    cached = {"cached_input_tokens": read, "cache_creation_input_tokens": written}
    return tokens | {name: count for name, count in cached.items() if count}


def _written(usage: Usage | RequestUsage) -> int:
    return getattr(usage.input_tokens_details, "cache_write_tokens", 0) or 0  # older versions of `openai` have none


class Answer:
    """What a model answered."""

    def __init__(self, response: ModelResponse) -> None:
        items = [cast("dict[str, Any]", as_json(item)) for item in response.output]
        self._messages = [item for item in items if item["type"] == "message"]
        self._calls = [item for item in items if item["type"].endswith("_call")]
        self._response_id = response.response_id

    @property
    def text(self) -> str:
        """What it wrote, refusals too."""
        parts = [part for message in self._messages for part in message["content"]]
        return "".join(part.get("text") or part.get("refusal") or "" for part in parts)

    @property
    def message_id(self) -> str | None:
        """The message's id, else the response's. Models without ids have an id of the SDK's, always the same: None then."""
        ids = [*(message["id"] for message in self._messages), self._response_id]
        return next((each for each in ids if each != FAKE_RESPONSES_ID), None)

    @property
    def tool_calls(self) -> list[tuple[str, str, JSON]]:
        """Id, name and arguments of each tool that it asked for, those too that the provider executed meanwhile."""
        return [
            (call_id(call), call.get("name") or call["type"].removesuffix("_call"), _arguments(call))
            for call in self._calls
        ]

    @property
    def finish_reason(self) -> str:
        """Why it stopped. The SDK does not tell, and raises where an answer is incomplete."""
        # a call without `call_id` was executed by the provider
        return "tool_calls" if any(call.get("call_id") for call in self._calls) else "stop"


def call_id(call: Any) -> str:  # noqa: ANN401 (an item as JSON)
    """Return a tool call's id."""
    return str(call.get("call_id") or call.get("id"))


def _arguments(call: dict[str, Any]) -> JSON:
    """Return a function's arguments; of other tools whatever the call says."""
    if "arguments" not in call:
        return {name: value for name, value in call.items() if name not in {"id", "call_id", "type", "status"}}
    try:
        arguments: JSON = json.loads(call["arguments"])
    except ValueError:
        arguments = call["arguments"]
    return arguments


def tool_result(context: RunContextWrapper[Any], output: object) -> ToolExecutionResult:
    """Return how the tool ended whose hook is being called. Of a failure, the SDK tells only what it says to the model."""
    span = get_current_span()
    sentence = default_tool_error_function(context, Exception())
    if (span is not None and span.error is not None) or (isinstance(output, str) and output.startswith(sentence)):
        return ToolExecutionResult.failed(str(output))
    return ToolExecutionResult.ok(as_json(output))
