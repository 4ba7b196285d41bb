"""Writer: appends one run's events from a thread beside the agent, in order, each once.

- The thread creates the run, then appends what was put in: every `interval`, at once where it is urgent, and when a commit is
  full.
- A request that fails is tried again, after longer and longer pauses, for `give_up_after` seconds. A commit that may have been
  written is tried again as it is, a `PendingCommit`, which the log recognises. Creating a run gives up at once where the tables
  or the permissions aren't there: that is a mistake in the settings, and waiting doesn't mend it.
- Then `on_error` decides: "raise" keeps what is left and raises in whoever puts or flushes next, "warn" drops and counts it,
  and writes a warning to the log `behest_core`.
- The buffer is bounded by the memory that it takes: an agent that is faster than the table waits, or its events are dropped. What
  is urgent, such as a run's end, has room of its own.
- What was dropped is told in the run's own log, before its end where it is known by then, else as the last thing of all.
- At the interpreter's exit, and on SIGTERM, what was put in is appended.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import time
import weakref
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from behest_core.dynamodb.event_table import PendingCommit
from behest_core.errors import ContentionError, RecordingError
from behest_core.model.agent_events import RecordingGap
from behest_core.model.decoding import encode
from behest_core.model.events import type_name
from behest_core.model.packing import lots
from behest_core.recording.gap import Gap

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.model.events import EncodedEvent
    from behest_core.model.record import RunRecord

OnError = Literal["raise", "warn"]

_FULL_BYTES: Final = 128 * 1024
"""A buffer this large is appended at once: a commit of it, compressed, is far from an item's limit."""

_BUFFER_BYTES: Final = 16 * 1024 * 1024
_URGENT_BYTES: Final = 256 * 1024
"""What urgent events may take beyond that."""

_EVENT_OVERHEAD: Final = 128
"""What an event in the buffer takes in memory beside its JSON, in bytes."""

_GAP: Final = type_name(RecordingGap)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LAST_CHANCE: Final = 10.0
"""How long a process that was told to stop goes on appending, in seconds: containers are killed some 30 s after SIGTERM."""

_MISTAKES: Final = frozenset(  # codes of DynamoDB's errors, and names of botocore's
    {
        "AccessDeniedException",
        "InvalidSignatureException",
        "NoCredentialsError",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)

_logger = logging.getLogger("behest_core")


class Writer:
    """Appends to one run. `last` is the last sequence that is in the log, `gap` the events that never will be.

    `record` is the run's, and after creating it the one that is stored; `log` is where they are appended. Times are in seconds.
    """

    def __init__(
        self, log: EventLog, record: RunRecord, *, interval: float, give_up_after: float, on_error: OnError
    ) -> None:
        self.record = record
        self.on_error = on_error
        self.gap = Gap()
        self.last = 0
        self.error: Exception | None = None
        self.log = log
        self._interval = interval
        self._give_up_after = give_up_after
        self._buffer: deque[EncodedEvent] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_created = self._is_urgent = self._is_closing = self._has_last_words = False
        self._flushes = 0
        self._thread = threading.Thread(target=self._work, name="behest-recorder", daemon=True)

    def start(self) -> None:
        """Begin, without waiting for anything."""
        _writers.add(self)
        _flush_when_told_to_stop()
        self._thread.start()

    def wait_until_created(self) -> None:
        """Wait until the run is created. Raises what that failed with, unless it is to warn only."""
        with self._lock:
            while not self._is_created and self.error is None:
                self._changed.wait()
        if self.error is not None and self.on_error == "raise":
            raise self.error

    def put(self, event: EncodedEvent, *, urgent: bool) -> None:
        """Take an event. Raises RecordingError, unless it is to warn only."""
        size = _size(event)
        limit = _BUFFER_BYTES + _URGENT_BYTES if urgent else _BUFFER_BYTES
        with self._lock:
            if (self.error is not None or self._bytes + size > limit) and not self._waits_for_room(size, limit):
                self.gap.add(1, "BufferFull" if self.error is None else _code(self.error))
                return
            self._buffer.append(event)
            self._bytes += size
            if urgent or self._bytes >= _FULL_BYTES:
                self._is_urgent = True
                self._changed.notify_all()
            elif len(self._buffer) == 1:
                self._changed.notify_all()

    def tell_gap(self) -> None:
        """Put in what was dropped and has not been told, if anything was."""
        with self._lock:
            self._put_gap()

    def _put_gap(self) -> None:
        told = self.gap.take() if self.error is None else None
        if told is not None:
            event = encode(told)
            self._buffer.append(event)
            self._bytes += _size(event)
            self._changed.notify_all()

    def _waits_for_room(self, size: int, limit: int) -> bool:
        """Wait while the buffer is full; False where nothing can be put in any more and nobody is to hear of it."""
        self._raise_error()
        while self.error is None and self._bytes + size > limit:
            if self.on_error == "warn":
                return False
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait()
            self._raise_error()
        return self.error is None

    def _raise_error(self) -> None:
        if self.error is not None and self.on_error == "raise":
            raise RecordingError(self.record.run_id, len(self._buffer)) from self.error

    def drop(self, count: int, error: Exception) -> None:
        """Count events that will not be written, and say why in the log."""
        self.gap.add(count, _code(error))
        _logger.warning("behest dropped %d events of run %s: %r", count, self.record.run_id, error)

    def flush(self, timeout: float | None = None) -> int:
        """Wait until all that was put in is in the log, at most so long; return the last sequence there. Raises as `put`."""
        with self._lock:
            self._flushes += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(self._is_idle, timeout)
            finally:
                self._flushes -= 1
            self._raise_error()
        return self.last

    def _is_idle(self) -> bool:
        return self.error is not None or (self._is_created and not self._buffer)

    def close(self, timeout: float | None = None) -> int:
        """Flush, and let the thread end; what can't be appended in time still is in the background, while the process lives."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            self.flush(timeout)
        finally:
            with self._lock:
                self._is_closing = True
                self._changed.notify_all()
                is_idle = self._is_idle()
            if is_idle:
                self._thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self.last

    # ------------------------------------------------------------ the thread

    def _work(self) -> None:
        try:
            self._create()
            while self._wait_for_work():
                self._append_buffer()
        except Exception as error:  # noqa: BLE001 (a setting of the wrong type, say: nobody may wait for what never comes)
            self._give_up(error)
        _writers.discard(self)

    def _give_up(self, error: Exception) -> None:
        """Append no more."""
        with self._lock:
            self.error = error
            self._drop_if_only_warning(len(self._buffer), error)
            self._changed.notify_all()

    def _create(self) -> None:
        def create() -> None:
            self.record = self.log.create(self.record)

        error = self._try(create, hopeless=_MISTAKES)
        if error is not None:
            self._give_up(error)
            return
        with self._lock:
            self._is_created = True
            self._changed.notify_all()

    def _wait_for_work(self) -> bool:
        """Wait until there is something to append and it is time to; say whether to go on."""
        with self._lock:
            while not self._buffer and not self._is_closing and self.error is None:
                self._changed.wait()
            if not self._buffer and not self._has_last_words:
                self._has_last_words = True  # which are not tried for ever where they can't be written either
                self._put_gap()
            if not self._buffer or self.error is not None:
                return False
            self._changed.wait_for(self._is_due, self._interval)
            return True

    def _is_due(self) -> bool:
        return self._is_urgent or self._is_closing or self._flushes > 0

    def _append_buffer(self) -> None:
        """Append what is in the buffer as one commit, or give it up."""
        with self._lock:
            self._is_urgent = False
            batch = next(lots(self.record.run_id, self._buffer))
        pending = PendingCommit(self.record.run_id, batch)

        def append() -> None:
            self.last = self.log.append_pending(pending)

        error = self._try(append)
        with self._lock:
            if error is None:
                self._forget(len(batch))
            elif not self._drop_if_only_warning(len(batch), error):
                self.error = error
            self._changed.notify_all()

    def _drop_if_only_warning(self, count: int, error: Exception) -> bool:
        if self.on_error == "raise":
            return False
        gaps = [event for event in islice(self._buffer, count) if event.type == _GAP]
        if count > len(gaps):
            self.drop(count - len(gaps), error)
        for gap in gaps:
            self.gap.take_back(msgspec.json.decode(gap.raw, type=RecordingGap))
        self._forget(count)
        return True

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= _size(self._buffer.popleft())

    def _try(self, request: Callable[[], None], hopeless: frozenset[str] = frozenset()) -> Exception | None:
        """Make a request until it succeeds or was tried for long enough; return the error it ended with."""
        pause, deadline = _FIRST_PAUSE, time.monotonic() + self._give_up_after
        while True:
            try:
                request()
            except (ClientError, BotoCoreError, ContentionError) as error:
                if time.monotonic() + pause > deadline or (hopeless and _code(error) in hopeless):
                    return error
            except Exception as error:  # noqa: BLE001 (given to the agent, whose thread is another)
                return error
            else:
                return None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _size(event: EncodedEvent) -> int:
    """Return the memory that an event takes in the buffer, at most.

    msgspec lets what it writes into grow by half, and gives it away as it is: half as large again as what it wrote.
    """
    return len(event.raw) * 3 // 2 + _EVENT_OVERHEAD


def _code(error: Exception) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


# ---------------------------------------------------------------- the end of the process

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def unfinished(log: EventLog) -> list[Writer]:
    """Return the writers of this process that still append to this log, for whoever waits for them."""
    return [writer for writer in list(_writers) if writer.log is log]


@atexit.register
def _flush_all() -> None:
    for writer in list(_writers):
        try:
            writer.flush()
        except RecordingError as error:
            _logger.warning("%s", error)


def _flush_when_told_to_stop() -> None:
    """Flush on SIGTERM, as containers get it, unless the program has a handler of its own."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler's arguments)
    # in a thread of its own: the main one may hold a writer's lock
    flushing = threading.Thread(target=_flush_all, daemon=True)
    flushing.start()
    flushing.join(_LAST_CHANCE)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
