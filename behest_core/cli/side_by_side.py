"""Works on many runs at once: on several threads, results in the order in which the runs were given.

Whoever leaves early, by Ctrl-C or an error, waits for the runs that are being worked on and for no other. Work that takes long
asks `remaining` how long it still has, and stops.

One run that can't be worked on now is told, and left. Where one after the other can't, it isn't the runs: the credentials have
expired, say, and a million runs more would change nothing. `InARow` notices.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from threading import Event
from typing import TYPE_CHECKING, Final, Self, TypeVar

from behest_core.cli.connection import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

_AHEAD: Final = 16 * WORKERS
"""How many runs may be begun or done behind one that takes long."""

FAILURES_IN_A_ROW: Final = 20

Result = TypeVar("Result")


class SideBySide:
    """As many threads as the client has connections, while the context lasts."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS)
        self._is_over = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._pool.shutdown(cancel_futures=True)

    def remaining(self) -> float:
        """Return the seconds that work still has: no end of them, and none once the context is left."""
        return 0.0 if self._is_over.is_set() else inf

    def map(self, work: Callable[[str], Result], run_ids: Iterable[str]) -> Iterator[tuple[str, Callable[[], Result]]]:
        """Work on the runs; give each with what gives its result, or raises what the work raised."""
        begun: deque[tuple[str, Future[Result]]] = deque()
        for run_id in run_ids:
            if len(begun) >= _AHEAD:
                first, future = begun.popleft()
                yield first, future.result
            begun.append((run_id, self._pool.submit(work, run_id)))
        while begun:
            first, future = begun.popleft()
            yield first, future.result


class InARow:
    """Counts failures that follow each other without a success between them."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, *, is_failure: bool) -> bool:
        """Count a run, and say whether it is time to give up."""
        self._count = self._count + 1 if is_failure else 0
        return self._count >= FAILURES_IN_A_ROW
