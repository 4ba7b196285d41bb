"""`behest runs`: which runs there are."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from behest_core import wording
from behest_core.cli import aws
from behest_core.cli.arguments import AsJson, Stack, parse_span, parse_status, parse_time
from behest_core.cli.commands.show_run import state_line
from behest_core.cli.used_plugins import used_plugins
from behest_core.errors import MalformedStateError
from behest_core.model.state import CORE_FOLD, Parked, RunState, RunStatus
from behest_core.model.summary import Summary
from behest_core.model.timestamps import is_before
from behest_core.search import Where
from behest_core.store import RunStore
from behest_core.terminal import (
    age_text,
    clean,
    results,
    say,
    second_text,
    status_text,
    write_line,
    write_result,
)
from behest_core.wording import count_text

_ID: Final = 40
"""A run id of no more characters, a UUID for one, stays on one line, whatever else has to give way."""


_Row = TypeVar("_Row")


class _Column(NamedTuple, Generic[_Row]):
    """A column of a table, shown from a width of the terminal on."""

    title: str
    from_width: int
    is_number: bool
    text: Callable[[_Row], str | Text]


class _Listed(NamedTuple):
    """A row of the table of runs. `is_read_by_people`: times are ages, as nobody reckons with them."""

    state: RunState
    run: Summary
    now: datetime
    is_read_by_people: bool

    def time(self, moment: str | None) -> str:
        """Return a time: of the last days how long ago it was, else to the second."""
        if self.is_read_by_people and moment and not is_before(moment, self.now - _AGES):
            return wording.age_text(moment, self.now)
        return second_text(moment)


_AGES: Final = timedelta(days=7)


def _status(row: _Listed) -> Text:
    text = status_text(row.run.status)
    if row.state.parks:
        return Text.assemble(text, (" parked", "bold red"))
    return Text.assemble(text, (" waits", "bold cyan")) if row.run.waiting_since else text


def _error(row: _Listed) -> Text:
    return Text(clean(row.run.error or ""), style="red")


def _or_dash(value: int | None, text: Callable[[int], str]) -> str:
    return "-" if value is None else text(value)


_RUN: Final = _Column[_Listed]("RUN", 0, False, lambda row: clean(row.run.run_id))
_STATUS: Final = _Column[_Listed]("STATUS", 0, False, _status)
_REST: Final = (
    _Column[_Listed]("MODEL", 80, False, lambda row: clean(row.run.model or "-")),
    _Column[_Listed]("TOKENS", 66, True, lambda row: count_text(row.run.total_tokens)),
    _Column[_Listed]("COST", 94, True, lambda row: _or_dash(row.run.nano_usd, wording.usd_text)),
    _Column[_Listed]("DURATION", 86, True, lambda row: _or_dash(row.run.duration_ms, wording.duration_text)),
    _Column[_Listed]("EVENTS", 180, True, lambda row: count_text(row.run.events)),
    _Column[_Listed]("CREATED (UTC)", 62, False, lambda row: row.time(row.run.created_at)),
    _Column[_Listed]("UPDATED (UTC)", 200, False, lambda row: row.time(row.run.updated_at)),
    _Column[_Listed]("SESSION", 160, False, lambda row: clean(row.run.session_id or "-")),
    _Column[_Listed]("ERROR", 110, False, _error),
)
_COLUMNS: Final = (_RUN, _STATUS, *_REST)


class _Park(NamedTuple):
    """A row of the table of parked runs: the core's fold, or an extension's."""

    run_id: str
    name: str
    parked: Parked


def _reason(park: _Park) -> str:
    whose = "" if park.name == CORE_FOLD else f" ({park.name})"
    return clean(f"{park.parked.error} at {park.parked.sequence}{whose}")


_PARKED_COLUMNS: Final = (
    _Column[_Park]("RUN", 0, False, lambda park: clean(park.run_id)),
    _Column[_Park]("REASON", 0, False, _reason),
    _Column[_Park]("AGE", 0, True, lambda park: age_text(park.parked.parked_at, datetime.now(UTC))),
    _Column[_Park]("ATTEMPTS", 0, True, lambda park: count_text(park.parked.attempts)),
    _Column[_Park]("PARKED (UTC)", 102, False, lambda park: second_text(park.parked.parked_at)),
    _Column[_Park]("MESSAGE", 140, False, lambda park: clean(park.parked.message)),
)


_STUCK_COLUMNS: Final = (
    _RUN,
    _STATUS,
    _Column[_Listed]("SILENT", 0, True, lambda row: age_text(row.run.updated_at or "", row.now)),
    *_REST,
)


class Sort(StrEnum):
    """What runs are sorted by."""

    CREATED = "created"
    UPDATED = "updated"
    COST = "cost"
    TOKENS = "tokens"
    DURATION = "duration"


_SORTED_BY: Final[Mapping[Sort, Callable[[Summary], str | int]]] = {
    Sort.UPDATED: lambda run: run.updated_at or "",
    Sort.COST: lambda run: run.nano_usd or 0,
    Sort.TOKENS: lambda run: run.total_tokens,
    Sort.DURATION: lambda run: run.duration_ms or 0,
}


def list_runs(
    *,
    session: Annotated[str | None, typer.Option(metavar="SESSION", help="Only runs of this session.")] = None,
    status: Annotated[
        RunStatus | None,
        typer.Option(
            metavar="STATUS", parser=parse_status, help="Only runs of this status, such as Failed or CallingModel."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", parser=parse_time, help="Only runs created since: a time, a date, or an age such as 2h."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", parser=parse_time, help="Only runs created until then.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Only runs of this model.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of the agent of this name.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only runs with this tag.")] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only runs for this user.")] = None,
    error: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only runs whose error has this text in it.")
    ] = None,
    min_cost: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="Only runs that cost so much; needs a plugin such as cost."),
    ] = None,
    min_tokens: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only runs that used so many tokens.")
    ] = None,
    min_duration: Annotated[
        float | None,
        typer.Option(metavar="SPAN", parser=parse_span, help="Only runs that lasted so long: a time span such as 30s."),
    ] = None,
    parked: Annotated[
        bool, typer.Option("--parked", help="Only runs that are parked, the latest first: why, where and since when.")
    ] = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only runs that wait for a person, the one that has waited longest first.")
    ] = False,
    stuck: Annotated[
        bool,
        typer.Option(
            "--stuck", help="Only runs that are stuck: active, not waiting for anybody, and without any sign of life."
        ),
    ] = False,
    silent_since: Annotated[
        str, typer.Option(metavar="TIME", parser=parse_time, help="Since when stuck runs show none: a time, or an age.")
    ] = "1h",
    sort: Annotated[Sort, typer.Option(help="By what, the most first: then all that match are read.")] = Sort.CREATED,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most N; 0 for all.")] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Show the list anew every two seconds, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """List runs, the newest first.

    Filters are looked up in the states of the runs that the session, the status and the times leave. A run whose state item
    can't be read is named, the others are listed, and the exit code is 1.
    """
    if parked and stuck:
        raise typer.BadParameter("a run that is parked is not stuck; choose --parked or --stuck")
    if watch and (as_json or not results().is_terminal):
        raise typer.BadParameter("--watch needs a terminal, and a table")
    where = Where(
        status=status,
        session_id=session,
        model=model,
        agent=agent,
        tag=tag,
        user=user,
        since=since,
        until=until,
        error=error,
        is_waiting=waiting,
        min_nano_usd=None if min_cost is None else round(min_cost * _NANO),
        min_tokens=min_tokens,
        min_duration=min_duration,
    )
    listing = _Listing(aws.connect(stack), where, silent_since if stuck else None, is_parked=parked, sort=sort)
    if watch:
        _watch(listing, limit)
        return
    rows, has_more = listing.read(limit)
    if as_json:
        for row in rows:
            write_line(state_line(row.state))
    else:
        _write(listing, rows)
    if has_more:
        say(f"there are more; --limit 0 shows all, --limit N more than {limit}")
    if listing.unreadable:
        raise typer.Exit(1)


_NANO: Final = 10**9
_WATCH_SECONDS: Final = 2.0


class _Listing:
    """Which runs are listed. `unreadable` counts those whose state item can't be read; they are named."""

    def __init__(
        self, store: RunStore, where: Where, silent_since: str | None, *, is_parked: bool, sort: Sort = Sort.CREATED
    ) -> None:
        self.is_parked = is_parked
        self.is_stuck = silent_since is not None
        self.unreadable = 0
        self._store, self._where, self._silent_since, self._sort = store, where, silent_since, sort
        self._summary = used_plugins().summary

    def read(self, limit: int) -> tuple[list[_Listed], bool]:
        """Return the rows, at most so many where that isn't 0, and whether there are more."""
        now, for_people = datetime.now(UTC), results().is_terminal
        rows = (_Listed(state, self._summary(state), now, for_people) for state in self._candidates(limit))
        found: Iterator[_Listed] = (
            row for row in rows if self._where.matches(row.run, now) and self._is_in_time(row.run)
        )
        key = _SORTED_BY.get(self._sort)
        if key is not None:
            found = iter(sorted(found, key=lambda row: key(row.run), reverse=True))
        shown = list(islice(found, limit or None))
        return shown, bool(limit) and next(found, None) is not None

    def _candidates(self, limit: int) -> Iterator[RunState]:
        where = self._where
        if self.is_parked:
            return iter(self._store.parked_states(unreadable=self._note))
        if where.is_waiting:
            return iter(self._store.waiting_states(unreadable=self._note))
        if self._silent_since is not None:
            return iter(self._store.stuck_states(self._silent_since, unreadable=self._note))
        return self._store.state_table.find(
            session_id=where.session_id,
            status=where.status,
            since=where.since,
            until=where.until,
            page_size=min(limit + 1, _PAGE) if limit else _PAGE,
            unreadable=self._note,
        )

    def _is_in_time(self, run: Summary) -> bool:
        created = run.created_at or ""
        return (self._where.since is None or created >= self._where.since) and (
            self._where.until is None or created <= self._where.until
        )

    def _note(self, error: MalformedStateError) -> None:
        self.unreadable += 1
        say(str(error))


_PAGE: Final = 100


def _write(listing: _Listing, rows: list[_Listed]) -> None:
    if not rows:
        say("no such runs")
        return
    console = results()
    write_result(console, _table_of(listing, rows, console.width))


def _table_of(listing: _Listing, rows: list[_Listed], width: int) -> Table:
    if listing.is_parked:
        parks = [_Park(row.run.run_id, *park) for row in rows for park in row.state.parks.items()]
        return _table(_PARKED_COLUMNS, parks, [park.run_id for park in parks], width)
    columns = _STUCK_COLUMNS if listing.is_stuck else _COLUMNS
    has = {"COST": any(row.run.nano_usd is not None for row in rows), "ERROR": any(row.run.error for row in rows)}
    shown = tuple(column for column in columns if has.get(column.title, True))
    return _table(shown, rows, [row.run.run_id for row in rows], width)


def _watch(listing: _Listing, limit: int) -> None:
    """Show the list anew and anew, as much of it as the terminal has room for."""
    console = results()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            rows, _ = listing.read(limit)
            room = max(console.height - 2, 1)
            shown = _table_of(listing, rows[:room], console.width) if rows else Text("no such runs", style="dim")
            live.update(shown, refresh=True)
            time.sleep(_WATCH_SECONDS)


def _table(columns: tuple[_Column[_Row], ...], rows: list[_Row], run_ids: list[str], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        if width < column.from_width:
            continue
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=column.title != "RUN" or all(len(run_id) <= _ID for run_id in run_ids),
            overflow="fold" if column.title == "RUN" else "ellipsis",
        )
    shown = [column for column in columns if width >= column.from_width]
    for row in rows:
        table.add_row(*(column.text(row) for column in shown))
    return table
