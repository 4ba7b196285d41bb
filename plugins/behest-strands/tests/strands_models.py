"""A model for Strands that says what it is told to say, and what the tests with it share."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strands import tool
from strands.models import Model

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable


@dataclass
class Turn:
    """What one call of the model gives: text, piece by piece, and tool calls as ``(id, name, input)``.

    `error` is raised after the text. `then` is called between the text and the end. With `hangs` the end never comes.
    """

    text: list[str] = field(default_factory=list)
    tools: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    usage: dict[str, int] | None = field(default_factory=lambda: tokens(10, 2))
    stop_reason: str = ""
    error: Exception | None = None
    then: Callable[[], object] | None = None
    hangs: bool = False


def tokens(given: int, written: int, *, read: int = 0, stored: int = 0, beside: bool = True) -> dict[str, int]:
    """Return a usage as Strands has it; its cached tokens beside the input, as Anthropic counts, or a part of it."""
    cached = {"cacheReadInputTokens": read, "cacheWriteInputTokens": stored} if read or stored else {}
    total = given + written + (read + stored if beside else 0)
    return {"inputTokens": given, "outputTokens": written, "totalTokens": total, **cached}


class StubModel(Model):
    """Gives its turns one after the other, whatever it is asked."""

    def __init__(self, *turns: Turn, model_id: str = "stub-1") -> None:
        self._turns = iter(turns)
        self._model_id = model_id

    def update_config(self, **model_config: Any) -> None:
        """There is nothing to configure."""

    def get_config(self) -> dict[str, Any]:
        """Return the name of the model."""
        return {"model_id": self._model_id}

    async def structured_output(self, output_model: Any, *_: Any, **__: Any) -> Any:
        """Return an empty instance of the output model."""
        yield {"output": output_model()}

    async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
        """Return the next turn, as a provider streams it."""
        turn = next(self._turns)
        for event in self._said(turn):
            yield event
            await asyncio.sleep(0)
        if turn.then is not None:
            turn.then()
        if turn.hangs:
            await asyncio.Event().wait()
        if turn.error is not None:
            raise turn.error
        yield {"messageStop": {"stopReason": turn.stop_reason or ("tool_use" if turn.tools else "end_turn")}}
        if turn.usage is not None:
            yield {"metadata": {"usage": turn.usage, "metrics": {"latencyMs": 1}}}

    def _said(self, turn: Turn) -> Iterable[Any]:
        yield {"messageStart": {"role": "assistant"}}
        if turn.text:
            yield {"contentBlockStart": {"start": {}}}
            for piece in turn.text:
                yield {"contentBlockDelta": {"delta": {"text": piece}}}
            yield {"contentBlockStop": {}}
        for call_id, name, given in turn.tools:
            yield {"contentBlockStart": {"start": {"toolUse": {"toolUseId": call_id, "name": name}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(given)}}}}
            yield {"contentBlockStop": {}}


# ---------------------------------------------------------------- what the tests share

CALLED = ["ModelStarted", "agent.ModelRequested"]
ANSWERED = ["UsageRecorded", "agent.ModelFinished"]
KEPT = ["AssistantMessageCommitted"]
MODEL = [*CALLED, "TextDelta", *ANSWERED, *KEPT]
ASKS = [*CALLED, "ToolCallCompleted", *ANSWERED, *KEPT]
BROKEN_OFF = [*CALLED, "TextDelta", "agent.TextDiscarded", "agent.ModelFailed"]
DISCARDED = [*CALLED, "TextDelta", *ANSWERED, "agent.TextDiscarded"]
TOOL = ["ToolExecutionStarted", "ToolExecutionFinished"]


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"3 degrees in {city}"


def asks(city="Oslo", call_id="call-1", **more):
    return Turn(tools=[(call_id, "weather", {"city": city})], **more)


def says(*pieces, **more):
    return Turn(text=list(pieces), **more)


def hook(event_type, callback):
    """Return a hook provider with one callback."""

    class Hooks:
        def register_hooks(self, registry, **_):
            registry.add_callback(event_type, callback)

    return Hooks()


def once(change):
    """Return a callback that does something the first time only."""
    todo = [change]
    return lambda event: todo and todo.pop()(event)
