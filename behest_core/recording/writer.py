"""Writer: appends what all recorders of a process have put in, beside the agents.

- One thread watches the clock: it knows when each outbox (outbox.py) is to be called next, whatever log it belongs to. What
  fails is called again later like any other: it holds up nothing meanwhile.
- Requests are made by threads of their own: as many as there are recorders, `_REQUESTS_AT_ONCE` at most. They are started when a
  recorder is: at the interpreter's exit Python starts none.
- No outbox is called by two threads at once, so a run's commits keep their order.
- An outbox that has something to append is kept, though its recorder may be gone. One that hasn't is not: it has no more
  heartbeat then.
- Before a fork no request begins, and those under way are waited for: so the child inherits no lock of a client's that nobody
  releases. In the child the writer has no threads until something is recorded there, and nothing to append.
"""

from __future__ import annotations

import heapq
import threading
import time
import weakref
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.recording.outbox import Outbox

_REQUESTS_AT_ONCE: Final = 8
"""A request takes 5 to 10 ms, in which Python is idle: with eight at once 500 runs are appended to every 0.3 to 0.6 seconds.

More would not be faster: a request also takes about a millisecond of Python's own, and boto3's clients keep ten connections,
which the agents use as well.
"""

_FORK_WAIT: Final = 1.0
"""How long a fork waits for requests that are under way, in seconds. One that takes longer holds no lock: it waits itself."""

_WATCH_AND_REQUEST: Final = 2
"""How many threads there are at least where something is to be appended."""

_HANDED_OUT: Final = float("-inf")


class _Timer(NamedTuple):
    at: float
    order: int
    outbox: weakref.ref[Outbox]


class Writer:
    """Calls outboxes when it is time to. `on_start` is called when a recorder starts, and by the first event after a fork.

    `exit_wait` is the longest that any of them has asked for, in seconds.
    """

    def __init__(
        self,
        *,
        on_start: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self.now = now
        self.exit_wait = 0.0
        self._on_start = on_start
        self._wait = wait
        self._outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()
        self._order = count()
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._timers: list[_Timer] = []
        self._ready: SimpleQueue[Outbox] = SimpleQueue()
        self._busy: set[Outbox] = set()
        self._threads: list[threading.Thread] = []
        self._under_way = 0
        self._forks = 0  # under way, in as many threads

    # ------------------------------------------------------------ what outboxes ask for, with their locks held

    def open(self, outbox: Outbox) -> None:
        """Be ready for the outbox."""
        with self._changed:
            self._outboxes.add(outbox)
            self.exit_wait = max(self.exit_wait, outbox.exit_wait)
            self._start()

    def wake(self, outbox: Outbox, at: float | None) -> None:
        """Call the outbox at that time, unless it is called earlier anyway or under way."""
        if at is None:
            return
        with self._changed:
            if outbox.due is not None and outbox.due <= at:
                return
            if len(self._threads) < _WATCH_AND_REQUEST:
                self._start()
            if outbox.has_work:
                self._busy.add(outbox)
            if at <= self.now():
                self._hand_out(outbox)
            else:
                self._set_timer(outbox, at)

    def stepped(self, outbox: Outbox, at: float | None) -> None:
        """Call the outbox, which has been called, again at that time; not of itself where that is None."""
        with self._changed:
            outbox.due = None
            if not outbox.has_work:
                self._busy.discard(outbox)
            self.wake(outbox, at)

    def _hand_out(self, outbox: Outbox) -> None:
        outbox.due = _HANDED_OUT
        self._ready.put(outbox)

    def _set_timer(self, outbox: Outbox, at: float) -> None:
        outbox.due = at
        if len(self._timers) > 2 * len(self._outboxes) + 64:
            self._timers = [timer for timer in self._timers if _outbox_of(timer) is not None]
            heapq.heapify(self._timers)
        timer = _Timer(at, next(self._order), weakref.ref(outbox))
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer:
            self._changed.notify_all()

    def _start(self) -> None:
        self._on_start()
        if not self._threads:
            self._start_thread(self._watch)
        while len(self._threads) < 1 + min(len(self._outboxes), _REQUESTS_AT_ONCE):
            self._start_thread(self._make_requests)

    def _start_thread(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="behest-recorder", daemon=True)
        thread.start()
        self._threads.append(thread)

    # ------------------------------------------------------------ the threads

    def _watch(self) -> None:
        """Hand out each outbox when its time has come."""
        while True:
            with self._changed:
                left = self._hand_out_the_due()
                self._wait(self._changed, left)

    def _hand_out_the_due(self) -> float | None:
        """Return how long it is until the next is due, None where there is none."""
        while self._timers:
            timer = self._timers[0]
            left = timer.at - self.now()
            if left > 0:
                return left
            heapq.heappop(self._timers)
            outbox = _outbox_of(timer)
            if outbox is not None:
                self._hand_out(outbox)
        return None

    def _make_requests(self) -> None:
        while True:
            outbox = self._ready.get()
            with self._changed:
                self._changed.wait_for(lambda: not self._forks)
                self._under_way += 1
            outbox.step()
            del outbox  # while this waits for the next, nobody but its recorder keeps it
            with self._changed:
                self._under_way -= 1
                if self._forks:
                    self._changed.notify_all()

    # ------------------------------------------------------------ the end of the process, and forks

    def unfinished(self) -> list[Outbox]:
        """Return the outboxes that have something to append."""
        with self._changed:
            return list(self._busy)

    def finish(self) -> list[tuple[Outbox, int]]:
        """Append what there is, of all runs side by side, each within its `exit_wait`; return what is left of it, as counts."""
        with self._changed:
            outboxes = list(self._outboxes)
        began = self.now()
        for outbox in outboxes:
            outbox.hurry()
        left = [(outbox, outbox.left_at(began + outbox.exit_wait)) for outbox in outboxes]
        return [(outbox, waiting) for outbox, waiting in left if waiting]

    def before_fork(self) -> None:
        """Let no request begin, and wait for those that have; for a moment at most."""
        self._changed.acquire()
        self._forks += 1
        self._changed.wait_for(lambda: not self._under_way, _FORK_WAIT)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()

    def after_fork_in_child(self) -> None:
        """Begin anew, with nothing to append."""
        self._begin()
        for outbox in self._outboxes:
            outbox.begin_anew()


def _outbox_of(timer: _Timer) -> Outbox | None:
    """Return the outbox that is to be called then; None where it is gone, or is called at another time."""
    outbox = timer.outbox()
    return outbox if outbox is not None and outbox.due == timer.at else None
