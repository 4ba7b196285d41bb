"""`behest export`: runs from the event table as JSON lines.

All runs are those of both tables: one that was created within the last moments may be missing. Several are read at once, and
written in the order of their ids.
"""

from typing import Final

import typer

from behest_core.cli import aws
from behest_core.cli.arguments import Runs, Stack, named_runs
from behest_core.cli.aws import WORKERS
from behest_core.cli.progress import RunsBar, runs_bar
from behest_core.cli.runs import Boundary, SideBySide, every_run, told_where_cut_short
from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import RunDeletedError, RunNotFoundError
from behest_core.interchange import write_run

_AHEAD: Final = 2 * WORKERS
"""How many runs are read behind one that takes long: each is held in memory whole."""


def export_runs(runs: Runs = None, *, stack: Stack = None) -> None:
    """Write runs as JSON lines, which `behest import` and the Rust crate behest read.

    A run without record has null for it. A run that can't be exported is named, the others are, and the exit code is 1.
    """
    named = named_runs(runs)
    store = aws.connect(stack)
    with runs_bar() as bar:
        wanted = named or every_run(store, None, bar)
        bar.begin("exporting", len(wanted))
        with told_where_cut_short(bar, lambda _: None):
            failures = _export(store.event_log, wanted, bar, are_named=bool(named))
    if failures:
        raise typer.Exit(1)


def _export(log: EventLog, run_ids: list[str], bar: RunsBar, *, are_named: bool) -> int:
    """Write the runs, and return how many could not be. Of runs that were not named, deleted ones are passed over."""

    def export(run_id: str) -> bytes | None:
        try:
            return export_run(log, run_id)
        except RunDeletedError:
            if are_named:
                raise
            return None

    boundary = Boundary("exported", bar)
    with SideBySide(_AHEAD) as side:
        for _, line in boundary.results(side.map(export, run_ids)):
            if line is not None:
                bar.write_line(line)
    return boundary.failures


def export_run(log: EventLog, run_id: str) -> bytes:
    """Return a run's line.

    Raises RunNotFoundError; IncompleteLogError where events have expired: the line would be of another run; and MalformedError
    where the log holds what no line can.
    """
    record, events = log.whole(run_id)
    found = list(events)
    if record is None and not found:
        log.head(run_id)  # raises RunDeletedError where that is why
        raise RunNotFoundError(run_id)
    return write_run(record, found)
