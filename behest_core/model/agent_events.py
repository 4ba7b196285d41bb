"""The core's own family of event types, `agent.*`: what the seed's types can't say of an agent's work.

What the model was sent and what it answered, calls that fail, steps, pauses and their answers, tools that were refused, gaps in
the recording. Each says by id what it belongs to: nothing has to be inferred from the order. None of them changes the state but
its counts and its time; that a person decided is counted.

Names follow OpenTelemetry's conventions for GenAI where those have one; docs/items.md has the table.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, UnsetType

from behest_core.model.events import SEED_EVENTS, Event, ToolCall
from behest_core.model.json import JSON
from behest_core.model.limits import Count
from behest_core.model.timestamps import Timestamp


class ModelRequested(Event, tag="agent.ModelRequested"):
    """What the model was sent, as the framework gave it: `messages` are JSON of the form that `message_format` names.

    A conversation grows from call to call, so only what is new is written (conversation.py): the first `kept` messages of the
    call `follows` come first, then `messages`. All together there are `message_count`. System instructions and tool definitions
    are written where a run has them first, and are known by their hash afterwards. A request too large for one event goes on
    in another of the same call, which follows itself.
    """

    model_call_id: str
    message_format: str
    message_count: Count
    follows: str | UnsetType = UNSET
    kept: Count = 0
    messages: list[JSON] | UnsetType = UNSET
    system_instructions: JSON | UnsetType = UNSET
    system_instructions_hash: str | UnsetType = UNSET
    tool_definitions: JSON | UnsetType = UNSET
    tool_definitions_hash: str | UnsetType = UNSET
    parameters: JSON | UnsetType = UNSET


class ModelFinished(Event, tag="agent.ModelFinished"):
    """The model's answer is complete: `text`, `reasoning` and `tool_calls` are what it said, where it said such.

    `provider` and `model` are who answered, `response_id` is the provider's. `duration_ms` is the whole call, `first_token_ms`
    until something came, in milliseconds. `text` and `tool_calls` are absent where the call's own TextDelta and
    ToolCallCompleted have them already.
    """

    model_call_id: str
    finish_reason: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    response_id: str | UnsetType = UNSET
    duration_ms: Count | UnsetType = UNSET
    first_token_ms: Count | UnsetType = UNSET
    text: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ModelFailed(Event, tag="agent.ModelFailed"):
    """A model call raised, or was stopped.

    `error_type` is the class of what did it, `causes` is what was behind that, nearest first.
    """

    model_call_id: str
    error_type: str
    error: str
    causes: list[str] | UnsetType = UNSET
    duration_ms: Count | UnsetType = UNSET


class StepStarted(Event, tag="agent.StepStarted"):
    """A part of the run began. `kind` is agent, node, handoff, subgraph, guardrail or retriever, or another word.

    Steps are in each other: `parent_step_id` is absent where the run itself is around it.
    """

    step_id: str
    name: str
    kind: str
    parent_step_id: str | UnsetType = UNSET


class StepFinished(Event, tag="agent.StepFinished"):
    """A part of the run ended, by `error` where it failed or was stopped."""

    step_id: str
    error: str | UnsetType = UNSET
    duration_ms: Count | UnsetType = UNSET


class Paused(Event, tag="agent.Paused"):
    """The agent has stopped until somebody answers.

    `reason` is a word or a sentence, `pending` are the ids of what it waits for, where they have ids.
    """

    reason: str
    pending: list[str]


class Resumed(Event, tag="agent.Resumed"):
    """Somebody has answered: `answers` says of each id ``granted``, ``denied``, ``expired``, or ``answered``.

    It is in both logs where the answer begins another run: there `paused_run_id` names the one that waited, in that one
    `answering_run_id` names the one that goes on. Where the same run goes on, both are absent.

    `by` is who answered, where `RunStore.decide` recorded it: the agent has yet to hear of it then. `reason` is why.
    """

    answers: dict[str, str]
    paused_run_id: str | UnsetType = UNSET
    answering_run_id: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Annotated(Event, tag="agent.Annotated"):
    """Somebody has noted something of the run, while it goes on or afterwards: further `tags`, and `metadata` by key.

    A key that is there already has the new value from now on; null takes it away.
    """

    tags: list[str] | UnsetType = UNSET
    metadata: dict[str, JSON] | UnsetType = UNSET


class TextDiscarded(Event, tag="agent.TextDiscarded"):
    """What a model call wrote so far is not a part of the conversation: it broke off and was asked again, or was rejected."""

    model_call_id: str
    reason: str


class ToolRefused(Event, tag="agent.ToolRefused"):
    """A tool call that the model asked for is not executed; `reason` is what the model is told instead."""

    call_id: str
    tool_name: str
    reason: str
    model_call_id: str | UnsetType = UNSET


class RecordingGap(Event, tag="agent.RecordingGap"):
    """Events of the run are missing here, as they could not be recorded.

    `dropped` is how many by reason, which is the class or the code of an error; `first_at` and `last_at` are when the first and
    the last of them was given up.
    """

    dropped: dict[str, Count]
    first_at: Timestamp
    last_at: Timestamp


class Heartbeat(Event, tag="agent.Heartbeat"):
    """The process that records the run is alive, and had nothing else to record."""


AGENT_EVENTS: Final[tuple[type[Event], ...]] = (
    ModelRequested,
    ModelFinished,
    ModelFailed,
    StepStarted,
    StepFinished,
    Paused,
    Resumed,
    Annotated,
    TextDiscarded,
    ToolRefused,
    RecordingGap,
    Heartbeat,
)

CORE_EVENTS: Final = (*SEED_EVENTS, *AGENT_EVENTS)
"""All types that behest itself knows."""
