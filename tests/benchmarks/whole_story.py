"""The seed's logs, told as an adapter tells them now: calls have ids, and the log has what the model was sent and answered.

The recorded runs lack what users and operators said, so requests hold the model's own messages and the tools' answers, behind one
system prompt and the definitions of the tools that the run uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from behest_core.model.agent_events import ModelFinished
from behest_core.model.conversation import Told
from behest_core.model.decoding import encode
from behest_core.model.events import (
    EncodedEvent,
    Event,
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    TextDelta,
    ToolCallCompleted,
    ToolExecutionFinished,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from behest_core.model.events import AnyEvent

SYSTEM = "You are a helpful agent. " + "Follow the policy of the company, and ask before you change anything. " * 40


class _Story:
    """A run as it is told on: the conversation so far, and the call that is under way."""

    def __init__(self, tools: Sequence[str]) -> None:
        self._told = Told()
        self._tools = [{"type": "function", "function": {"name": each, "parameters": {}}} for each in tools]
        self._messages: list[Any] = [{"role": "user", "content": "I want to change my flight."}]
        self._call = ""
        self._calls = 0
        self._text = ""
        self._asked: list[Any] = []

    def tell(self, event: AnyEvent) -> Iterator[Event]:
        """Return an event of the log with what is told before it, and with the id of its call."""
        match event:
            case ModelStarted():
                yield from self._finished(event.timestamp)
                self._calls += 1
                self._call = f"{self._calls * 0x9E3779B97F4A7 % 2**48:012x}"
                event.model_call_id = self._call
                yield event
                yield from self._told.events(
                    self._call,
                    "openai",
                    self._messages,
                    system_instructions=SYSTEM,
                    tool_definitions=self._tools,
                    parameters={"temperature": 0.0},
                    timestamp=event.timestamp,
                )
                return
            case TextDelta():
                self._text += event.delta
            case ToolCallCompleted(call=call):
                self._asked.append({"id": call.id, "function": {"name": call.name, "arguments": call.arguments}})
            case ToolExecutionFinished():
                yield from self._finished(event.timestamp)
                answer = msgspec.to_builtins(event.result)
                self._messages.append({"role": "tool", "tool_call_id": event.call_id, "content": answer})
            case RunCompleted() | RunFailed() | RunCancelled():
                yield from self._finished(event.timestamp)
            case _:
                pass
        if isinstance(event, Event):
            if "model_call_id" in event.__struct_fields__ and self._call:
                event.model_call_id = self._call  # type: ignore[attr-defined]  # it has it
            yield event

    def _finished(self, at: str) -> Iterator[Event]:
        if self._text or self._asked:
            self._messages.append({"role": "assistant", "content": self._text, "tool_calls": self._asked})
            yield ModelFinished(
                model_call_id=self._call,
                finish_reason="tool_calls" if self._asked else "stop",
                model="gpt-4o-2024-11-20",
                response_id=f"chatcmpl-{self._calls:024x}",
                duration_ms=840,
                first_token_ms=210,
                timestamp=at,
            )
            self._text, self._asked = "", []


def whole_story(events: Sequence[AnyEvent]) -> list[tuple[str, EncodedEvent]]:
    """Return the events of a run, each with its time, as an adapter would have recorded them."""
    tools = {each.call.name: None for each in events if isinstance(each, ToolCallCompleted)}
    story = _Story(list(tools))
    return [(told.timestamp, encode(told)) for event in events for told in story.tell(event)]
