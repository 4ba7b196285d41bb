"""`behest runs`: which runs there are."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Final, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from behest_core.cli.connection import connect
from behest_core.cli.given import parse_status, parse_time
from behest_core.cli.options import AsJson, Stack
from behest_core.cli.show_run import state_line
from behest_core.cli.terminal import (
    age_text,
    clean,
    count_text,
    results,
    say,
    second_text,
    status_text,
    write_line,
    write_result,
)
from behest_core.state import Parked, RunState, RunStatus
from behest_core.store import RunStore

_ID: Final = 40
"""A run id of no more characters, a UUID for one, stays on one line, whatever else has to give way."""


class _Column(NamedTuple):
    """A column of the table, shown from a width of the terminal on."""

    title: str
    from_width: int
    is_number: bool
    text: Callable[[RunState], str | Text]


def _status(state: RunState) -> Text:
    text = status_text(state.status)
    return Text.assemble(text, (" parked", "bold red")) if state.parked is not None else text


_COLUMNS: Final = (
    _Column("RUN", 0, False, lambda state: clean(state.run_id)),
    _Column("STATUS", 0, False, _status),
    _Column("MODEL", 80, False, lambda state: clean(state.model or "-")),
    _Column("TOKENS", 66, True, lambda state: count_text(state.total_usage.total_tokens)),
    _Column("EVENTS", 120, True, lambda state: count_text(state.event_count)),
    _Column("CREATED (UTC)", 102, False, lambda state: second_text(state.created_at)),
    _Column("UPDATED (UTC)", 140, False, lambda state: second_text(state.updated_at)),
    _Column("SESSION", 180, False, lambda state: clean(state.session_id or "-")),
)


def _of_parked(text: Callable[[Parked], str]) -> Callable[[RunState], str]:
    return lambda state: text(state.parked) if state.parked is not None else "-"


_PARKED_COLUMNS: Final = (
    _COLUMNS[0],
    _Column("REASON", 0, False, _of_parked(lambda parked: clean(f"{parked.error} at {parked.sequence}"))),
    _Column("AGE", 0, True, _of_parked(lambda parked: age_text(parked.parked_at, datetime.now(UTC)))),
    _Column("ATTEMPTS", 0, True, _of_parked(lambda parked: count_text(parked.attempts))),
    _Column("PARKED (UTC)", 102, False, _of_parked(lambda parked: second_text(parked.parked_at))),
    _Column("MESSAGE", 140, False, _of_parked(lambda parked: clean(parked.message))),
)


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
    parked: Annotated[
        bool, typer.Option("--parked", help="Only runs that are parked, the latest first: why, where and since when.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most so many; 0 for all.")] = 50,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """List runs, the newest first."""
    store = connect(stack)
    if parked:
        found = _parked_runs(store, session, status, since)
    else:
        found = store.runs(session_id=session, status=status, since=since, limit=limit + 1 if limit else None)
    wanted = islice(found, limit or None)
    if as_json:
        for state in wanted:
            write_line(state_line(state))
    else:
        _write_table(list(wanted), _PARKED_COLUMNS if parked else _COLUMNS)
    if limit and next(found, None) is not None:
        say(f"there are more; --limit 0 shows all, --limit N more than {limit}")


def _parked_runs(
    store: RunStore, session: str | None, status: RunStatus | None, since: str | None
) -> Iterator[RunState]:
    for state in store.parked_runs():
        is_wanted = session in {None, state.session_id} and status in {None, state.status}
        if is_wanted and (since is None or (state.created_at or "") >= since):
            yield state


def _write_table(states: list[RunState], columns: tuple[_Column, ...]) -> None:
    if not states:
        say("no such runs")
        return
    console = results()
    shown = [column for column in columns if console.width >= column.from_width]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in shown:
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=column.title != "RUN" or all(len(state.run_id) <= _ID for state in states),
            overflow="fold" if column.title == "RUN" else "ellipsis",
        )
    for state in states:
        table.add_row(*(column.text(state) for column in shown))
    write_result(console, table)
