"""`behest export`: runs from the event table as JSON lines.

All runs are those that the state table's index knows: a run that was created within the last moments may be missing. Several are
read at once, and written in order.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated

import typer

from behest_core.cli.connection import WORKERS, connect
from behest_core.cli.lines import progress_bar
from behest_core.cli.options import Stack
from behest_core.cli.whole_log import record_and_events
from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import IncompleteLogError, MalformedError, RunNotFoundError
from behest_core.interchange import write_run
from behest_core.model.limits import check_run_id
from behest_core.terminal import say, write_line


def export_runs(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Their ids; without any, all runs.", show_default=False),
    ] = None,
    *,
    stack: Stack = None,
) -> None:
    """Write runs as JSON lines, which `behest import` and the seed read.

    A run without record has null for it. A run that can't be exported is named, the others are, and the exit code is 1.
    """
    run_ids = [check_run_id(run_id) for run_id in runs or ()]
    store = connect(stack)
    failed = False
    with progress_bar(None, results_too=True) as bar:
        for exporting in _side_by_side(store.event_log, run_ids or (state.run_id for state in store.states())):
            try:
                line, events = exporting.result()
            except (IncompleteLogError, MalformedError, RunNotFoundError) as error:
                say(str(error), bar.console)
                failed = True
            else:
                write_line(line)
                bar.advance(events)
    if failed:
        raise typer.Exit(1)


def _side_by_side(log: EventLog, run_ids: Iterable[str]) -> Iterator[Future[tuple[bytes, int]]]:
    """Export runs on several threads; give them in order."""
    pool = ThreadPoolExecutor(WORKERS)
    begun: deque[Future[tuple[bytes, int]]] = deque()
    try:
        for run_id in run_ids:
            if len(begun) >= 2 * WORKERS:
                yield begun.popleft()
            begun.append(pool.submit(export_run, log, run_id))
        yield from begun
    finally:
        pool.shutdown(cancel_futures=True)


def export_run(log: EventLog, run_id: str) -> tuple[bytes, int]:
    """Return a run's line, and how many events are in it.

    Raises RunNotFoundError; IncompleteLogError where events have expired: the line would be of another run; and MalformedError
    where the log holds what no line can.
    """
    record, events = record_and_events(log, run_id)
    found = list(events)
    if record is None and not found:
        raise RunNotFoundError(run_id)
    return write_run(record, found), len(found)
