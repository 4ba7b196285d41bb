"""Which runs a command is about: those that are named, or all there are.

All are the runs of the event table's index of first items and those that have a state item, so one whose state is missing is
among them, and one whose log is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from behest_core.cli.given import parse_time
from behest_core.cli.side_by_side import SideBySide
from behest_core.model.limits import check_run_id
from behest_core.model.timestamps import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.cli.runs_bar import RunsBar
    from behest_core.dynamodb.event_table import EventLog
    from behest_core.store import RunStore

_LATELY: Final = timedelta(days=30)
"""So far back a query for each hour reads less than all of the index."""

_STEP: Final = timedelta(hours=12)

Runs: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", help="Their ids; without any, all runs.", show_default=False),
]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        parser=parse_time,
        help="Of all runs those created, or first written, since: a time, a date, or an age such as 2h.",
    ),
]


def named_runs(runs: list[str] | None, **of_all: object) -> list[str]:
    """Check the run ids of the command line, and give each once. `of_all` are options that narrow down all runs.

    Raises InvalidRunIdError, and typer.BadParameter where runs are named and all runs narrowed down.
    """
    for option, value in of_all.items():
        if runs and value is not None:
            raise typer.BadParameter(f"--{option} narrows down all runs: leave it out, or the run ids")
    return [check_run_id(run_id) for run_id in dict.fromkeys(runs or ())]


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
        parts = {begin.isoformat(): begin for begin in begins}
        for _, result in side.map(lambda part: _part(log, parts[part], now), parts):
            yield from result()


def _part(log: EventLog, begin: datetime, now: datetime) -> Iterable[str]:
    return list(log.started(begin, min(begin + _STEP, now)))
