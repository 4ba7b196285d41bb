"""Journal: stands before a durable execution's log, so that each thing is in there once, whoever writes it and how often.

- An invocation knows nothing of those before it. So the log is read when it begins, and what is there already is not written
  again: the run's beginning and end, the beginning and the end of each step, the end of each call of a model, each answer.
- What it has read may be old when it writes: an invocation that was given up may still be at work. So it appends only where the
  log ends as it knows it, and otherwise reads on and decides again.
- A commit whose answer was lost may be in the log. It is tried again as it was, at its place, until that is known.
- Behind the run's end nothing is written. An end that the reconciler gave it, as it had heard nothing for so long, is none: the
  run goes on with another RunStarted.
- A pause is written where the run is not already waiting for just that. Whatever else a model was sent and gave has no double:
  each call that was made is a call.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from behest_core.dynamodb.event_table import PendingCommit
from behest_core.errors import ContentionError, SequenceConflictError
from behest_core.model.agent_events import ModelFailed, ModelFinished, Paused, Resumed, StepFinished, StepStarted
from behest_core.model.events import (
    NO_SIGN_OF_LIFE,
    TERMINAL_TYPES,
    ModelStarted,
    RunStarted,
    ToolExecutionFinished,
    ToolExecutionStarted,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.model.events import EncodedEvent
    from behest_core.model.record import RunRecord

STARTED: Final = type_name(StepStarted)
FINISHED: Final = type_name(StepFinished)
PAUSED: Final = type_name(Paused)
ANSWERED: Final = type_name(Resumed)

_RUN_STARTED: Final = type_name(RunStarted)
_MODEL_STARTED: Final = type_name(ModelStarted)
_MODEL_ENDED: Final = frozenset({type_name(ModelFinished), type_name(ModelFailed)})
_TOOL_STARTED: Final = type_name(ToolExecutionStarted)
_TOOL_FINISHED: Final = type_name(ToolExecutionFinished)
_GOES_ON: Final = frozenset({ANSWERED, _MODEL_STARTED, _TOOL_STARTED})
_READ: Final = (
    TERMINAL_TYPES
    | _MODEL_ENDED
    | {STARTED, FINISHED, PAUSED, ANSWERED, _RUN_STARTED, _MODEL_STARTED, _TOOL_STARTED, _TOOL_FINISHED}
)

_TRIES: Final = 100
"""How often in a row others may be first: more than there are invocations of one execution side by side."""

_logger = logging.getLogger("behest_core")


class Said(Struct, gc=False):
    """What a journal reads of an event."""

    type: str
    step_id: str = ""
    model_call_id: str = ""
    call_id: str = ""
    tool_name: str = ""
    iteration: int = 0
    error: str = ""
    pending: list[str] = []
    answers: dict[str, str] = {}


class _Type(Struct, gc=False):
    type: str


_type = msgspec.json.Decoder(_Type).decode
_read = msgspec.json.Decoder(Said).decode


class Told:
    """What a log tells, as far as it was read.

    `models` and `tools` are the calls that have begun and have no end, by id. `last` is where the log ends.
    """

    def __init__(self) -> None:
        self.last = 0
        self.has_started = self.is_over = False
        self.iterations = 0
        self.started: dict[str, None] = {}
        self.finished: set[str] = set()
        self.paused_for: list[str] | None = None
        self.paused: set[str] = set()
        self.answered: set[str] = set()
        self.models: dict[str, Said] = {}
        self.ended: set[str] = set()
        self.tools: dict[str, Said] = {}

    def holds(self, said: Said) -> bool:
        """Return whether that is told already."""
        if said.type == _RUN_STARTED:
            return self.has_started
        if said.type == STARTED:
            return said.step_id in self.started
        if said.type == FINISHED:
            return said.step_id in self.finished
        if said.type in _MODEL_ENDED:
            return said.model_call_id in self.ended
        if said.type == PAUSED:
            return said.pending == self.paused_for or self.answered.issuperset(said.pending)
        return said.type == ANSWERED and self.answered.issuperset(said.answers)

    def note(self, said: Said) -> None:
        """Note what an event tells."""
        if said.type in TERMINAL_TYPES:
            was_left = said.error.startswith(NO_SIGN_OF_LIFE)
            self.is_over = not was_left
            self.has_started = self.has_started and not was_left
        if said.type in _GOES_ON:
            self.paused_for = None
        if said.type == _RUN_STARTED:
            self.has_started = True
        elif said.type == STARTED:
            self.started[said.step_id] = None
        elif said.type == FINISHED:
            self.finished.add(said.step_id)
        elif said.type == PAUSED:
            self.paused_for = said.pending
            self.paused.update(said.pending)
        elif said.type == ANSWERED:
            self.answered.update(said.answers)
        else:
            self._note_call(said)

    def _note_call(self, said: Said) -> None:
        if said.type == _MODEL_STARTED:
            self.iterations = max(self.iterations, said.iteration)
            self.models[said.model_call_id] = said
        elif said.type in _MODEL_ENDED:
            self.models.pop(said.model_call_id, None)
            self.ended.add(said.model_call_id)
        elif said.type == _TOOL_STARTED:
            self.tools[said.call_id] = said
        elif said.type == _TOOL_FINISHED:
            self.tools.pop(said.call_id, None)


class Journal:
    """The log of one durable execution, for the recorder of one invocation of it. `told` is what it tells."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.told = Told()
        self.is_read = False
        """Whether the log could be read: until then nothing is known."""
        self._trying: PendingCommit | None = None

    def create(self, record: RunRecord, /) -> RunRecord:
        """Put the run record into the log, once, and read what the log tells; return the record that is there."""
        stored = self._log.create(record)
        self._read_on(record.run_id)
        self.is_read = True
        return stored

    def append_pending(self, pending: PendingCommit, /) -> int:
        """Append what of a commit is not told yet; return the last sequence. Raises as `EventLog.append_pending` does."""
        for _ in range(_TRIES):
            if self._trying is None or self._trying.commit_id != pending.commit_id:
                events = self._untold(pending.run_id, pending.events)
                if not events:
                    return self.told.last
                self._trying = PendingCommit(pending.run_id, events, pending.commit_id)
            try:
                last = self._log.append_pending(self._trying, self.told.last)
            except SequenceConflictError:
                self._trying = None
                self._read_on(pending.run_id)
            else:
                self._note(event.raw for event in self._trying.events)
                self._trying = None
                self.told.last = last
                return last
        raise ContentionError(pending.run_id, _TRIES)

    def _untold(self, run_id: str, events: list[EncodedEvent]) -> list[EncodedEvent]:
        if self.told.is_over:
            if any(event.type not in _READ for event in events):
                _logger.warning("behest did not record what was done in run %s after its end", run_id)
            return []
        return [event for event in events if event.type not in _READ or not self.told.holds(_read(event.raw))]

    def _read_on(self, run_id: str) -> None:
        for event in self._log.events(run_id, after=self.told.last):
            self._note([event.raw])
            self.told.last = event.sequence

    def _note(self, events: Iterable[bytes]) -> None:
        for raw in events:
            if _type(raw).type in _READ:
                self.told.note(_read(raw))
