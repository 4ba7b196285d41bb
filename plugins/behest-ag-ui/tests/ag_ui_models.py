"""An agent that speaks AG-UI, made of the protocol's own classes, and what the tests with it share.

It asks for the weather, and tells it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from ag_ui.core import (
    RunAgentInput,
    RunFinishedEvent,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    UserMessage,
)
from behest_ag_ui import record
from behest_ag_ui.assembly import Assembly

from behest_core.model.decoding import encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ag_ui.core import BaseEvent

NOON = 1_769_860_800_000
"""2026-01-31 12:00 UTC, in milliseconds."""


def asked(run_id: str = "run-1", thread_id: str = "thread-1", **about: Any) -> RunAgentInput:
    """Return what a user interface sends to start a run."""
    return RunAgentInput(
        thread_id=thread_id, run_id=run_id, messages=[UserMessage(id="u", content="Weather in Oslo?")], **about
    )


def call(call_id: str, name: str, *pieces: str, at: int | None = None, of: str | None = None) -> Iterator[BaseEvent]:
    """Return the events of a tool call whose arguments come in these pieces; `of` is the message that holds it."""
    yield ToolCallStartEvent(tool_call_id=call_id, tool_call_name=name, parent_message_id=of, timestamp=at)
    for piece in pieces:
        yield ToolCallArgsEvent(tool_call_id=call_id, delta=piece, timestamp=at)
    yield ToolCallEndEvent(tool_call_id=call_id, timestamp=at)


def result(call_id: str, content: Any, at: int | None = None) -> BaseEvent:
    """Return what the tool gave back."""
    return ToolCallResultEvent(message_id=f"{call_id}-result", tool_call_id=call_id, content=content, timestamp=at)


def text(message_id: str, *pieces: str, role: Any = "assistant") -> Iterator[BaseEvent]:
    """Return the events of a message that comes in these pieces."""
    yield TextMessageStartEvent(message_id=message_id, role=role)
    for piece in pieces:
        yield TextMessageContentEvent(message_id=message_id, delta=piece)
    yield TextMessageEndEvent(message_id=message_id)


def started(run_input: RunAgentInput, **about: Any) -> BaseEvent:
    """Return the event that opens the run."""
    return RunStartedEvent(thread_id=run_input.thread_id, run_id=run_input.run_id, **about)


def finished(run_input: RunAgentInput, **about: Any) -> BaseEvent:
    """Return the event that closes the run."""
    return RunFinishedEvent(thread_id=run_input.thread_id, run_id=run_input.run_id, **about)


async def weather_agent(run_input: RunAgentInput) -> AsyncIterator[BaseEvent]:
    """Run the agent."""
    yield started(run_input, timestamp=NOON)
    for each in (*text("m-1"), *call("c-1", "get_weather", '{"city":', '"Oslo"}', at=NOON + 500, of="m-1")):
        yield each
    yield result("c-1", json.dumps({"temp": 3}), at=NOON + 542)
    for each in text("m-2", "3 ", "degrees."):
        yield each
    usage = TokenUsage(
        provider="anthropic",
        model="claude-sonnet-4-5",
        input_tokens=2460,
        output_tokens=52,
        cached_input_tokens=1024,
        cache_write_input_tokens=400,
    )
    yield finished(run_input, usage=[usage], timestamp=NOON + 900)


# ---------------------------------------------------------------- what the tests share


async def stream(*events):
    """Return events, one after the other; an exception among them is raised."""
    for each in events:
        if isinstance(each, BaseException):
            raise each
        yield each


async def drained(events):
    return [each async for each in events]


def run(stack, *events, **how):
    """Record a stream of these events, and give what the consumer saw."""
    return asyncio.run(drained(record(stream(*events), stack.store, **how)))


def assembled(*events):
    """Return what these events of a run say together, as JSON objects."""
    assembly = Assembly()
    said = [each for event in [*events, finished(asked())] for each in assembly.take(event)]
    return [json.loads(encode_event(each)) for each in said[:-1]]
