"""Outbox: what one run has still to append, in order, each event once.

- An agent puts events in and waits for nothing. A writer (writer.py) calls `step` when it is time to, from a thread of its own
  and never from two at once: one request, which creates the run, or appends a commit.
- It is time `interval` seconds after the first event was put in; at once where it is urgent, somebody waits for it, or a commit
  is full.
- A request that fails is tried again, after longer and longer pauses, for `give_up_after` seconds. A commit that may have been
  written is tried again as it is, a `PendingCommit`, which the log recognises. Creating a run gives up at once where the tables
  or the permissions aren't there: that is a mistake in the settings, and waiting doesn't mend it.
- Then `on_error` decides: "raise" keeps what is left and raises in whoever puts or flushes next, "warn" drops and counts it,
  and writes a warning to the log `behest_core`.
- The buffer is bounded by the memory that it takes: an agent that is faster than the table waits, or its events are dropped. What
  is urgent, such as a run's end, has room of its own.
- What was dropped is told in the run's own log, before its end where it is known by then, else as the last thing of all.
- With a `heartbeat`, a run that is open, and doesn't wait for somebody, and has appended nothing for so many seconds appends that
  it lives.
- In a process that was forked it begins anew: empty, with locks that nobody holds. What was in it is the parent's to append.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from behest_core.dynamodb.event_table import PendingCommit
from behest_core.errors import ContentionError, RecordingError
from behest_core.model.agent_events import Heartbeat, Paused, RecordingGap
from behest_core.model.decoding import encode
from behest_core.model.events import TERMINAL_TYPES, RunStarted, type_name
from behest_core.model.packing import lots
from behest_core.model.timestamps import now
from behest_core.recording.gap import Gap

if TYPE_CHECKING:
    from behest_core.model.events import EncodedEvent
    from behest_core.model.record import RunRecord

OnError = Literal["raise", "warn"]

LIFECYCLE: Final = TERMINAL_TYPES | {type_name(RunStarted)}
"""The types of the events that are appended at once."""

_SILENT: Final = TERMINAL_TYPES | {type_name(Paused)}
"""The types behind which there is no heartbeat: nothing is at work, and a pause has to stay the last that is recorded."""

_FULL_BYTES: Final = 128 * 1024
"""A buffer this large is appended at once: a commit of it, compressed, is far from an item's limit."""

_BUFFER_BYTES: Final = 16 * 1024 * 1024
_URGENT_BYTES: Final = 256 * 1024
"""What urgent events may take beyond that."""

_EVENT_OVERHEAD: Final = 128
"""What an event in the buffer takes in memory beside its JSON, in bytes."""

_GAP: Final = type_name(RecordingGap)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_AT_ONCE: Final = 0.0

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
_RETRIED: Final = (ClientError, BotoCoreError, ContentionError)

_logger = logging.getLogger("behest_core")


class Log(Protocol):
    """Where a run is written: an `EventLog`, or what stands before one and decides what goes into it."""

    def create(self, record: RunRecord, /) -> RunRecord:
        """Put the run record into the log, once; return the one that is there."""

    def append_pending(self, pending: PendingCommit, /) -> int:
        """Append a commit, once however often it is called with it; return the last sequence."""


class Schedule(Protocol):
    """What an outbox asks of its writer. It is called with the outbox's lock held."""

    def now(self) -> float:
        """Return the time, in seconds, that all times of an outbox are in."""

    def open(self, outbox: Outbox) -> None:
        """Be ready for the outbox."""

    def wake(self, outbox: Outbox, at: float | None) -> None:
        """Call `step` at that time, unless it is called earlier anyway or under way."""

    def stepped(self, outbox: Outbox, at: float | None) -> None:
        """Call `step`, which is about to return, again at that time; not of itself where that is None."""


class Outbox:
    """What is to be appended to one run. Times are in seconds.

    `record` is the run's, and after creating it the one that is stored; `log` is where its events go. `last` is the last sequence
    that is in the log, `gap` the events that never will be. `has_ended` says that the latest event was a terminal one, and
    `turn` is held from asking that until the next is put in. `due` is the writer's own note. `is_inherited` says that the run was
    begun by a process that this one was forked from, `is_closed` that nobody means to put anything in any more.
    """

    def __init__(  # noqa: PLR0913 (how to record is the agent's to say)
        self,
        log: Log,
        record: RunRecord,
        schedule: Schedule,
        *,
        interval: float,
        give_up_after: float,
        on_error: OnError,
        exit_wait: float,
        heartbeat: float | None,
    ) -> None:
        for seconds in (interval, give_up_after, exit_wait, heartbeat or 0):
            if not isinstance(seconds, int | float):  # told now, and not in a thread that appends other runs as well
                raise TypeError(f"run {record.run_id}: {seconds!r} is no number of seconds")
        self.log = log
        self.record = record
        self.on_error = on_error
        self.exit_wait = exit_wait
        self.last = 0
        self.is_inherited = False
        self._schedule = schedule
        self._interval = interval
        self._give_up_after = give_up_after
        self._heartbeat = heartbeat
        self.has_ended = False
        self.is_closed = self._is_created = False
        self._begin()

    def _begin(self) -> None:
        self.turn = threading.RLock()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self.due: float | None = None
        self.error: Exception | None = None
        self.gap = Gap()
        self._has_last_words = False
        self._buffer: deque[EncodedEvent] = deque()
        self._bytes = 0
        self._since = 0.0  # when the buffer was filled, or emptied, last
        self._latest = ""  # the type of the event that was put in last
        self._is_urgent = False
        self._waiting = 0  # how many wait until it is empty
        self._pending: PendingCommit | None = None
        self._try_again()

    def _try_again(self) -> None:
        """Forget that a request has failed."""
        self._pause = _FIRST_PAUSE
        self._retry_at: float | None = None
        self._deadline: float | None = None

    def begin_anew(self) -> None:
        """Be as it has to be in a process that was forked."""
        self._begin()
        self.is_inherited = True

    # ------------------------------------------------------------ the agent

    def start(self) -> None:
        """Begin, without waiting for anything."""
        with self._lock:
            self._schedule.open(self)
            self._wake()

    def wait_until_created(self) -> None:
        """Wait until the run is created, or closed. Raises what creating it failed with, unless it is to warn only."""
        with self._lock:
            self._changed.wait_for(lambda: self._is_created or self.is_closed or self.error is not None)
        if self.error is not None and self.on_error == "raise":
            raise self.error

    def put(self, event: EncodedEvent) -> None:
        """Take an event. Raises RecordingError, unless it is to warn only."""
        with self._lock:
            self._put(event)

    def _put(self, event: EncodedEvent) -> None:
        size, is_urgent = _size(event), event.type in LIFECYCLE
        if is_urgent:
            self.has_ended = event.type in TERMINAL_TYPES
        limit = _BUFFER_BYTES + _URGENT_BYTES if is_urgent else _BUFFER_BYTES
        if (self.error is not None or self._bytes + size > limit) and not self._waits_for_room(size, limit):
            self.gap.add(1, "BufferFull" if self.error is None else _code(self.error))
            return
        self._take(event, size)
        self._latest = event.type
        if is_urgent or self._bytes >= _FULL_BYTES:
            self._urge()
        elif len(self._buffer) == 1:
            self._wake()

    def _take(self, event: EncodedEvent, size: int) -> None:
        if not self._buffer:
            self._since = self._schedule.now()
        self._buffer.append(event)
        self._bytes += size

    def _urge(self) -> None:
        if not self._is_urgent:
            self._is_urgent = True
            self._wake()

    def tell_gap(self) -> None:
        """Put in what was dropped and has not been told, if anything was."""
        with self._lock:
            self._put_gap()

    def _put_gap(self) -> None:
        told = self.gap.take() if self.error is None else None
        if told is not None:
            event = encode(told)
            self._take(event, _size(event))
            self._wake()

    def _say_last_words(self) -> None:
        """Put in what was dropped behind the end; once, as they are not tried for ever where they can't be written either."""
        if self.is_closed and not self._buffer and not self._has_last_words:
            self._has_last_words = True
            self._put_gap()

    def _waits_for_room(self, size: int, limit: int) -> bool:
        """Wait while the buffer is full; False where nothing can be put in any more and nobody is to hear of it."""
        self._raise_error()
        while self.error is None and self._bytes + size > limit:
            if self.on_error == "warn":
                return False
            self._urge()
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
            self._waiting += 1
            self._wake()
            try:
                self._changed.wait_for(self._is_idle, timeout)
            finally:
                self._waiting -= 1
            self._raise_error()
        return self.last

    def _is_idle(self) -> bool:
        return self.error is not None or (self._is_created and not self._buffer)

    def close(self, timeout: float | None = None) -> int:
        """Flush. What can't be appended in time still is in the background, while the process lives."""
        with self._lock:
            self.is_closed = True
            self._say_last_words()
            self._changed.notify_all()
        return self.flush(timeout)

    # ------------------------------------------------------------ the end of the process

    def hurry(self) -> None:
        """Append what there is at once, though it may just have failed."""
        with self._lock:
            if not self._buffer:
                return
            self._waiting += 1
            if self._retry_at is not None:
                self._retry_at, self._pause = _AT_ONCE, _FIRST_PAUSE
            self._wake()

    def left_at(self, until: float) -> int:
        """Wait until that time at most for what was put in to be in the log; return how many events are not."""
        with self._lock:
            self._changed.wait_for(
                lambda: self.error is not None or not self._buffer, max(0.0, until - self._schedule.now())
            )
            return len(self._buffer)

    # ------------------------------------------------------------ the writer

    def _wake(self) -> None:
        self._schedule.wake(self, self._next())

    def _next(self) -> float | None:
        """Return when there is something to do; None where that is up to the agent."""
        if self.error is not None:
            return None
        if self._retry_at is not None:
            return self._retry_at
        if not self._is_created:
            return _AT_ONCE
        if self._buffer:
            return _AT_ONCE if self._is_hurried() else self._since + self._interval
        if self._heartbeat is not None and not self.is_closed and self._latest not in _SILENT:
            return self._since + self._heartbeat
        return None

    def _is_hurried(self) -> bool:
        return self._is_urgent or self.is_closed or self._waiting > 0 or self._bytes >= _FULL_BYTES

    @property
    def has_work(self) -> bool:
        """Whether there is something to append, or the run is to be created. Asked with the lock held."""
        return not self._is_idle()

    def step(self) -> None:
        """Do what there is to do: make one request. Raises nothing: what it fails with is the agent's."""
        try:
            if self._is_created:
                self._step()
            else:
                self._create()
        except Exception as error:  # noqa: BLE001 (a bug: nobody may wait for what never comes)
            self._give_up(error)
        with self._lock:
            self._changed.notify_all()
            self._schedule.stepped(self, self._next())

    def _give_up(self, error: Exception) -> None:
        """Append no more."""
        with self._lock:
            self.error = error
            if self._drop_if_only_warning(len(self._buffer), error):
                _logger.warning("behest dropped all that is to come of run %s: %r", self.record.run_id, error)

    def _create(self) -> None:
        try:
            record = self.log.create(self.record)
        except _RETRIED as error:
            if _code(error) in _MISTAKES or not self._puts_off():
                self._give_up(error)
            return
        self.record = record
        with self._lock:
            self._is_created = True
            self._since = self._schedule.now()
            self._try_again()

    def _step(self) -> None:
        """Append what is in the buffer as one commit, or put it off, or give it up."""
        pending = self._pending or self._next_commit()
        if pending is None:
            return
        try:
            self.last = self.log.append_pending(pending)
        except _RETRIED as error:
            if self._puts_off():
                self._pending = pending
                return
            failure: Exception | None = error
        except Exception as error:  # noqa: BLE001 (given to the agent, whose thread is another)
            failure = error
        else:
            failure = None
        self._done(len(pending.events), failure)

    def _next_commit(self) -> PendingCommit | None:
        """Return what is in the buffer, as much of it as fits an item; None where nothing is, or not yet."""
        with self._lock:
            if not self._buffer:
                self._beat()
            if not self._buffer:
                return None
            self._is_urgent = False
            return PendingCommit(self.record.run_id, next(lots(self.record.run_id, self._buffer)))

    def _beat(self) -> None:
        """Put in a heartbeat where it is time for one, unless somebody is just about to put in something else."""
        due, moment = self._next(), self._schedule.now()
        if due is None or due > moment:
            return
        self._since = moment
        if self.turn.acquire(blocking=False):
            try:
                self._put(encode(Heartbeat(timestamp=now())))
            finally:
                self.turn.release()

    def _done(self, count: int, error: Exception | None) -> None:
        with self._lock:
            self._pending = None
            self._try_again()
            self._since = self._schedule.now()
            if error is None:
                self._forget(count)
            elif not self._drop_if_only_warning(count, error):
                self.error = error
            self._say_last_words()

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

    def _puts_off(self) -> bool:
        """Set when a request that failed is tried again; False where it was tried for long enough."""
        moment = self._schedule.now()
        with self._lock:
            if self._deadline is None:
                self._deadline = moment + self._give_up_after
            if moment + self._pause > self._deadline:
                return False
            self._retry_at = moment + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            return True


def _size(event: EncodedEvent) -> int:
    """Return the memory that an event takes in the buffer, at most.

    msgspec lets what it writes into grow by half, and gives it away as it is: half as large again as what it wrote.
    """
    return len(event.raw) * 3 // 2 + _EVENT_OVERHEAD


def _code(error: Exception) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
