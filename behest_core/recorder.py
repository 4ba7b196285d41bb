"""RunRecorder: what an agent writes with. It packs events into commits beside the agent, and never writes one twice.

- `emit` checks and encodes the event and puts it into a buffer; a thread appends what is there every `interval`, at once on
  lifecycle events, and when a commit is full. So an agent pays microseconds, and a run few write units.
- What was emitted is appended in order, once: a commit that may or may not have been written is tried again with its own
  `commit_id`, which the log recognises.
- Leaving the recorder records how the run ended, unless the agent has said so: RunCompleted, RunFailed with the exception, or
  RunCancelled. After a terminal event nothing is taken but another RunStarted.
- If the table is away, it tries again, waiting longer each time, for `give_up_after` seconds, and the buffer is bounded. After
  that `on_error` decides: "raise" raises in the agent, "warn" warns, drops and counts what it dropped.
- At the interpreter's exit, and on SIGTERM, what is in the buffer is appended.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import threading
import time
import warnings
import weakref
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from uuid import uuid4

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from behest_core.errors import EventTooLargeError, RecordingError, RunEndedError
from behest_core.events import (
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
    ToolExecutionResult,
    ToolExecutionStarted,
    UsageRecorded,
    encode_event,
    type_name,
)
from behest_core.state import TokenUsage
from behest_core.storable import EVENT_BYTES
from behest_core.timestamps import from_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType, TracebackType

    from behest_core.event_log import EventLog
    from behest_core.events import NewEvent
    from behest_core.state import RunRecord
    from behest_core.storable import JSON

    Redact = Callable[[dict[str, JSON]], Mapping[str, JSON] | None]

OnError = Literal["raise", "warn"]

_TERMINAL: Final = frozenset({type_name(RunCompleted), type_name(RunFailed), type_name(RunCancelled)})
_LIFECYCLE: Final = _TERMINAL | {type_name(RunStarted)}
_FULL_BYTES: Final = 128 * 1024
"""A buffer this large is appended at once: a commit of it, compressed, is far from an item's limit."""

_BUFFER_BYTES: Final = 16 * 1024 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_AWS_ERRORS: Final = (ClientError, BotoCoreError)


class RunRecorder:
    """Records one run. A context manager, for ``with`` and ``async with``; `RunStore.record` makes it.

    `interval` is how long events are gathered for a commit, in seconds. `give_up_after` is how long a commit is tried before
    `on_error` decides, in seconds. `cut_at` bounds, in bytes of JSON, a tool's output and arguments: what is larger is replaced
    by its beginning and its size. `redact` sees each event as a JSON object before it is written, and gives what to write, or
    None to leave it out. `dropped` counts the events that were not written.
    """

    def __init__(  # noqa: PLR0913 (how to record is the agent's to say)
        self,
        log: EventLog,
        create: Callable[[], RunRecord],
        *,
        interval: float = 0.5,
        give_up_after: float = 60.0,
        on_error: OnError = "raise",
        cut_at: int | None = None,
        redact: Redact | None = None,
    ) -> None:
        self._log = log
        self._create = create
        self._interval = interval
        self._give_up_after = give_up_after
        self._on_error = on_error
        self._cut_at = cut_at
        self._redact = redact
        self._buffer: deque[bytes] = deque()
        self._bytes = 0
        self._lock = threading.Condition()
        self._appending = threading.Lock()
        self._is_urgent = self._is_closing = self._has_ended = False
        self._error: Exception | None = None
        self._iterations = 0
        self._flushes = 0
        self._last = 0
        self._thread = threading.Thread(target=self._work, name="behest-recorder", daemon=True)
        self.dropped = 0
        self.record: RunRecord

    @property
    def run_id(self) -> str:
        """The run that is recorded."""
        return self.record.run_id

    # ------------------------------------------------------------ beginning and end

    def __enter__(self) -> Self:
        self.record = self._create()
        self._thread.start()
        _recorders.add(self)
        _flush_when_told_to_stop()
        self.emit(
            RunStarted(
                session_id=self.record.session_id,
                provider=self.record.provider,
                model=self.record.model,
                timestamp=now(),
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if not self._has_ended and self._error is None:
                self.emit(self._end(error))
            self.close()
        except RecordingError:
            if error is None:
                raise  # otherwise the agent's own error is the one to see

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, traceback))

    def _end(self, error: BaseException | None) -> Event:
        if error is None:
            return RunCompleted(finish_reason="stop", iterations=self._iterations, timestamp=now())
        if isinstance(error, Exception):
            return RunFailed(error=f"{type(error).__name__}: {error}"[:10_000], timestamp=now())
        return RunCancelled(timestamp=now())  # CancelledError, KeyboardInterrupt, SystemExit

    def close(self) -> int:
        """Append what is in the buffer, stop, and return the last sequence. Raises RecordingError, see `flush`."""
        try:
            return self.flush()
        finally:
            with self._lock:
                self._is_closing = True
                self._lock.notify_all()
            self._thread.join()
            _recorders.discard(self)

    def flush(self) -> int:
        """Wait until all that was emitted is in the log, and return the last sequence.

        Raises RecordingError where it can't be appended, unless it is to warn only.
        """
        with self._lock:
            self._flushes += 1
            self._lock.notify_all()
            try:
                while self._buffer and self._error is None:
                    self._lock.wait()
            finally:
                self._flushes -= 1
            self._raise_error()
        return self._last

    # ------------------------------------------------------------ events

    def emit(self, event: NewEvent) -> None:
        """Record an event: an instance of an event class, or its JSON object; without `timestamp`, that is now.

        Raises InvalidValueError and EventTooLargeError for an event that could not be folded or stored, RunEndedError after a
        terminal event, RecordingError where what came before can't be appended.
        """
        encoded = self._encoded(event)
        if encoded is None:
            return
        kind = _kind(event)
        with self._lock:
            self._raise_error()
            self._check_order(kind)
            if not self._make_room(len(encoded)):
                return
            self._buffer.append(encoded)
            self._bytes += len(encoded)
            if kind in _LIFECYCLE or self._bytes >= _FULL_BYTES:
                self._is_urgent = True
                self._lock.notify_all()
            elif len(self._buffer) == 1:
                self._lock.notify_all()

    def _encoded(self, event: NewEvent) -> bytes | None:
        if not isinstance(event, Event):
            event = {"timestamp": now(), **event} if not isinstance(event, msgspec.Struct) else event
        if self._cut_at is not None:
            event = _cut(event, self._cut_at)
        if self._redact is not None:
            redacted = self._redact(msgspec.json.decode(encode_event(event)))
            if redacted is None:
                return None
            event = redacted
        encoded = encode_event(event)
        if len(encoded) + 2 > EVENT_BYTES:
            raise EventTooLargeError(self.run_id, _kind(event), len(encoded), EVENT_BYTES)
        return encoded

    def _check_order(self, kind: str) -> None:
        if kind == "RunStarted":
            self._has_ended = False
        elif self._has_ended:
            raise RunEndedError(self.run_id, kind)
        self._has_ended |= kind in _TERMINAL
        self._iterations += kind == "ModelStarted"

    def _make_room(self, size: int) -> bool:
        """Wait while the buffer is full; say whether there is room: if not, the event is dropped and counted."""
        while self._bytes + size > _BUFFER_BYTES:
            if self._on_error == "warn":
                self.dropped += 1
                return False
            self._is_urgent = True
            self._lock.notify_all()
            self._lock.wait()
            self._raise_error()
        return True

    def _raise_error(self) -> None:
        if self._error is not None and self._on_error == "raise":
            raise RecordingError(self.run_id, len(self._buffer)) from self._error

    # ------------------------------------------------------------ short forms

    def model_started(self, *, provider: str | None = None, model: str | None = None) -> None:
        """The model is called. Iterations are counted from 1."""
        self.emit(
            ModelStarted(
                provider=provider or self.record.provider,
                model=model or self.record.model,
                iteration=self._iterations + 1,
                timestamp=now(),
            )
        )

    def text(self, delta: str) -> None:
        """The model wrote a piece of text."""
        self.emit(TextDelta(delta=delta, timestamp=now()))

    def tool_called(self, call_id: str, name: str, arguments: JSON) -> None:
        """The model asked for a tool."""
        self.emit(ToolCallCompleted(call=ToolCall(call_id, name, arguments), timestamp=now()))

    def tool_started(self, call_id: str, name: str) -> None:
        """A tool begins."""
        self.emit(ToolExecutionStarted(call_id=call_id, tool_name=name, timestamp=now()))

    def tool_finished(self, call_id: str, name: str, result: ToolExecutionResult, duration_ms: int) -> None:
        """A tool ended, with `ToolExecutionResult.ok(output)` or `.failed(error)`."""
        self.emit(
            ToolExecutionFinished(
                call_id=call_id, tool_name=name, result=result, duration_ms=duration_ms, timestamp=now()
            )
        )

    def usage(self, input_tokens: int, output_tokens: int, **cached: int) -> None:
        """One model call used this many tokens; `cached` are the cache fields of TokenUsage."""
        usage = TokenUsage(input_tokens, output_tokens, input_tokens + output_tokens, **cached)
        self.emit(UsageRecorded(usage=usage, timestamp=now()))

    def completed(self, finish_reason: str = "stop") -> None:
        """The run ended well."""
        self.emit(RunCompleted(finish_reason=finish_reason, iterations=self._iterations, timestamp=now()))

    def failed(self, error: str) -> None:
        """The run ended in an error."""
        self.emit(RunFailed(error=error, timestamp=now()))

    def cancelled(self) -> None:
        """The run was stopped."""
        self.emit(RunCancelled(timestamp=now()))

    # ------------------------------------------------------------ the thread

    def _work(self) -> None:
        while self._wait_for_work():
            self._append_buffer()

    def _wait_for_work(self) -> bool:
        """Wait until there is something to append and it is time to; say whether to go on."""
        with self._lock:
            while not self._buffer and not self._is_closing:
                self._lock.wait()
            if not self._buffer or self._error is not None:
                return False
            deadline = time.monotonic() + self._interval
            while not self._is_due() and (left := deadline - time.monotonic()) > 0:
                self._lock.wait(left)
            return True

    def _is_due(self) -> bool:
        return self._is_urgent or self._is_closing or self._flushes > 0 or self._bytes >= _FULL_BYTES

    def _append_buffer(self) -> None:
        """Append what is in the buffer as one commit, or give it up."""
        with self._appending:
            with self._lock:
                self._is_urgent = False
                batch = self._batch()
            error = self._append(batch) if batch else None
            with self._lock:
                if error is None:
                    self._forget(len(batch))
                elif self._on_error == "warn":
                    self.dropped += len(batch)
                    self._forget(len(batch))
                    warnings.warn(f"behest dropped {len(batch)} events of run {self.run_id}: {error!r}", stacklevel=1)
                else:
                    self._error = error
                self._lock.notify_all()

    def _batch(self) -> list[bytes]:
        batch, size = [], 2
        for encoded in self._buffer:
            size += len(encoded) + 1
            if size > EVENT_BYTES:
                break
            batch.append(encoded)
        return batch

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= len(self._buffer.popleft())

    def _append(self, batch: list[bytes]) -> Exception | None:
        """Append one commit, trying for so long; give the error it ended with."""
        commit_id, pause = str(uuid4()), _FIRST_PAUSE
        deadline = time.monotonic() + self._give_up_after
        while True:
            try:
                self._last = self._log.append_encoded(self.run_id, batch, commit_id)
            except _AWS_ERRORS as error:
                if time.monotonic() + pause > deadline:
                    return error
            except Exception as error:  # noqa: BLE001 (given to the agent, whose thread is another)
                return error
            else:
                return None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def now() -> str:
    """Give the time as behest writes it."""
    return from_datetime(datetime.now(UTC))


def _kind(event: NewEvent) -> str:
    if isinstance(event, Event):
        return type_name(event.__class__)
    return str(event["type"]) if not isinstance(event, msgspec.Struct) else event.type


def _cut(event: Any, limit: int) -> Any:  # noqa: ANN401 (whatever was emitted)
    """Replace a tool's output or arguments that are larger, in JSON, by their beginning and their size."""
    if isinstance(event, ToolExecutionFinished) and event.result.success is not msgspec.UNSET:
        output = _cut_value(event.result.success.output, limit)
        return msgspec.structs.replace(event, result=ToolExecutionResult.ok(output))
    if isinstance(event, ToolCallCompleted):
        arguments = _cut_value(event.call.arguments, limit)
        return msgspec.structs.replace(event, call=msgspec.structs.replace(event.call, arguments=arguments))
    return event


def _cut_value(value: JSON, limit: int) -> JSON:
    encoded = msgspec.json.encode(value)
    if len(encoded) <= limit:
        return value
    return {"cut": encoded[:limit].decode(errors="ignore"), "bytes": len(encoded)}


# ---------------------------------------------------------------- the end of the process

_recorders: weakref.WeakSet[RunRecorder] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for recorder in list(_recorders):
        try:
            recorder.flush()
        except RecordingError as error:
            warnings.warn(str(error), stacklevel=1)


def _flush_when_told_to_stop() -> None:
    """Flush on SIGTERM, as containers get it, unless the program has a handler of its own."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler's arguments)
    # in a thread of its own: the main one may hold a recorder's lock
    flushing = threading.Thread(target=_flush_all, daemon=True)
    flushing.start()
    flushing.join(10.0)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
