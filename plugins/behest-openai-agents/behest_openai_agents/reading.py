"""What the SDK's objects say, in behest's words.

- A model's name may begin with its provider: ``anthropic/claude-sonnet-4-5``, also behind ``litellm/`` and ``any-llm/``.
- The SDK's input tokens contain those of a cache. Where these are more, they are counted beside.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypedDict, cast

from agents import (
    FunctionTool,
    RunConfig,
    RunContextWrapper,
    RunState,
    default_tool_error_function,
    gen_trace_id,
    get_current_span,
    get_current_trace,
)
from agents.models import get_default_model
from agents.models.fake_id import FAKE_RESPONSES_ID

from behest_core.model.events import ToolExecutionResult
from behest_core.recording.adapter import as_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agents import Agent, AgentOutputSchemaBase, Handoff, ModelSettings, Tool, Usage
    from agents.run import RunOptions
    from agents.tracing.traces import TraceState
    from openai.types.responses import ResponseUsage

    from behest_core.model.json import JSON

    Config = RunConfig | dict[str, Any] | None

MESSAGE_FORMAT: Final = "openai-responses"

_ROUTES: Final = ("litellm/", "any-llm/")
"""How a model's name begins where the SDK leaves it to a library to find the provider, whose name then follows."""

_WITH_KEYS: Final = frozenset({"extra_headers", "extra_args", "extra_query", "extra_body"})


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


def with_trace_id(given: object, options: RunOptions[Any]) -> RunOptions[Any]:
    """Return the options with the id of the trace that the run is going to have, where nothing else says which."""
    config = options.get("run_config")
    is_set = isinstance(given, RunState) or get_current_trace() is not None or configured(config, "trace_id")
    if is_set or not isinstance(config, RunConfig | dict | None):
        return options
    trace_id = gen_trace_id()
    if isinstance(config, RunConfig):
        config = replace(config, trace_id=trace_id)
    else:
        config = cast("RunConfig", {**(config or {}), "trace_id": trace_id})
    return {**options, "run_config": config}


def session_of(options: RunOptions[Any], given: object) -> str | None:
    """Return what the SDK itself groups runs by; a run that goes on is in the group of the one before."""
    session_id = None
    with suppress(Exception):  # a session of OpenAI's conversations has no id before it is used, and raises
        session_id = getattr(options.get("session"), "session_id", None)
    before = _trace_state(given)
    group_id = configured(options.get("run_config"), "group_id") or (before and before.group_id)
    return options.get("conversation_id") or session_id or group_id or None


def trace_of(given: object) -> str | None:
    """Return the id of the trace of the run that goes on, if that is what is given."""
    before = _trace_state(given)
    return None if before is None else before.trace_id


def _trace_state(given: object) -> TraceState | None:
    # it is nowhere public but in the JSON of the whole state
    return given._trace_state if isinstance(given, RunState) else None  # noqa: SLF001


def answers_in(state: RunState[Any]) -> dict[str, tuple[str, str]]:
    """Return the tool's name and the answer to each approval that a run waits for, by the tool call's id."""
    answers: dict[str, tuple[str, str]] = {}
    context = state._context  # noqa: SLF001 (it is nowhere public before the first hook is called)
    for item in state.get_interruptions():
        asked, name = call_id(as_json(item.raw_item)), item.tool_name or ""
        is_granted = None if context is None else context.is_tool_approved(name, asked)
        if is_granted is not None:
            answers[asked] = name, "granted" if is_granted else "denied"
    return answers


class Tokens(TypedDict):
    """The arguments of `ModelCall.usage`."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None
    cache_creation_input_tokens: int | None
    reasoning_output_tokens: int | None


def tokens_of(usage: Usage | ResponseUsage | None) -> Tokens | None:
    """Return the tokens of a model call, None where the provider told none."""
    if usage is None or (not usage.input_tokens and not usage.output_tokens):
        return None
    read = getattr(usage.input_tokens_details, "cached_tokens", 0) or 0
    written = getattr(usage.input_tokens_details, "cache_write_tokens", 0) or 0  # older versions of `openai` have none
    thought = getattr(usage.output_tokens_details, "reasoning_tokens", 0) or 0
    return Tokens(
        input_tokens=_whole(usage.input_tokens, read + written),
        output_tokens=_whole(usage.output_tokens, thought),
        cache_read_input_tokens=read or None,
        cache_creation_input_tokens=written or None,
        reasoning_output_tokens=thought or None,
    )


def _whole(count: int, parts: int) -> int:
    return count if parts <= count else count + parts


# ---------------------------------------------------------------- what a model is sent


class Sent(NamedTuple):
    """The arguments of `Model.get_response` and `stream_response`, as far as a model is told of them."""

    system_instructions: str | None
    input: str | list[Any]
    model_settings: ModelSettings
    tools: list[Tool]
    output_schema: AgentOutputSchemaBase | None
    handoffs: list[Handoff[Any, Any]]

    @classmethod
    def of(cls, *arguments: Any, **more: Any) -> Self:  # noqa: ANN401 (as they come)
        """Return them of a call."""
        return cls(*arguments[: len(cls._fields)], **{name: more[name] for name in cls._fields if name in more})

    @property
    def messages(self) -> list[Any]:
        """What the model sees of the conversation."""
        return [{"role": "user", "content": self.input}] if isinstance(self.input, str) else self.input

    def told(self, *, has_content: bool) -> dict[str, Any]:
        """Return them as the arguments of `RunRecorder.model_call`."""
        return {
            "message_format": MESSAGE_FORMAT,
            "messages": [as_json(each) for each in self.messages],
            "system_instructions": self.system_instructions,
            "tool_definitions": [*map(definition_of, self.tools), *map(_handoff, self.handoffs)] or None,
            "parameters": self._parameters(has_content=has_content) or None,
        }

    def _parameters(self, *, has_content: bool) -> dict[str, JSON]:
        settings = cast("dict[str, JSON]", as_json(self.model_settings.to_json_dict()))
        told: dict[str, JSON] = {
            name: value
            for name, value in settings.items()
            if value is not None
            and name not in _WITH_KEYS
            and (has_content or isinstance(value, bool | int | float | str))
        }
        schema = self.output_schema
        if schema is not None and has_content and not schema.is_plain_text():
            told["output_schema"] = as_json(schema.json_schema())
        return told


def definition_of(tool: Tool) -> JSON:
    """Return a tool as a model is told of it: a function as OpenAI's Responses have it, another one by its name."""
    if not isinstance(tool, FunctionTool):
        return {"type": tool.name}
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": as_json(tool.params_json_schema),
        "strict": tool.strict_json_schema,
    }


def _handoff(handoff: Any) -> JSON:  # noqa: ANN401 (of any context)
    return {
        "type": "function",
        "name": handoff.tool_name,
        "description": handoff.tool_description,
        "parameters": as_json(handoff.input_json_schema),
        "strict": handoff.strict_json_schema,
    }


# ---------------------------------------------------------------- what it answered


class Answer:
    """What a model answered."""

    def __init__(self, output: Sequence[object], response_id: str | None) -> None:
        items = [cast("dict[str, Any]", as_json(item)) for item in output]
        self._messages = [item for item in items if item["type"] == "message"]
        self._calls = [item for item in items if item["type"].endswith("_call")]
        self._reasoning = [item for item in items if item["type"] == "reasoning"]
        self.response_id = None if response_id == FAKE_RESPONSES_ID else response_id

    @property
    def text(self) -> str:
        """What it wrote, refusals too."""
        parts = [part for message in self._messages for part in message["content"]]
        return "".join(part.get("text") or part.get("refusal") or "" for part in parts)

    @property
    def reasoning(self) -> str:
        """What it thought, or a summary of that."""
        parts = [part for item in self._reasoning for part in item.get("content") or item.get("summary") or ()]
        return "".join(part.get("text") or "" for part in parts)

    @property
    def message_id(self) -> str | None:
        """The message's id, else the response's. Models without ids have an id of the SDK's, always the same: None then."""
        ids = [*(message["id"] for message in self._messages), self.response_id]
        return next((each for each in ids if each != FAKE_RESPONSES_ID), None)

    @property
    def tool_calls(self) -> list[tuple[str, str, JSON]]:
        """Id, name and arguments of each tool that it asked for, those too that the provider executed meanwhile."""
        return [(call_id(call), _name(call), _arguments(call)) for call in self._calls]

    @property
    def to_execute(self) -> Iterable[tuple[str, str]]:
        """Id and name of the tools that the provider has not executed: those calls have a `call_id`."""
        return [(call_id(call), _name(call)) for call in self._calls if call.get("call_id")]

    @property
    def finish_reason(self) -> str:
        """Why it stopped. The SDK does not tell, and raises where an answer is incomplete."""
        return "tool_calls" if self.to_execute else "stop"


def call_id(call: Any) -> str:  # noqa: ANN401 (an item as JSON)
    """Return a tool call's id."""
    return str(call.get("call_id") or call.get("id"))


def _name(call: dict[str, Any]) -> str:
    return call.get("name") or str(call["type"]).removesuffix("_call")


def _arguments(call: dict[str, Any]) -> JSON:
    """Return a function's arguments; of other tools whatever the call says."""
    if "arguments" not in call:
        return {name: value for name, value in call.items() if name not in {"id", "call_id", "type", "status"}}
    try:
        arguments: JSON = json.loads(call["arguments"])
    except ValueError:
        arguments = call["arguments"]
    return arguments


def outputs_in(items: Iterable[object]) -> list[tuple[str, str]]:
    """Return which tool calls are answered in what a model is sent, or a run gave, and with what."""
    found = [each for each in map(as_json, items) if isinstance(each, dict)]
    return [
        (str(each["call_id"]), each["output"] if isinstance(each["output"], str) else json.dumps(each["output"]))
        for each in found
        if str(each.get("type", "")).endswith("_call_output") and "call_id" in each and "output" in each
    ]


def tool_result(context: RunContextWrapper[Any], output: object) -> ToolExecutionResult:
    """Return how the tool ended whose hook is being called. Of a failure, the SDK tells only what it says to the model."""
    span = get_current_span()
    sentence = default_tool_error_function(context, Exception())
    if (span is not None and span.error is not None) or (isinstance(output, str) and output.startswith(sentence)):
        return ToolExecutionResult.failed(str(output))
    return ToolExecutionResult.ok(as_json(output))
