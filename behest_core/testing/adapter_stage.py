"""A stage on which a script is played: the model and the tools of a framework's agent, which count for themselves.

An adapter's stub model begins a call with what it was given, and gives on what the script says; its tools call `tool`:

    answer = stage.called(messages, system, tools)
    async for part in answer.parts():
        match part:
            case Thought(text): …
            case Piece(text): …
            case ToolCall(id=call_id, name=name, arguments=arguments): …
            case Usage(given=given, written=written): …

Each part is counted as it is given. `parts` raises `ScriptedError` where the model fails, and doesn't end where it hangs.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from behest_core.recording.storable import as_json
from behest_core.testing.adapter_script import MODEL, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import TypeAlias

    from behest_core.model.events import ToolCall
    from behest_core.recording.adapter import RecorderSettings
    from behest_core.store import RunStore
    from behest_core.testing.adapter_script import Script, Tool, Turn

_MEET: Final = 2
_WAIT: Final = 30.0
"""How long something waits for another at most, in seconds: a framework that can't do both at once raises, and hangs nobody."""


class ScriptedError(Exception):
    """What a model or a tool raises because the script says so."""


class Piece(NamedTuple):
    """A piece of text."""

    text: str


class Thought(NamedTuple):
    """What the model reasons."""

    text: str


Part: TypeAlias = "Piece | Thought | ToolCall | Usage"
Ending: TypeAlias = Literal["finished", "failed", "stopped"]


def canonical(value: object) -> str:
    """Return a value as it is compared: as the JSON that a log can hold of it, in the order in which it was given."""
    return json.dumps(as_json(value), separators=(",", ":"))


@dataclass
class Answer:
    """A call of the stub model: what it was given, and what it gave so far."""

    model: str
    request: str
    turn: Turn
    stage: Stage
    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    usage: Usage | None = None
    ending: Ending = "stopped"

    async def parts(self) -> AsyncIterator[Part]:
        """Give what the script says, and count it."""
        if self.turn.so_far is not None:
            self.usage = self.turn.so_far
            yield self.usage
        if self.turn.reasoning:
            self.reasoning = self.turn.reasoning
            yield Thought(self.reasoning)
        for piece in self.turn.text:
            self.text += piece
            yield Piece(piece)
            if self.turn.meets:
                await self.stage.meet()
        await self._breaks()
        for call in self.turn.calls:
            self.calls.append(call)
            yield call
        if self.turn.usage is not None:
            self.usage = self.turn.usage
            yield self.usage
        self.ending = "finished"

    async def _breaks(self) -> None:
        if self.turn.hangs:
            await self.stage.hang()
        if self.turn.error is not None:
            self.ending = "failed"
            raise ScriptedError(self.turn.error)


class ToolRun(NamedTuple):
    """A tool that was executed: how it ended, and what it gave, or why it failed."""

    name: str
    ending: Ending
    text: str


class Stage:
    """Plays a script once, and counts. `calls` are the calls of the model, `tool_runs` what was executed, both as they began.

    An adapter records into `store`, with `settings` and the script's metadata. `hangs` is set once something waits for ever.
    """

    def __init__(self, script: Script, store: RunStore, settings: RecorderSettings) -> None:
        self.script, self.store, self.settings = script, store, settings
        self.calls: list[Answer] = []
        self.tool_runs: list[ToolRun] = []
        self.hangs = asyncio.Event()
        self._left = {model: list(turns) for model, turns in script.turns.items()}
        self._begun: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._meeting = asyncio.Barrier(_MEET)

    def called(self, messages: object, system: object = None, tools: object = None, model: str = MODEL) -> Answer:
        """Begin a call of a model. `messages`, `system` and `tools` are exactly what the framework gives it."""
        assert self._left[model], f"{model} is called more often than the script says"  # noqa: S101 (it is what this is for)
        request = canonical({"messages": messages, "system": system, "tools": tools})
        self.calls.append(Answer(model, request, self._left[model].pop(0), self))
        return self.calls[-1]

    async def tool(self, name: str) -> str:
        """Do what the script says of a tool. Raises ScriptedError where it fails."""
        tool = next(each for each in self.script.tools if each.name == name)
        place = len(self.tool_runs)
        self.tool_runs.append(ToolRun(name, "stopped", ""))
        self._begun[name].set()
        await self._held_up(tool)
        if tool.error is not None:
            self.tool_runs[place] = ToolRun(name, "failed", tool.error)
            raise ScriptedError(tool.error)
        self.tool_runs[place] = ToolRun(name, "finished", tool.gives)
        return tool.gives

    async def _held_up(self, tool: Tool) -> None:
        if tool.hangs:
            await self.hang()
        if tool.waits_for is not None:
            await asyncio.wait_for(self._begun[tool.waits_for].wait(), _WAIT)

    async def hang(self) -> None:
        """Wait for ever, and say so."""
        self.hangs.set()
        await asyncio.Event().wait()

    async def meet(self) -> None:
        """Wait until the other model is here, too."""
        await asyncio.wait_for(self._meeting.wait(), _WAIT)
