"""Models for the OpenAI Agents SDK that answer what they are told to, and what the tests with them share.

Nothing leaves this process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agents import Agent, Usage, function_tool, set_trace_processors
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from openai.types.responses import Response, ResponseCompletedEvent, ResponseTextDeltaEvent
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails, ResponseUsage

from behest_core.recording.process import unfinished
from behest_core.testing.recorded import the_recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agents.items import TResponseOutputItem, TResponseStreamEvent

set_trace_processors([])  # spans are made, and exported nowhere


class StubModel(ScriptedModel):
    """Answers with the given steps, one for each call. Its name is `model`."""

    model = "gpt-4o"


def tokens(read: int, written: int, *, cached: int = 0, cache_written: int = 0) -> Usage:
    """Return the usage of a call, as the SDK counts: what the cache was read for and written with is in the tokens read."""
    return Usage(
        requests=1,
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=cache_written),
    )


def says(text: str, usage: Usage | None = None, *, message_id: str = "msg-1") -> ModelStep:
    """Return a step that answers with a text."""
    return ModelStep(output=[assistant_message(text, item_id=message_id)], usage=usage or Usage(), response_id="resp-1")


def asks(name: str, arguments: dict[str, Any], usage: Usage | None = None, *, call_id: str = "call-1") -> ModelStep:
    """Return a step that asks for a tool."""
    call = function_call(name, arguments, call_id=call_id)
    return ModelStep(output=[call], usage=usage or Usage(), response_id="resp-0")


def streams(
    *pieces: str, usage: Usage | None = None, error: Exception | None = None, then: ModelStep | None = None
) -> ModelStep:
    """Return a step that streams a text slowly enough to be read meanwhile; then it raises `error`, or asks what `then` asks."""
    asked = [] if then is None else then.output

    async def events(_call: object) -> AsyncIterator[TResponseStreamEvent]:
        for number, piece in enumerate(pieces):
            yield ResponseTextDeltaEvent(
                type="response.output_text.delta",
                delta=piece,
                item_id="msg-1",
                output_index=0,
                content_index=0,
                sequence_number=number,
                logprobs=[],
            )
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if error is not None:
            raise error
        yield ResponseCompletedEvent(
            type="response.completed", response=_response("".join(pieces), asked, usage), sequence_number=len(pieces)
        )

    return ModelStep.stream(events)


def _response(text: str, asked: Sequence[TResponseOutputItem], usage: Usage | None) -> Response:
    return Response(
        id="resp-1",
        created_at=0,
        model="gpt-4o",
        object="response",
        output=[assistant_message(text, item_id="msg-1"), *asked],
        tool_choice="auto",
        tools=[],
        parallel_tool_calls=False,
        usage=None
        if usage is None
        else ResponseUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            total_tokens=usage.total_tokens,
            input_tokens_details=usage.input_tokens_details,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        ),
    )


# ---------------------------------------------------------------- what the tests share

CALLED = ["ModelStarted", "agent.ModelRequested"]
COUNTED = ["UsageRecorded", "agent.ModelFinished", "AssistantMessageCommitted"]
ASKED = [*CALLED, "ToolCallCompleted", *COUNTED]
SAID = [*CALLED, "TextDelta", *COUNTED]
USED = ["ToolExecutionStarted", "ToolExecutionFinished"]


@function_tool
async def weather(city: str) -> dict[str, int]:
    """The weather."""
    return {"temp": 3}


@function_tool(failure_error_function=lambda _, error: f"{error}, sorry")
async def sorry(city: str) -> str:
    """Says why it does not work."""
    raise ValueError("no such city")


def agent(*steps, tools=(weather,), name="forecaster", **how):
    return Agent(name=name, model=StubModel(steps), tools=list(tools), **how)


def answers(tool="weather"):
    """Two model calls, with a tool in between."""
    return [asks(tool, {"city": "Oslo"}, tokens(10, 2)), says("3 degrees.", tokens(20, 4, cached=8))]


def work_of(run):
    """Return the types of a run's events, without its steps."""
    return [each for each in run.types if not each.startswith("agent.Step")]


async def read(result, events=None):
    return [event async for event in result.stream_events()]


def settled(stack):
    """Return the only run, whose end nobody waited for."""
    settled_all(stack)
    return the_recorded(stack.store)


def settled_all(stack):
    """Wait for what is written beside the agents, as the interpreter does at its exit."""
    for writer in unfinished(stack.store.event_log):
        writer.flush()


@function_tool(needs_approval=True)
async def delete(city: str) -> str:
    """Deletes."""
    return f"deleted {city}"
