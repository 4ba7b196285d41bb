"""From a run's log to its transcript.

- What belongs together is what the events say: a call's text, tools and tokens have its `model_call_id`, what happens in a step
  its `step_id`. Only in a log whose events say neither, as the seed's, all belongs to the call that began last.
- Of a request what is new is shown: system instructions, and the messages of users. What the model itself said before, and what
  tools gave, stands where it happened. A first request that brings a longer conversation along shows what follows the model's
  last word in it, and counts the rest.
- A tool call is one thing, from the model's asking to the tool's end. Calls with one id are told apart by their model call, and
  within one by their order.
- Steps stand in each other DEEPEST levels deep, those below side by side: whoever goes through a transcript has a bound.
- What overlaps is marked: an entry that began before the one above it had ended is `alongside`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from msgspec import UNSET, UnsetType

from behest_core.model.agent_events import (
    ModelFailed,
    ModelFinished,
    ModelRequested,
    Paused,
    Resumed,
    StepFinished,
    StepStarted,
    TextDiscarded,
    ToolRefused,
)
from behest_core.model.conversation import Requests
from behest_core.model.events import (
    AnyEvent,
    Event,
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    ToolExecutionFinished,
    ToolExecutionStarted,
    UsageRecorded,
)
from behest_core.model.state import RunStatus
from behest_core.transcript.entries import (
    Answer,
    Call,
    Earlier,
    End,
    Message,
    Part,
    Pause,
    Step,
    Tool,
    Transcript,
    calls_in,
)
from behest_core.transcript.messages import instructions_text, said

if TYPE_CHECKING:
    from behest_core.model.record import RunRecord

Price: TypeAlias = Callable[[str, str, UsageRecorded], int | None]
"""What a model call costs: `(provider, model, usage)` to nanodollars, None where nobody knows."""

_Value = TypeVar("_Value")

DEEPEST: Final = 32
"""How many levels of steps a transcript has at most."""


def read_transcript(
    run_id: str, record: RunRecord | None, events: Iterable[AnyEvent], price: Price | None = None
) -> Transcript:
    """Return the transcript of a log: its record and events, in order."""
    reader = TranscriptReader(run_id, record, price)
    for event in events:
        reader.add(event)
    return reader.transcript


class TranscriptReader:
    """Makes a transcript event by event: `transcript` is what it is so far."""

    def __init__(self, run_id: str, record: RunRecord | None, price: Price | None = None) -> None:
        self.transcript = Transcript(run_id=run_id)
        if record is not None:
            self.about(record)
        self._price = price
        self._requests = Requests()
        self._steps: dict[str, Step] = {}
        self._within: dict[str, tuple[list[Part], int]] = {}  # where a step's own steps stand, and how deep
        self._calls: dict[str, Call] = {}
        self._instructions: dict[str, str] = {}
        self._latest: Call | None = None
        self._sequence = 0

    def about(self, record: RunRecord) -> None:
        """Take what the run's record says, before its events."""
        name = record.metadata.get("agent_name") if isinstance(record.metadata, dict) else None
        about = self.transcript
        about.session_id, about.provider, about.model = record.session_id, record.provider, record.model
        about.started_at = record.created_at
        about.agent_name = name if isinstance(name, str) else None

    def add(self, event: AnyEvent, sequence: int = 0) -> None:
        """Take the next event of the log, and its position. One that says nothing of the conversation changes nothing."""
        about, self._sequence = self.transcript, sequence
        about.started_at = about.started_at or event.timestamp
        match event:
            case RunStarted():
                about.session_id = about.session_id or event.session_id
                about.provider, about.model, about.status = event.provider, event.model, RunStatus.SESSION_LOADED
            case ModelStarted():
                self._call(event)
            case ModelRequested():
                self._requested(event)
            case TextDelta():
                self._said(event)
            case ToolCallCompleted() | ToolRefused() | ToolExecutionStarted() | ToolExecutionFinished():
                self._tool(event)
            case UsageRecorded():
                self._used(event)
            case ModelFinished() | ModelFailed() | TextDiscarded():
                self._answered(event)
            case StepStarted() | StepFinished():
                self._step(event)
            case Paused() | Resumed() | RunCompleted() | RunFailed() | RunCancelled():
                self._stopped(event)
            case _:
                pass

    # ------------------------------------------------------------ where things stand

    def _entries(self, event: Event) -> list[Part]:
        step = None if event.step_id is UNSET else self._steps.get(event.step_id)
        return self.transcript.entries if step is None else step.entries

    def _place(self, entries: list[Part], entry: Part) -> None:
        before = entries[-1] if entries else None
        entry.alongside = isinstance(before, Call | Step | Tool) and not before.is_over
        entry.sequence = entry.last_sequence = self._sequence
        entries.append(entry)

    def _reach(self, entry: Part, event: Event) -> None:
        """Note that an event tells of an entry."""
        entry.ended_at, entry.last_sequence = event.timestamp, self._sequence

    def _call_of(self, model_call_id: str | UnsetType) -> Call | None:
        return self._latest if model_call_id is UNSET else self._calls.get(model_call_id)

    # ------------------------------------------------------------ model calls

    def _call(self, event: ModelStarted) -> None:
        self.transcript.status = RunStatus.CALLING_MODEL
        call = Call(started_at=event.timestamp, provider=event.provider, model=event.model, is_over=False)
        if event.model_call_id is not UNSET:
            call.model_call_id = event.model_call_id
            self._calls[event.model_call_id] = call
        elif self._latest is not None and self._latest.model_call_id is None:
            self._latest.is_over = True
        self._latest = call
        self._place(self._entries(event), call)

    def _requested(self, event: ModelRequested) -> None:
        request = self._requests.add(event)
        entries, call = self._entries(event), self._calls.get(event.model_call_id)
        shown: list[Part] = []
        instructions = "" if request.system_instructions is None else instructions_text(request.system_instructions)
        where = "" if event.step_id is UNSET else event.step_id
        if instructions and self._instructions.get(where) != instructions:
            self._instructions[where] = instructions
            shown.append(Message(started_at=event.timestamp, role="system", text=instructions))
        new = [] if event.messages is UNSET else event.messages
        words = [each for message in new for each in said(request.message_format, message)]
        if event.follows is UNSET:
            last = max((place for place, each in enumerate(words) if each.role == "assistant"), default=-1)
            if last >= 0:
                shown.append(Earlier(started_at=event.timestamp, count=last + 1))
            words = words[last + 1 :]
        shown += [
            Message(started_at=event.timestamp, role=each.role, text=each.text)
            for each in words
            if each.role not in ("assistant", "tool")
        ]
        for entry in shown:
            entry.sequence = entry.last_sequence = self._sequence
        place = entries.index(call) if call in entries else len(entries)
        entries[place:place] = shown

    def _said(self, event: TextDelta) -> None:
        call = self._call_of(event.model_call_id)
        if call is None:
            call = self._without_start(event)
        call.text += event.delta
        self._wrote(call, event)

    def _wrote(self, call: Call, event: TextDelta | ToolCallCompleted) -> None:
        call.first_token_at = call.first_token_at or event.timestamp
        self._reach(call, event)

    def _without_start(self, event: TextDelta | ToolCallCompleted) -> Call:
        """Return a call of which only what it gave is known: not every framework tells when it asks its model."""
        about = self.transcript
        call = Call(started_at=event.timestamp, provider=about.provider or "", model=about.model or "", is_over=False)
        if event.model_call_id is not UNSET:
            call.model_call_id = event.model_call_id
            self._calls[event.model_call_id] = call
        self._latest = call
        self._place(self._entries(event), call)
        return call

    def _answered(self, event: ModelFinished | ModelFailed | TextDiscarded) -> None:
        call = self._calls.get(event.model_call_id)
        if call is None:
            return
        if isinstance(event, TextDiscarded):
            call.discarded.append(call.text)
            call.text = ""
            return
        self._reach(call, event)
        call.duration_ms = _known(event.duration_ms)
        if isinstance(event, ModelFailed):
            call.error = event.error
        else:
            call.finish_reason, call.first_token_ms = _known(event.finish_reason), _known(event.first_token_ms)
            call.answered_by, call.reasoning = _known(event.model), _known(event.reasoning)
            call.text = call.text or _known(event.text) or ""
            for asked in [] if event.tool_calls is UNSET else event.tool_calls:
                self._asked(call, asked, event.timestamp, is_over=True)
        call.is_over = all(tool.is_over for tool in call.tools)

    def _used(self, event: UsageRecorded) -> None:
        call, about, usage = self._call_of(event.model_call_id), self.transcript, event.usage
        provider = _known(event.provider) or (call.provider if call else about.provider) or "unknown"
        model = _known(event.model) or (call.model if call else about.model) or "unknown"
        nano_usd = None if self._price is None else self._price(provider, model, event)
        about.input_tokens += usage.input_tokens
        about.output_tokens += usage.output_tokens
        if nano_usd is not None:
            about.nano_usd = (about.nano_usd or 0) + nano_usd
        elif self._price is not None:
            about.unpriced_calls += 1
        if call is not None:
            self._reach(call, event)
            call.input_tokens += usage.input_tokens
            call.output_tokens += usage.output_tokens
            call.answered_by = _known(event.model) or call.answered_by
            if nano_usd is not None:
                call.nano_usd = (call.nano_usd or 0) + nano_usd

    # ------------------------------------------------------------ tools

    def _tool(self, event: ToolCallCompleted | ToolRefused | ToolExecutionStarted | ToolExecutionFinished) -> None:
        if isinstance(event, ToolCallCompleted):
            call = self._call_of(event.model_call_id) or self._without_start(event)
            self._asked(call, event.call, event.timestamp, is_over=False)
            call.is_over = False
            self._wrote(call, event)
            return
        within, tool = self._tool_of(event)
        self._reach(tool, event)
        if isinstance(event, ToolRefused):
            tool.refused, tool.is_over = event.reason, True
        elif isinstance(event, ToolExecutionStarted):
            beside = [] if within is None else within.tools
            tool.alongside = any(each.has_started and not each.is_over for each in beside if each is not tool)
            tool.has_started, tool.started_at = True, event.timestamp
        else:
            _ended(tool, event)
        if within is not None and within.model_call_id is not None and _has_answered(within):
            within.is_over = all(each.is_over for each in within.tools)

    def _tool_of(self, event: ToolRefused | ToolExecutionStarted | ToolExecutionFinished) -> tuple[Call | None, Tool]:
        """Return the tool call that an event is about: the first of its id for which that didn't happen yet."""
        starts = isinstance(event, ToolExecutionStarted)
        calls = [self._call_of(event.model_call_id)] if event.model_call_id is not UNSET else self._all_calls()
        for call in calls:
            for tool in [] if call is None else call.tools:
                if tool.call_id == event.call_id and not tool.is_over and not (starts and tool.has_started):
                    return call, tool
        entries = self._entries(event)
        for entry in entries:
            if isinstance(entry, Tool) and entry.call_id == event.call_id and not entry.is_over:
                return None, entry
        tool = Tool(started_at=event.timestamp, call_id=event.call_id, name=event.tool_name, is_over=False)
        self._place(entries, tool)
        return None, tool

    def _asked(self, call: Call, asked: ToolCall, at: str, *, is_over: bool) -> None:
        tool = Tool(started_at=at, call_id=asked.id, name=asked.name, arguments=asked.arguments, is_over=is_over)
        tool.sequence = tool.last_sequence = self._sequence
        call.tools.append(tool)

    def _all_calls(self) -> list[Call]:
        return list(calls_in(self.transcript.entries))

    # ------------------------------------------------------------ steps, pauses, ends

    def _step(self, event: StepStarted | StepFinished) -> None:
        if isinstance(event, StepStarted):
            step = Step(
                started_at=event.timestamp, step_id=event.step_id, name=event.name, type=event.kind, is_over=False
            )
            around, depth = self.transcript.entries, 0
            if event.parent_step_id is not UNSET and event.parent_step_id in self._steps:
                around, depth = self._within[event.parent_step_id]
            self._place(around, step)
            self._steps[event.step_id] = step
            self._within[event.step_id] = (step.entries, depth + 1) if depth + 1 < DEEPEST else (around, depth)
        elif event.step_id in self._steps:
            step = self._steps[event.step_id]
            step.error, step.duration_ms, step.is_over = _known(event.error), _known(event.duration_ms), True
            self._reach(step, event)

    def _stopped(self, event: Paused | Resumed | RunCompleted | RunFailed | RunCancelled) -> None:
        about, at = self.transcript, event.timestamp
        _close(about.entries)
        match event:
            case Paused():
                entry: Part = Pause(started_at=at, reason=event.reason, pending=event.pending)
            case Resumed():
                entry = Answer(
                    started_at=at,
                    answers=event.answers,
                    paused_run_id=_known(event.paused_run_id),
                    answering_run_id=_known(event.answering_run_id),
                )
            case RunCompleted(finish_reason=reason):
                entry = End(
                    started_at=at,
                    status=RunStatus.COMPLETED,
                    because=reason if isinstance(reason, str) else reason.unknown,
                )
            case RunFailed():
                entry = End(started_at=at, status=RunStatus.FAILED, because=event.error)
            case _:
                entry = End(started_at=at, status=RunStatus.CANCELLED)
        if isinstance(entry, End):
            about.status, about.ended_at = entry.status, at
        entry.sequence = entry.last_sequence = self._sequence
        about.entries.append(entry)


def _has_answered(call: Call) -> bool:
    return call.finish_reason is not None or call.duration_ms is not None or call.error is not None


def _ended(tool: Tool, event: ToolExecutionFinished) -> None:
    result = event.result
    tool.is_over, tool.has_started, tool.duration_ms = True, True, event.duration_ms
    if result.success is not UNSET:
        tool.result = result.success.output
    elif result.failure is not UNSET:
        tool.error = result.failure.error


def _close(entries: Iterable[Part]) -> None:
    """Let nothing be open: the run has stopped. The end of a step closes nothing, as a tool may run in another one."""
    for entry in entries:
        entry.is_over = True
        if isinstance(entry, Step):
            _close(entry.entries)
        elif isinstance(entry, Call):
            _close(entry.tools)


def _known(value: _Value | UnsetType) -> _Value | None:
    return None if isinstance(value, UnsetType) else value
