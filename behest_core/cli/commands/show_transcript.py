"""`behest transcript`: a run, or a session, as a conversation."""

from collections.abc import Iterator
from typing import Annotated, Final

import typer
from msgspec.json import encode
from rich.console import Console
from rich.text import Text

from behest_core.cli import aws
from behest_core.cli.arguments import AsJson, CommandError, Stack
from behest_core.cli.commands.list_events import follow_events
from behest_core.model.events import TextDelta, ToolCallDelta
from behest_core.model.limits import check_run_id
from behest_core.plugins.loading import allowed_by_environment, load
from behest_core.store import RunStore
from behest_core.terminal import clean, results, write_line
from behest_core.transcript.entries import Transcript
from behest_core.transcript.lines import Line, lines
from behest_core.transcript.reading import Price, TranscriptReader

_NAME_WIDTH: Final = 11
_STYLES: Final = {"said": "", "told": "cyan", "about": "dim", "failed": "red"}


def show_transcript(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Run id; or --session.", show_default=False)
    ] = None,
    *,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="All runs of a session, one after the other.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Write what is said as it is said, until the run has ended, or Ctrl-C."),
    ] = False,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """Show a run as a conversation: who said what, which tools were used, and what they gave.

    Calls have their costs where BEHEST_PLUGINS allows a plugin that knows prices, such as behest-cost.
    """
    if (run is None) == (session is None):
        raise typer.BadParameter("give a run id, or --session and a session's id")
    if follow and (as_json or run is None):
        raise typer.BadParameter("--follow shows one run, and not as JSON")
    store = aws.connect(stack)
    plugins = load(allowed_by_environment())
    price = plugins.price if any(plugin.prices for plugin in plugins.used) else None
    if follow and run is not None:
        _follow(store, check_run_id(run), price)
        return
    for number, transcript in enumerate(_transcripts(store, run, session, price)):
        if as_json:
            write_line(encode(transcript))
        else:
            _write(results(), lines(transcript), is_first=number == 0)


def _transcripts(store: RunStore, run: str | None, session: str | None, price: Price | None) -> Iterator[Transcript]:
    if run is not None:
        yield store.transcript(check_run_id(run), price=price)
        return
    states = sorted(store.states(session_id=session), key=lambda state: state.created_at or "")
    if not states:
        raise CommandError(f"session {session} has no run, or none that is folded yet; behest runs lists all")
    for state in states:
        yield store.transcript(state.run_id, price=price)


def _write(console: Console, written: Iterator[Line], *, is_first: bool) -> None:
    if not is_first:
        console.print()
    for line in written:
        _write_line(console, line)


def _write_line(console: Console, line: Line) -> None:
    text = Text.assemble(
        "  " * line.depth, (f"{clean(line.name):<{_NAME_WIDTH}}", "bold"), (clean(line.text), _STYLES[line.tone])
    )
    text.rstrip()
    console.print(text, soft_wrap=True)


def _follow(store: RunStore, run_id: str, price: Price | None) -> None:
    """Write the lines of a run as far as they are known, and more as its log grows."""
    console, written = results(), 0
    reader = TranscriptReader(run_id, store.event_log.record(run_id), price)
    for event in follow_events(store.event_log, run_id, 0):
        decoded = event.event
        reader.add(decoded, event.sequence)
        if isinstance(decoded, TextDelta | ToolCallDelta):
            continue  # with it nothing is over
        for place, line in enumerate(lines(reader.transcript)):
            if place >= written:
                _write_line(console, line)
                written += 1
