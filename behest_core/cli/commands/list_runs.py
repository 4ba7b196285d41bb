"""`behest runs`: which runs there are."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from behest_core.cli import aws
from behest_core.cli.arguments import AsJson, Stack, parse_status, parse_time
from behest_core.cli.commands.show_run import state_line
from behest_core.errors import MalformedStateError
from behest_core.model.state import CORE_FOLD, Parked, RunState, RunStatus
from behest_core.terminal import age_text, clean, results, say, second_text, status_text, write_line, write_result
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


def _status(state: RunState) -> Text:
    text = status_text(state.status)
    return Text.assemble(text, (" parked", "bold red")) if state.parks else text


_COLUMNS: Final = (
    _Column[RunState]("RUN", 0, False, lambda state: clean(state.run_id)),
    _Column[RunState]("STATUS", 0, False, _status),
    _Column[RunState]("MODEL", 80, False, lambda state: clean(state.model or "-")),
    _Column[RunState]("TOKENS", 66, True, lambda state: count_text(state.total_usage.total_tokens)),
    _Column[RunState]("EVENTS", 120, True, lambda state: count_text(state.event_count)),
    _Column[RunState]("CREATED (UTC)", 102, False, lambda state: second_text(state.created_at)),
    _Column[RunState]("UPDATED (UTC)", 140, False, lambda state: second_text(state.updated_at)),
    _Column[RunState]("SESSION", 180, False, lambda state: clean(state.session_id or "-")),
)


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
    *_COLUMNS[:2],
    _Column[RunState]("SILENT", 0, True, lambda state: age_text(state.updated_at or "", datetime.now(UTC))),
    *_COLUMNS[2:],
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
    stuck: Annotated[
        bool,
        typer.Option(
            "--stuck", help="Only runs that are stuck: active, not waiting for anybody, and without any sign of life."
        ),
    ] = False,
    silent_since: Annotated[
        str, typer.Option(metavar="TIME", parser=parse_time, help="Since when stuck runs show none: a time, or an age.")
    ] = "1h",
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most N; 0 for all.")] = 50,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """List runs, the newest first.

    A run whose state item can't be read is named, the others are listed, and the exit code is 1.
    """
    if parked and stuck:
        raise typer.BadParameter("a run that is parked is not stuck; choose --parked or --stuck")
    store, unreadable = aws.connect(stack), _Unreadable()
    if parked:
        found = _narrowed(store.parked_states(unreadable=unreadable), session, status, since)
    elif stuck:
        found = _narrowed(store.stuck_states(silent_since, unreadable=unreadable), session, status, since)
    else:
        most = limit + 1 if limit else None
        found = iter(store.states(session_id=session, status=status, since=since, limit=most, unreadable=unreadable))
    wanted = islice(found, limit or None)
    if as_json:
        for state in wanted:
            write_line(state_line(state))
    elif parked:
        parks = [_Park(state.run_id, *park) for state in wanted for park in state.parks.items()]
        _write_table(_PARKED_COLUMNS, parks, [park.run_id for park in parks])
    else:
        states = list(wanted)
        _write_table(_STUCK_COLUMNS if stuck else _COLUMNS, states, [state.run_id for state in states])
    if limit and next(found, None) is not None:
        say(f"there are more; --limit 0 shows all, --limit N more than {limit}")
    if unreadable.count:
        raise typer.Exit(1)


class _Unreadable:
    """Names the runs whose state item can't be read, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: MalformedStateError) -> None:
        self.count += 1
        say(str(error))


def _narrowed(
    states: Iterable[RunState], session: str | None, status: RunStatus | None, since: str | None
) -> Iterator[RunState]:
    for state in states:
        is_wanted = session in {None, state.session_id} and status in {None, state.status}
        if is_wanted and (since is None or (state.created_at or "") >= since):
            yield state


def _write_table(columns: tuple[_Column[_Row], ...], rows: list[_Row], run_ids: list[str]) -> None:
    if not rows:
        say("no such runs")
        return
    console = results()
    shown = [column for column in columns if console.width >= column.from_width]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in shown:
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=column.title != "RUN" or all(len(run_id) <= _ID for run_id in run_ids),
            overflow="fold" if column.title == "RUN" else "ellipsis",
        )
    for row in rows:
        table.add_row(*(column.text(row) for column in shown))
    write_result(console, table)
