"""`behest show`: one run's state, now or as it was."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from msgspec import UNSET
from msgspec.json import encode
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from behest_core.cli import aws
from behest_core.cli.arguments import AsJson, CommandError, Run, Stack, parse_time
from behest_core.cli.run_sections import write_sections
from behest_core.cli.used_plugins import dispatch_of_plugins, used_plugins
from behest_core.errors import RunNotFoundError
from behest_core.model.limits import check_run_id
from behest_core.model.state import (
    CORE_FOLD,
    Attempt,
    Parked,
    RunState,
    TokenUsage,
    UnknownFinishReason,
)
from behest_core.model.summary import Summary, milliseconds_between
from behest_core.store import RunStore
from behest_core.terminal import (
    STYLE_OF,
    UNDER_WAY,
    clean,
    json_text,
    results,
    second_text,
    status_text,
    time_text,
    write_line,
    write_result,
)
from behest_core.web.tree import parent_of
from behest_core.wording import amount, count_text, duration_text, usd_text


def show_run(
    run: Run,
    *,
    at_sequence: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Fold its log up to this sequence; 0 is its record alone.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            parser=parse_time,
            help="Fold its log up to the first event after a time, a date, or an age such as 2h.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write the run as one HTML file that stands by itself.", dir_okay=False
        ),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="With --html: leave out what was said, as content=False does.")
    ] = False,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """Show a run's state, or what it was; or write all of the run as a page."""
    check_run_id(run)
    if at_sequence is not None and at is not None:
        raise typer.BadParameter("--at-sequence and --at exclude each other")
    if html is not None and (at_sequence is not None or at is not None or as_json):
        raise typer.BadParameter("--html writes the whole run: without --at, --at-sequence and --json")
    if redact and html is None:
        raise typer.BadParameter("--redact goes with --html")
    store = aws.connect(stack)
    if html is not None:
        _write_html(store, run, html, redact=redact)
        return
    if at_sequence is not None:
        state = store.state_at(run, sequence=at_sequence, dispatch=dispatch_of_plugins())
    elif at is not None:
        state = store.state_at(run, time=at, dispatch=dispatch_of_plugins())
    else:
        state = _current(store, run)
    if as_json:
        write_line(state_line(state))
    else:
        _write_for_people(store, state)


def _current(store: RunStore, run_id: str) -> RunState:
    try:
        return store.get_state(run_id)
    except RunNotFoundError as error:
        head = store.event_log.head(run_id)
        if not head and store.event_log.record(run_id) is None:
            raise
        raise CommandError(
            f"run {run_id} has no state yet, and a log up to sequence {head}; is the projector running? "
            f"`behest show {run_id} --at-sequence {head}` folds the log"
        ) from error


def _write_html(store: RunStore, run: str, file: Path, *, redact: bool) -> None:
    try:
        from behest_core.web.document import document, redacted_document  # noqa: PLC0415 (needs the extra `web`)
    except ModuleNotFoundError as missing:
        raise CommandError(f'--html needs {missing.name}: pip install "behest-core[web]"') from missing
    plugins, now = used_plugins(), datetime.now(UTC)
    if redact:
        page = redacted_document(run, lambda: store.event_log.whole_commits(run), plugins, now)
    else:
        page = document(store.get_state(run), store.event_log.whole_commits(run), plugins, now)
    try:
        file.write_text(page)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error


def state_line(state: RunState) -> bytes:
    """Return all fields of a state as JSON; null where absent."""
    return encode(state)


def _write_for_people(store: RunStore, state: RunState) -> None:
    """Write a state, in a panel on a terminal, and below it what else there is to say of the run."""
    plugins, console = used_plugins(), results()
    summary = plugins.summary(state)
    _write_state(state, summary, console)
    write_sections(store, plugins, state, summary, console)


def _write_state(state: RunState, summary: Summary, console: Console) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _rows(state, summary):
        grid.add_row(name, value)
    if not console.is_terminal:
        write_result(console, grid)
        return
    style = "red" if state.parks else STYLE_OF.get(state.status, UNDER_WAY)
    title = Text(f"run {clean(state.run_id)}")
    console.print(Panel(grid, title=title, title_align="left", border_style=style, padding=(0, 1)))


def _rows(state: RunState, summary: Summary) -> Iterator[tuple[str, str | Text]]:
    yield "run", clean(state.run_id)
    yield "status", _status(state)
    if state.last_error is not None:
        yield "error", Text(clean(state.last_error), style="red")
    for name, parked in state.parks.items():
        yield "parked" if name == CORE_FOLD else f"parked {clean(name)}", _parked(parked)
        yield from _attempts(parked)
    yield "model", clean(f"{state.provider or '-'} {state.model or '-'}")
    yield "iterations", count_text(state.iteration)
    yield "tokens", _tokens(state.total_usage)
    if summary.nano_usd is not None:
        yield "cost", _cost(summary)
    yield "events", f"{count_text(state.event_count)}, folded up to sequence {state.sequence}"
    yield "created", time_text(state.created_at)
    yield "updated", time_text(state.updated_at)
    yield from _duration(state)
    yield "session", clean(state.session_id or "-")
    if state.metadata is not None:
        yield "metadata", json_text(state.metadata)
    parent = parent_of(summary)
    if parent is not None:
        yield "parent", clean(parent)
    for name, extension in state.extensions.items():
        if extension.parked is None and extension.sequence != state.sequence:
            yield (
                "behind",
                f"{clean(name)} is folded up to sequence {extension.sequence}; the run's next event brings the rest",
            )


def _duration(state: RunState) -> Iterator[tuple[str, str]]:
    took = milliseconds_between(state.created_at, state.updated_at)
    if took is not None:
        yield "duration", duration_text(took) if state.status.is_terminal else f"{duration_text(took)} so far"


def _cost(summary: Summary) -> str:
    unpriced = summary.fields.get("unpriced_calls")
    cost = usd_text(summary.nano_usd or 0)
    return f"{cost}, and {amount(unpriced, 'call')} without a price" if unpriced and isinstance(unpriced, int) else cost


def _status(state: RunState) -> Text:
    finish = state.last_finish
    if finish is None:
        return status_text(state.status)
    reason = finish.unknown if isinstance(finish, UnknownFinishReason) else finish
    return Text.assemble(status_text(state.status), (f"  last finish: {clean(reason)}", "dim"))


def _parked(parked: Parked) -> Text:
    where = f"at sequence {parked.sequence}, by {parked.error}: {clean(parked.message)}"
    when = f" ({time_text(parked.parked_at)})" if parked.parked_at else ""
    return Text(f"{where}{when}. What follows in the log is not folded.", style="bold red")


def _attempts(parked: Parked) -> Iterator[tuple[str, Text]]:
    """Return the attempts that are kept, if there was more than one; the latest is what `parked` says."""
    kept: list[Attempt | Parked] = [*parked.earlier, parked] if parked.attempts > 1 else []
    for number, attempt in enumerate(kept, start=parked.attempts + 1 - len(kept)):
        when, by = f"{second_text(attempt.at)}  ", f" (version {attempt.version})"
        what = f"at sequence {attempt.sequence}, by {attempt.error}: {clean(attempt.message)}"
        yield f"attempt {number}", Text.assemble((when, "dim"), what, (by, "dim"))


def _tokens(usage: TokenUsage) -> str:
    parts = [f"{count_text(usage.input_tokens)} in", f"{count_text(usage.output_tokens)} out"]
    cached = {
        "written to the cache": usage.cache_creation_input_tokens,
        "read from the cache": usage.cache_read_input_tokens,
        "cached": usage.cached_input_tokens,
    }
    parts += [f"{count_text(count)} {what}" for what, count in cached.items() if count is not UNSET and count]
    return f"{count_text(usage.total_tokens)} ({', '.join(parts)})"
