"""Ordinary code, run piece by piece in an order that a simulation chooses.

Time is a number, and what happens next is what is earliest in a queue. Code that would call the network sleeps instead: it hands
the baton back, and gets it again when its time has come. Each such task has a thread of its own, because synchronous code can be
halted in no other way without another dependency; but a thread runs only while it holds the baton, so there is no concurrency,
and the same seed gives the same order, always.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING

from behest_core.testing import FunctionKilled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.versions import Release


class Task:
    """One thread's worth of code. `release` is what its process runs."""

    def __init__(self, name: str, body: Callable[[], None], back: threading.Lock, release: Release) -> None:
        self.name = name
        self.release = release
        self.is_over = False
        self.is_doomed = False
        self.is_slow = False
        self.was_held_up = False
        """Whether a call of it took longer than calls do, even slow ones."""

        self.was_killed = False
        self.error: BaseException | None = None
        self._body = body
        self._back = back
        self._go = threading.Lock()
        self._go.acquire()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def hand_over(self) -> None:
        """Let it run until it pauses or is over."""
        self._go.release()
        self._back.acquire()

    def pause(self) -> None:
        """Called by the task itself: wait for the next turn. A doomed task dies instead of waking up."""
        self._back.release()
        self._go.acquire()
        if self.is_doomed:
            raise FunctionKilled(self.name)

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.is_doomed:
                self._body()
        except FunctionKilled:
            self.was_killed = True
        except BaseException as error:  # noqa: BLE001 (raised again where the scheduler runs)
            self.error = error
        self.is_over = True
        self._back.release()


class Scheduler:
    """The queue of what is to happen. `activate` is called with a task's release before it runs."""

    def __init__(self, now: float, activate: Callable[[Release], None] = lambda _release: None) -> None:
        self.now = now
        self.current: Task | None = None
        self.steps = 0
        self.deaths: Counter[str] = Counter()
        """How many tasks of a name were killed."""

        self._activate = activate
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._tasks: dict[Task, Callable[[], None]] = {}
        self._is_closed = False
        self._back = threading.Lock()
        self._back.acquire()

    @property
    def tasks(self) -> int:
        """How many tasks aren't over."""
        return len(self._tasks)

    def clock(self) -> float:
        return self.now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), action))

    def start(
        self,
        name: str,
        body: Callable[[], None],
        release: Release,
        *,
        delay: float = 0.0,
        if_killed: Callable[[], None] = lambda: None,
    ) -> Task:
        """Let a task begin after some seconds. `if_killed` is called where it doesn't come to its end."""
        task = Task(name, body, self._back, release)
        self._tasks[task] = if_killed
        self.after(delay, lambda: self._resume(task))
        return task

    def sleep(self, seconds: float) -> None:
        """Called inside a task: let others go on, and return when the time has come."""
        task = self.current
        if task is None:
            raise RuntimeError("only a task can sleep")
        if not self._queue or self._queue[0][0] > self.now + seconds:
            self.now += seconds  # nobody else would run meanwhile
            return
        self.after(seconds, lambda: self._resume(task))
        task.pause()

    def kill(self, task: Task) -> None:
        """Let a task die where it waits."""
        task.is_doomed = True

    def kill_all(self, those: Callable[[Task], bool]) -> None:
        """Let tasks die where they wait."""
        for task in self._tasks:
            if those(task):
                self.kill(task)

    def run(self, is_done: Callable[[], bool]) -> None:
        """Go on until nothing is left to happen, or enough has."""
        while self._queue and not is_done():
            self.now, _, action = heapq.heappop(self._queue)
            self.steps += 1
            action()

    def close(self) -> None:
        """End all tasks, so that no thread is left."""
        self._is_closed = True
        for task in list(self._tasks):
            task.is_doomed = True
            while not task.is_over:
                self._resume(task)

    def _resume(self, task: Task) -> None:
        if task.is_over:
            return
        self.current = task
        self._activate(task.release)
        task.hand_over()
        self.current = None
        if not task.is_over:
            return
        if_killed = self._tasks.pop(task)
        if self._is_closed:
            return
        if task.error is not None:
            raise task.error
        if task.was_killed or task.is_doomed:
            self.deaths[task.name] += 1
            if_killed()
