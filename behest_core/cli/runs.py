"""Many runs: which ones a command is about, and working on them side by side.

All runs are those of the event table's index of first items and those that have a state item, so one whose state is missing is
among them, and one whose log is.

Work is done on several threads, and its results come in the order in which it was given. Whoever leaves early, by Ctrl-C or an
error, waits for what is being worked on and for nothing else. Work that takes long asks `remaining` how long it still has, and
stops.

One run's trouble is its own: it is told, and the others go on. Where one after the other fails, it isn't the runs: the
credentials have expired, say, and a million runs more would change nothing. `InARow` notices.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from math import inf
from threading import Event
from typing import TYPE_CHECKING, Final, Self, TypeVar

from behest_core.cli.aws import WORKERS, explain
from behest_core.errors import BehestError, ConfigurationError
from behest_core.model.timestamps import to_datetime
from behest_core.terminal import say
from behest_core.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from types import TracebackType

    from behest_core.cli.progress import RunsBar
    from behest_core.dynamodb.event_table import EventLog
    from behest_core.store import RunStore

_LATELY: Final = timedelta(days=30)
"""So far back a query for each hour reads less than all of the index."""

_STEP: Final = timedelta(hours=12)

FAILURES_IN_A_ROW: Final = 20

Item = TypeVar("Item")
Result = TypeVar("Result")

# ---------------------------------------------------------------- which runs


def wanted_runs(store: RunStore, named: list[str], since: str | None, bar: RunsBar) -> list[str]:
    """Return the runs that are named; where none is, all. Raises what is wrong with the tables, once and not run by run."""
    if not named:
        return every_run(store, since, bar)
    store.state_table.get_many(named, repair=True)
    return named


def every_run(store: RunStore, since: str | None, bar: RunsBar) -> list[str]:
    """List all runs, in the order of their ids; with `since` those created, or first written, since then."""
    if since is None:
        found = chain(store.event_log.run_ids(), store.state_table.run_ids())
    else:
        found = chain(
            _started(store.event_log, to_datetime(since), datetime.now(UTC)), store.state_table.run_ids(since=since)
        )
    return sorted(set(bar.look(found)))


def _started(log: EventLog, since: datetime, now: datetime) -> Iterator[str]:
    """Find the runs whose first item was committed since; the time is looked through in parts, side by side."""
    if now - since > _LATELY:
        yield from log.run_ids(since)
        return
    begins = [since + number * _STEP for number in range(max(-((since - now) // _STEP), 0))]
    with SideBySide() as side:
        for _, result in side.map(lambda begin: list(log.started(begin, min(begin + _STEP, now))), begins):
            yield from result()


# ---------------------------------------------------------------- many at once


class SideBySide:
    """As many threads as the client has connections, while the context lasts.

    `ahead` is how many items may be begun or done behind one that takes long: fewer where results are large.
    """

    def __init__(self, ahead: int = 16 * WORKERS) -> None:
        self._pool = ThreadPoolExecutor(WORKERS)
        self._ahead = ahead
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

    def map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        name: Callable[[Item], Hashable] = id,
    ) -> Iterator[tuple[Item, Callable[[], Result]]]:
        """Work on the items; yield each with what returns its result, or raises what the work raised.

        Of items of one name no two are worked on at once. Where the next item can't be had, that is raised when all before it
        are done.
        """
        begun: OrderedDict[Hashable, tuple[Item, Future[Result]]] = OrderedDict()
        missing: Exception | None = None
        try:
            for item in items:
                while len(begun) >= self._ahead or name(item) in begun:
                    yield _first(begun)
                begun[name(item)] = item, self._pool.submit(work, item)
        except Exception as error:  # noqa: BLE001 (raised again when all before it are done)
            missing = error
        while begun:
            yield _first(begun)
        if missing is not None:
            raise missing


def _first(begun: OrderedDict[Hashable, tuple[Item, Future[Result]]]) -> tuple[Item, Callable[[], Result]]:
    _, (item, future) = begun.popitem(last=False)
    return item, future.result


# ---------------------------------------------------------------- one run's trouble


class InARow:
    """Counts failures that follow each other without a success between them."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, *, is_failure: bool) -> bool:
        """Count a run, and return whether it is time to give up."""
        self._count = self._count + 1 if is_failure else 0
        return self._count >= FAILURES_IN_A_ROW


class Boundary:
    """Keeps one run's error from the others: it is told, and counted. `done` is what the command does with a run: ``checked``.

    What is wrong with all runs is raised: tables that aren't there, and AWS's refusal of one run after the other.
    """

    def __init__(self, done: str, bar: RunsBar) -> None:
        self.failures = 0
        self._done = done
        self._bar = bar
        self._in_a_row = InARow()

    def results(self, begun: Iterable[tuple[str, Callable[[], Result]]]) -> Iterator[tuple[str, Result]]:
        """Yield the results of the runs that have one, in order."""
        for run_id, result in begun:
            try:
                found = result()
            except ConfigurationError:
                raise
            except Exception as error:
                self.failures += 1
                say(told(run_id, self._done, error), self._bar.messages)
                if self._in_a_row.add(is_failure=not isinstance(error, BehestError)):
                    raise
            else:
                self._in_a_row.add(is_failure=False)
                yield run_id, found
            self._bar.done(run_id)


def told(run_id: str, done: str, error: Exception) -> str:
    """Return the line for an error that one run met."""
    if isinstance(error, BehestError):
        return str(error)
    reason = explain(error) or f"{type(error).__name__}: {error}"
    return f"run {run_id} could not be {done} now: {reason}"


@contextmanager
def told_where_cut_short(bar: RunsBar, go_on: Callable[[int], str | None]) -> Iterator[None]:
    """Where the context is left by an error, Ctrl-C or SIGTERM, say how many runs are done, and what to type to go on.

    `go_on` returns that, given how many of the runs are done.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except BaseException:
        command = go_on(bar.count)
        far = f"cut short with {count_text(bar.count)} of {count_text(bar.total)} runs done"
        say(f"{far}; to go on: {command}" if command else far, bar.messages)
        raise
