"""RunRecorder: what an agent writes with.

- `emit` checks and encodes an event and puts it into the run's outbox (outbox.py), from which the writer of the process
  (writer.py) appends commits beside the agent. So an agent pays microseconds, and a run few write units.
- Leaving the recorder records how the run ended, unless the agent has said so: RunCompleted, RunFailed with the exception, or
  RunCancelled. After a terminal event nothing is taken but another RunStarted.
- What an agent says is made storable (storable.py), split or cut (cut.py) where the log can't hold it as it is. An ending is
  always recorded, if need be without what it said; and whatever goes wrong while one is recorded, the agent's own exception wins.
- A run whose model isn't known when it begins has its record at once, and RunStarted with the first model call, or with whatever
  else comes but steps.
- The end of a run ends the tools that have none, and tells what was dropped: `agent.RecordingGap`.
- With ``on_error="warn"`` no event raises: one that can't be recorded is dropped, counted in `dropped`, and a warning in the log
  `behest_core` says why.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

import msgspec
from msgspec import UNSET

from behest_core.errors import (
    ConfigurationError,
    InvalidValueError,
    RecordingError,
    RunEndedError,
    WaitTimeoutError,
)
from behest_core.model.agent_events import Paused, Resumed, StepFinished, StepStarted, ToolRefused
from behest_core.model.cache import BoundedCache
from behest_core.model.conversation import Told
from behest_core.model.decoding import check_known, encode
from behest_core.model.events import (
    TERMINAL_TYPES,
    EncodedEvent,
    Event,
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    ToolExecutionFinished,
    ToolExecutionResult,
    ToolExecutionStarted,
    type_name,
)
from behest_core.model.packing import check_fits
from behest_core.model.record import RunRecord, run_id_for
from behest_core.model.timestamps import from_datetime, now
from behest_core.recording import process
from behest_core.recording.content import CONTENT, is_recorded_by_default, without_content
from behest_core.recording.cut import fitted, is_readable, needs_a_look_from
from behest_core.recording.failures import error_text, text_with_causes
from behest_core.recording.halves import Halves
from behest_core.recording.model_call import ModelCall
from behest_core.recording.open_tools import CANCELLED, TOOL_TYPES, OpenTools
from behest_core.recording.outbox import Outbox
from behest_core.recording.storable import as_object, mended_event, storable, storable_record, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.state import RunState
    from behest_core.recording.outbox import Log, OnError

    Redact = Callable[[dict[str, JSON]], Mapping[str, JSON] | None]
    WaitFor = Callable[..., RunState]

_GAP_BEFORE: Final = TERMINAL_TYPES | {type_name(Paused)}
_STEPS_BYTES: Final = 1024 * 1024
"""What is kept of steps that have not ended: of some thousand."""

_MAY_WAIT: Final = frozenset({type_name(StepStarted), type_name(StepFinished), type_name(Resumed)})
_WAIT_AT_MOST: Final = 100
"""What may wait for the first model call, and how many events."""

_UNTOLD: Final = "(could not be recorded)"

_logger = logging.getLogger("behest_core")


class RunRecorder:
    """Records one run. A context manager, for ``with`` and ``async with``; `RunStore.recorder` makes it.

    `interval` is how long events are gathered for a commit, in seconds. `give_up_after` is how long a commit is tried before
    `on_error` decides, in seconds. `cut_at` bounds, in bytes of JSON, a tool's output, error and arguments: what is larger is
    replaced by its beginning and its size. Without `content` nothing of what was said is recorded, see content.py; None leaves
    that to the environment variable BEHEST_RECORD_CONTENT. `redact` sees each event as a JSON object before it is written, and
    returns what to write, or None to leave it out. `exit_wait` is how long the end of the process is held up for what is not
    appended yet, in seconds. With a `heartbeat` an agent.Heartbeat is recorded when nothing else was for so many seconds.
    `wait_for` is `RunStore.wait`, of the store that has the run's state.
    """

    def __init__(  # noqa: PLR0913 (how to record is the agent's to say)
        self,
        log: Log,
        record: RunRecord,
        *,
        interval: float = 1.0,
        give_up_after: float = 60.0,
        on_error: OnError = "raise",
        cut_at: int | None = None,
        redact: Redact | None = None,
        content: bool | None = None,
        exit_wait: float = 5.0,
        heartbeat: float | None = None,
        wait_for: WaitFor | None = None,
    ) -> None:
        record, changes = storable_record(record)
        if changes:
            _logger.warning("behest changed the record of run %s to store it: %s", record.run_id, "; ".join(changes))
        self._outbox = Outbox(
            log,
            record,
            process.writer,
            interval=interval,
            give_up_after=give_up_after,
            on_error=on_error,
            exit_wait=exit_wait,
            heartbeat=heartbeat,
        )
        self._wait_for = wait_for
        self._cut_at = cut_at
        self._longest = needs_a_look_from(cut_at)
        self._redact = redact
        self._has_content = is_recorded_by_default() if content is None else content
        self._writes_all = self._has_content and redact is None
        self._begin_telling()
        self.iterations = 0
        """How many calls of a model the run has had; for whoever goes on with a run to set."""
        self._halves = Halves()
        self._starting = threading.RLock()
        self._held: list[NewEvent] | None = None
        self._tools = OpenTools()
        self._steps_started: BoundedCache[float] = BoundedCache(_STEPS_BYTES)
        _recorders.add(self)

    def _begin_telling(self) -> None:
        self._telling = threading.Lock()
        self._told = Told()

    def begin_anew(self) -> None:
        """Be as it has to be in a process that was forked: what its parent has told may not be in the log yet."""
        self._begin_telling()

    def __repr__(self) -> str:
        what = "closed" if self.is_closed else "ended" if self._outbox.has_ended else "open"
        return (
            f"<RunRecorder of run {self.run_id}: {what}, {self._outbox.last} events in the log, {self.dropped} dropped>"
        )

    @property
    def record(self) -> RunRecord:
        """The run's record; after entering, the one that is stored."""
        return self._outbox.record

    @property
    def run_id(self) -> str:
        """The run that is recorded."""
        return self.record.run_id

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called: nothing more is recorded."""
        return self._outbox.is_closed

    @property
    def has_content(self) -> bool:
        """Whether what is said is recorded."""
        return self._has_content

    @property
    def dropped(self) -> int:
        """How many events were not written, and will not be."""
        return self._outbox.gap.total

    # ------------------------------------------------------------ beginning and end

    def __enter__(self) -> Self:
        try:
            self._outbox.start()
            self._outbox.wait_until_created()
            self._emit_started()
        except BaseException as error:
            self._abandon(error)
            raise
        return self

    def start(self, at: str | None = None, *, is_model_known: bool = True) -> Self:
        """Begin without waiting for the table, and without ``with``: whoever calls this records the end, and calls `close`.

        `at` is when the run began, RFC 3339; by default now. Where the record's provider and model aren't the run's, RunStarted
        has those of the first model call, and waits for it.
        """
        self._outbox.start()
        if is_model_known:
            self._emit_started(at)
        else:
            self._held = [self._started(at)]
        return self

    def _started(self, at: str | None) -> RunStarted:
        record = self.record
        return RunStarted(
            session_id=record.session_id, provider=record.provider, model=record.model, timestamp=at or now()
        )

    def _emit_started(self, at: str | None = None) -> None:
        self.emit(self._started(at))

    def _holds(self, event: NewEvent) -> bool:
        """Return whether an event has to wait, behind RunStarted; write what waits, where this one can't."""
        with self._starting:
            if self._held is None:
                return False
            if type_of(event) in _MAY_WAIT and len(self._held) < _WAIT_AT_MOST:
                self._held.append(event)
                return True
            self._let_go(event)
        return False

    def _let_go(self, event: NewEvent | None = None) -> None:
        """Write what waits, RunStarted with the provider and model of the model call that is the next event, if it is one."""
        with self._starting:
            for number, each in enumerate(self._held or ()):
                if number == 0 and isinstance(each, RunStarted) and isinstance(event, ModelStarted):
                    each.provider, each.model = event.provider, event.model
                self._emit(each)
            self._held = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            try:
                if not self._outbox.is_inherited:
                    self._end(error)
            finally:
                self.close()
        except Exception as failure:
            if error is None:
                raise
            _logger.warning("behest could not record how run %s ended: %r", self.run_id, failure)

    async def __aenter__(self) -> Self:
        try:
            self._outbox.start()
            await asyncio.to_thread(self._outbox.wait_until_created)
            self._emit_started()
        except BaseException as error:
            self._abandon(error)
            raise
        return self

    def _abandon(self, error: BaseException) -> None:
        """End the run, as nobody leaves what was not entered. What there is to write is written in the background."""
        try:
            try:
                self._end(error)
            finally:
                self.close(timeout=0)
        except Exception as failure:  # noqa: BLE001 (what it was interrupted by is to go on)
            _logger.warning("behest could not record how run %s ended: %r", self.run_id, failure)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, traceback))

    def _end(self, error: BaseException | None) -> None:
        """Record how the run ended, unless that is known, or can't be written any more."""
        if self._outbox.has_ended or self._outbox.error is not None:
            return
        ending = self._ending(error)
        try:
            self.emit(ending)
        except RecordingError:
            raise
        except Exception:
            self._end_anyhow(ending)
            raise

    def _ending(self, error: BaseException | None) -> Event:
        if error is None:
            return RunCompleted(finish_reason="stop", iterations=self.iterations, timestamp=now())
        if isinstance(error, Exception):
            return RunFailed(error=text_with_causes(error), timestamp=now())
        return RunCancelled(timestamp=now())  # CancelledError, KeyboardInterrupt, SystemExit

    def flush(self, timeout: float | None = None) -> int:
        """Wait until all that was emitted is in the log, at most `timeout` seconds; return the last sequence there.

        Raises RecordingError where it can't be appended.
        """
        return self._outbox.flush(timeout)

    def wait(self, timeout: float = 30.0) -> RunState:
        """Wait until the run's state covers all that was recorded, and return it; also after ``with``.

        At most `timeout` seconds. Raises WaitTimeoutError, RunParkedError where the run is parked before that, RecordingError
        where something can't be appended, and ConfigurationError of a recorder that no RunStore made.
        """
        if self._wait_for is None:
            raise ConfigurationError("this recorder knows of no state table; RunStore.recorder makes one that does")
        began = time.monotonic()
        last = self.flush(timeout)
        unwritten = self._outbox.left_at(began)
        if unwritten:
            raise WaitTimeoutError(self.run_id, last + unwritten, last, timeout)
        return self._wait_for(self.run_id, last, timeout=max(0.0, timeout - (time.monotonic() - began)))

    def close(self, timeout: float | None = None) -> int:
        """Flush and stop; return the last sequence in the log.

        What is not appended after `timeout` seconds goes on being tried in the background, as long as the process lives. Raises
        as `flush`.
        """
        self._let_go()
        for half in self._halves.left_alone():
            self.emit(half)
        return self._outbox.close(timeout)

    async def aclose(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 (it cancels nothing: see `close`)
        """Close without holding up the event loop. Whoever is cancelled meanwhile waits no longer; it is closed all the same."""
        return await asyncio.shield(asyncio.to_thread(self.close, timeout))

    # ------------------------------------------------------------ events

    def emit(self, event: NewEvent, *, allow_unknown: bool = False) -> None:
        """Record an event: an instance of an event class, or its JSON object; without `timestamp`, that is now.

        What the log can't hold as it is is made storable. Raises InvalidValueError for an event that could not be folded, as it
        lacks a field or has one of another type, and, unless `allow_unknown`, for one whose type is neither behest's nor dotted;
        EventTooLargeError for one that has nothing to cut, RunEndedError after a terminal event, RecordingError where what came
        before can't be appended.
        """
        if self._held is None or not self._holds(event):
            self._emit(event, allow_unknown=allow_unknown)

    def emit_unless_over(self, event: NewEvent) -> bool:
        """Record an event, as `emit` does, unless the run has ended or is closed; return whether it had not."""
        with self._starting, self._outbox.turn:
            is_open = not (self._outbox.has_ended or self.is_closed)
            if is_open:
                self.emit(event)
        return is_open

    def _emit(self, event: NewEvent, *, allow_unknown: bool = False) -> None:
        try:
            for each in self._halves.resume(event) if self._halves.held else (event,):
                for said in self._said(each):
                    if not allow_unknown:
                        check_known(said)
                    self._put(said, said if self._writes_all else self._written(said))
        except Exception as error:
            if self._outbox.on_error == "raise":
                raise
            self._outbox.drop(1, error)
            self._end_anyhow(event)

    def _said(self, event: NewEvent) -> Sequence[EncodedEvent]:
        """Return what an agent said as the log can hold it: as it is, mended, or in pieces."""
        if not isinstance(event, msgspec.Struct):
            event = {"timestamp": now(), **event}
        try:
            encoded = encode(event)
        except InvalidValueError:
            held = self._halves.hold(as_object(event))
            if held is None:
                return ()
            encoded = encode(mended_event(held))
        return (encoded,) if len(encoded.raw) <= self._longest else self._fitting(encoded, event)

    def _fitting(self, encoded: EncodedEvent, event: NewEvent) -> Sequence[EncodedEvent]:
        events = fitted(encoded, self._cut_at)
        if isinstance(event, Event) and not all(is_readable(each, event.__class__) for each in events):
            events = (encoded,)  # its class has no place for what says that something was cut
        for each in events:
            check_fits(self.run_id, each)
        return events

    def _written(self, said: EncodedEvent) -> EncodedEvent | None:
        """Return what is written of an event, without its content, or redacted; None where it is left out."""
        if not self._has_content and said.type in CONTENT:
            said = encode(without_content(msgspec.json.decode(said.raw)))
        if self._redact is None:
            return said
        redacted = self._redact(msgspec.json.decode(said.raw))
        if redacted is None:
            return None
        try:
            encoded = encode(redacted)
        except InvalidValueError:
            encoded = encode(mended_event(as_object(redacted)))
        check_fits(self.run_id, encoded)
        return encoded

    def _put(self, said: EncodedEvent, written: EncodedEvent | None) -> None:
        """Write an event, as `written` says it; where that is None, only note it."""
        outbox = self._outbox
        with outbox.turn:  # so that nothing comes in behind a terminal event
            if outbox.has_ended and said.type != "RunStarted":
                if self._tools.was_ended(said):
                    return
                raise RunEndedError(self.run_id, said.type)
            if said.type in TOOL_TYPES:
                self._tools.note(said)
            if written is None:
                return
            kind = written.type
            if kind in TERMINAL_TYPES:
                self._end_tools(said)
            if kind in _GAP_BEFORE:
                outbox.tell_gap()
            outbox.put(written)
            self.iterations += kind == "ModelStarted"

    def _end_tools(self, ending: EncodedEvent) -> None:
        for each in self._tools.end_all(_why(ending)):
            self.emit(each)

    def _end_anyhow(self, event: NewEvent) -> None:
        """Where a terminal event could not be recorded, record that the run ended, without anything that was said of it."""
        kind = type_of(event)
        bare: dict[object, Event] = {
            type_name(RunCompleted): RunCompleted(finish_reason=_UNTOLD, iterations=self.iterations, timestamp=now()),
            type_name(RunFailed): RunFailed(error=_UNTOLD, timestamp=now()),
            type_name(RunCancelled): RunCancelled(timestamp=now()),
        }
        if kind in bare and not self._outbox.has_ended:
            encoded = encode(bare[kind])
            self._put(encoded, encoded)

    # ------------------------------------------------------------ short forms

    def model_call(  # noqa: PLR0913 (what a model is sent)
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        messages: Sequence[JSON] | None = None,
        message_format: str = "openai",
        system_instructions: JSON = None,
        tool_definitions: JSON = None,
        parameters: JSON = None,
        model_call_id: str | None = None,
        step_id: str | None = None,
    ) -> ModelCall:
        """Record that the model is called, and what it is sent; return the call, which records what it gives.

        `messages` are all that the model sees, as JSON in the form that `message_format` names (docs/items.md); what the log has
        already is not written again. Iterations are counted from 1.
        """
        step = UNSET if step_id is None else step_id
        # the requests are compared as JSON before they are emitted
        sent = None if messages is None else [storable(each) for each in messages]
        call = ModelCall(self.emit, model_call_id or _new_id(), step)
        with self._telling:  # the log has the requests in the order in which they are told apart
            self.emit(
                ModelStarted(
                    provider=provider or self.record.provider,
                    model=model or self.record.model,
                    iteration=self.iterations + 1,
                    model_call_id=call.id,
                    step_id=step,
                    timestamp=now(),
                )
            )
            if sent is not None:
                for event in self._told.events(
                    call.id,
                    message_format,
                    sent,
                    system_instructions=storable(system_instructions),
                    tool_definitions=storable(tool_definitions),
                    parameters=storable(parameters),
                    timestamp=now(),
                    step_id=step,
                ):
                    self.emit(event)
        return call

    def step_started(
        self, name: str, kind: str, *, step_id: str | None = None, parent_step_id: str | None = None
    ) -> str:
        """Record that a part of the run begins; return its id. `kind` is ``agent``, ``node`` and so on: see StepStarted."""
        step_id = step_id or _new_id()
        parent = UNSET if parent_step_id is None else parent_step_id
        self._steps_started.put(step_id, time.monotonic())
        self.emit(StepStarted(step_id=step_id, name=name, kind=kind, parent_step_id=parent, timestamp=now()))
        return step_id

    def step_finished(self, step_id: str, error: BaseException | None = None) -> None:
        """Record that a part of the run ended, by `error` where it failed or was stopped."""
        began = self._steps_started.pop(step_id)
        self.emit(
            StepFinished(
                step_id=step_id,
                error=UNSET if error is None else error_text(error),
                duration_ms=UNSET if began is None else round(1000 * (time.monotonic() - began)),
                timestamp=now(),
            )
        )

    def tool_started(
        self, call_id: str, name: str, *, model_call_id: str | None = None, step_id: str | None = None
    ) -> None:
        """A tool begins. `model_call_id` is the call of the model that asked for it, `step_id` the step that it runs in."""
        self.emit(
            ToolExecutionStarted(
                call_id=call_id,
                tool_name=name,
                model_call_id=UNSET if model_call_id is None else model_call_id,
                step_id=UNSET if step_id is None else step_id,
                timestamp=now(),
            )
        )

    def tool_finished(  # noqa: PLR0913 (what there is to say of a tool)
        self,
        call_id: str,
        name: str,
        result: ToolExecutionResult,
        duration_ms: int | None = None,
        *,
        model_call_id: str | None = None,
        step_id: str | None = None,
    ) -> None:
        """A tool ended, with `ToolExecutionResult.ok(output)` or `.failed(error)`.

        `duration_ms` is by default the time since `tool_started`, 0 where there was none.
        """
        if duration_ms is None:
            duration_ms = self._tools.milliseconds_of(call_id, model_call_id)
        self.emit(
            ToolExecutionFinished(
                call_id=call_id,
                tool_name=name,
                result=result,
                duration_ms=duration_ms,
                model_call_id=UNSET if model_call_id is None else model_call_id,
                step_id=UNSET if step_id is None else step_id,
                timestamp=now(),
            )
        )

    def tool_refused(
        self, call_id: str, name: str, reason: str, *, model_call_id: str | None = None, step_id: str | None = None
    ) -> None:
        """A tool that the model asked for is not executed; `reason` is what the model is told instead."""
        self.emit(
            ToolRefused(
                call_id=call_id,
                tool_name=name,
                reason=reason,
                model_call_id=UNSET if model_call_id is None else model_call_id,
                step_id=UNSET if step_id is None else step_id,
                timestamp=now(),
            )
        )

    def completed(self, finish_reason: str = "stop") -> None:
        """The run ended well."""
        self.emit(RunCompleted(finish_reason=finish_reason, iterations=self.iterations, timestamp=now()))

    def failed(self, error: str | Exception) -> None:
        """The run ended in an error. Of an exception its class and message are kept, and those of what it comes from."""
        text = text_with_causes(error) if isinstance(error, Exception) else error
        self.emit(RunFailed(error=text, timestamp=now()))

    def cancelled(self) -> None:
        """The run was stopped."""
        self.emit(RunCancelled(timestamp=now()))


def _why(ending: EncodedEvent) -> str:
    """Return why a tool that is open has ended, by the event that the run ended with."""
    if ending.type == "RunCancelled":
        return CANCELLED
    if ending.type == "RunFailed":
        return f"the run failed: {msgspec.json.decode(ending.raw)['error']}"
    return "the run ended"


def _new_id() -> str:
    """Return an id that is unique within a run: it is in each event of a call, so it is short."""
    return token_hex(6)


def new_record(  # noqa: PLR0913 (a run record has as many fields)
    *,
    provider: str,
    model: str,
    session_id: str | None = None,
    metadata: JSON = None,
    client_request_id: str | None = None,
    run_id: str | None = None,
    created_at: datetime | str | None = None,
) -> RunRecord:
    """Return the record of a new run, with what the caller left open."""
    if run_id is None:
        run_id = str(uuid4()) if client_request_id is None else run_id_for(client_request_id)
    moment = datetime.now(UTC) if created_at is None else created_at
    return RunRecord(
        run_id=run_id,
        session_id=str(uuid4()) if session_id is None else session_id,
        provider=provider,
        model=model,
        metadata=metadata,
        client_request_id=client_request_id,
        created_at=moment if isinstance(moment, str) else from_datetime(moment),
    )


def _begin_anew() -> None:
    for recorder in _recorders:
        recorder.begin_anew()


_recorders: Final[weakref.WeakSet[RunRecorder]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_anew)
