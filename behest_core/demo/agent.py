"""The agents of the demo: a scripted one plays its script against the store, as an agent of yours would write to it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count, cycle
from typing import TYPE_CHECKING, Final, Protocol

from behest_core.demo.scripts import Ending
from behest_core.model.events import (
    AssistantMessageCommitted,
    CacheMetrics,
    ContextBuilt,
    DoomLoopDetected,
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    ToolExecutionFinished,
    ToolExecutionResult,
    ToolExecutionStarted,
    ToolMessageCommitted,
    UsageRecorded,
)
from behest_core.model.state import TokenUsage
from behest_core.model.timestamps import from_datetime

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from behest_core.demo.scripts import Script, Tool, Turn
    from behest_core.model.events import NewEvent
    from behest_core.store import RunStore

_PAUSES: Final = (0.35, 0.15, 0.5, 0.25, 0.4)  # seconds between commits


class Agent(Protocol):
    """One run."""

    @property
    def name(self) -> str:
        """What the run is called on the screen."""

    @property
    def model(self) -> str:
        """The name of its model."""

    @property
    def run_id(self) -> str:
        """The run's id."""

    @property
    def appended(self) -> int:
        """The last sequence that its log has."""

    @property
    def commits(self) -> int:
        """How many commits its log has."""

    def play(self, stop: threading.Event) -> None:
        """Play the whole run; stop early if the demo is stopped."""


class ScriptedAgent:
    """Appends the events of its script, commit by commit."""

    def __init__(self, store: RunStore, script: Script, number: int) -> None:
        self.name = self.run_id = script.run_id
        self.model = script.model
        self.appended = 0
        self.commits = 0
        self._script = script
        self._store = store
        self._number = number
        self._calls = count(1)

    def play(self, stop: threading.Event) -> None:
        """Play the script, at the pace of a very fast model; stop early if the demo is stopped."""
        pauses = cycle(_PAUSES[self._number % len(_PAUSES) :] + _PAUSES[: self._number % len(_PAUSES)])
        if stop.wait(0.12 * self._number):
            return
        self._store.create_run(
            run_id=self.run_id,
            session_id=self._script.session,
            provider=self._script.provider,
            model=self._script.model,
            metadata={"demo": True} if self._script.parent is None else {"parent_run_id": self._script.parent},
        )
        for events in self._commits():
            self.appended = self._store.append(self.run_id, events)
            self.commits += 1
            if stop.wait(next(pauses)):
                return

    def _commits(self) -> Iterator[list[NewEvent]]:
        script = self._script
        started = RunStarted(session_id=script.session, provider=script.provider, model=script.model, timestamp=_now())
        yield [started]
        for iteration, turn in enumerate(script.turns, start=1):
            yield [ContextBuilt(message_count=2 * iteration, timestamp=_now()), self._model_started(iteration)]
            if turn.text:
                yield [TextDelta(delta=f"{word} ", timestamp=_now()) for word in turn.text.split()]
            if iteration == len(script.turns) and script.ending is Ending.DIES:
                if turn.tool is not None:
                    yield [self._asks(turn.tool, self._id("call"))]
                return
            yield self._usage(turn)
            if turn.tool is not None:
                yield from self._tool_call(turn.tool)
        yield self._end()

    def _model_started(self, iteration: int) -> ModelStarted:
        return ModelStarted(
            provider=self._script.provider, model=self._script.model, iteration=iteration, timestamp=_now()
        )

    def _usage(self, turn: Turn) -> list[NewEvent]:
        usage = TokenUsage(turn.input_tokens, turn.output_tokens, turn.input_tokens + turn.output_tokens)
        message = AssistantMessageCommitted(message_id=self._id("message"), timestamp=_now())
        if not turn.cached:
            return [UsageRecorded(usage=usage, timestamp=_now()), message]
        usage.cache_read_input_tokens = turn.cached
        cache = CacheMetrics(
            cache_creation_input_tokens=0,
            cache_read_input_tokens=turn.cached,
            cached_input_tokens=turn.cached,
            timestamp=_now(),
        )
        return [UsageRecorded(usage=usage, timestamp=_now()), cache, message]

    def _tool_call(self, tool: Tool) -> Iterator[list[NewEvent]]:
        call_id = self._id("call")
        call = ToolCall(call_id, tool.name, tool.arguments)
        yield [
            ToolCallStarted(call_id=call_id, tool_name=tool.name, timestamp=_now()),
            ToolCallDelta(call_id=call_id, delta="{…}", timestamp=_now()),
            ToolCallCompleted(call=call, timestamp=_now()),
        ]
        if tool.needs_approval:
            yield [self._asks(tool, call_id)]
            yield [{"type": "approvals.Granted", "call_id": call_id, "by": "erin", "timestamp": _now()}]
        yield [ToolExecutionStarted(call_id=call_id, tool_name=tool.name, timestamp=_now())]
        result = ToolExecutionResult.ok(tool.result) if tool.error is None else ToolExecutionResult.failed(tool.error)
        yield [
            ToolExecutionFinished(
                call_id=call_id, tool_name=tool.name, result=result, duration_ms=240, timestamp=_now()
            ),
            ToolMessageCommitted(message_id=self._id("message"), timestamp=_now()),
        ]

    def _asks(self, tool: Tool, call_id: str) -> NewEvent:
        """Return an event of the plugin behest-approvals. Without the plugin it is counted, and nothing else."""
        return {"type": "approvals.Requested", "call_id": call_id, "tool_name": tool.name, "timestamp": _now()}

    def _end(self) -> list[NewEvent]:
        script = self._script
        match script.ending:
            case Ending.FAILED if script.last_word.startswith("doom loop"):
                looped = DoomLoopDetected(description=script.last_word, timestamp=_now())
                return [looped, RunFailed(error=script.last_word, timestamp=_now())]
            case Ending.FAILED:
                return [RunFailed(error=script.last_word, timestamp=_now())]
            case Ending.CANCELLED:
                return [RunCancelled(timestamp=_now())]
            case _:
                iterations = len(script.turns)
                return [RunCompleted(finish_reason=script.last_word, iterations=iterations, timestamp=_now())]

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._number}_{next(self._calls)}"


def _now() -> str:
    return from_datetime(datetime.now(UTC))
