"""`behest events`: what happened to a run."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final, NamedTuple

import typer
from msgspec import Raw
from msgspec.json import Decoder, encode
from msgspec.json import format as reformat
from rich.console import Console
from rich.text import Text

from behest_core.cli import aws
from behest_core.cli.arguments import AsJson, Run, Stack
from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import RunNotFoundError
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.limits import check_run_id
from behest_core.model.packing import RecordedEvent
from behest_core.model.state import RunStatus
from behest_core.terminal import STYLE_OF, clean, results, say, time_text, write_line

_PAUSE_SECONDS: Final = 1.0
_TIME_OF_DAY: Final = slice(11, 23)
_WIDE: Final = 100

_ENDS: Final = {
    "RunCompleted": RunStatus.COMPLETED,
    "RunFailed": RunStatus.FAILED,
    "RunCancelled": RunStatus.CANCELLED,
}
_read: Final = Decoder(dict[str, Raw]).decode
_read_text: Final = Decoder(str).decode


def list_events(
    run: Run,
    *,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only those after this sequence.")] = 0,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only events of this type; can be given again.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only events with this text in them, in any case.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Wait for more: until the run has ended and nothing comes after it, or Ctrl-C."
        ),
    ] = False,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """List a run's events, in order. On a terminal the pieces of a text are joined.

    With --follow a run that isn't there yet is waited for.
    """
    check_run_id(run)
    log = aws.connect(stack).event_log
    events: Iterable[RecordedEvent] = (
        follow_events(log, run, after) if follow else _existing(log, run, log.events(run, after))
    )
    if types or text is not None:
        events = _wanted(events, frozenset(types or ()), text)
    console = results()
    if as_json:
        _write_lines(map(_line, events), at_once=follow)
    elif console.is_terminal:
        rows = map(_row, events)
        for row in rows if follow else _joined(rows):
            _write_row(console, row)
    else:
        _write_lines((_plain(_row(event)).encode() for event in events), at_once=follow)


def _wanted(events: Iterable[RecordedEvent], types: frozenset[str], text: str | None) -> Iterator[RecordedEvent]:
    sought = None if text is None else text.casefold()
    for event in events:
        if types and _shown(event).type not in types:
            continue
        if sought is None or sought in event.raw.decode(errors="replace").casefold():
            yield event


def _write_lines(lines: Iterable[bytes], *, at_once: bool) -> None:
    """Write lines to standard output: each at once where somebody follows."""
    if at_once or results().is_terminal:
        for line in lines:
            write_line(line)
        return
    out = sys.stdout.buffer
    for line in lines:
        out.write(line + b"\n")
    out.flush()


def _existing(log: EventLog, run_id: str, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
    """Return the events; where there are none, raise RunNotFoundError unless there is a run all the same."""
    any_there = False
    for event in events:
        any_there = True
        yield event
    if not any_there and not log.head(run_id) and log.record(run_id) is None:
        raise RunNotFoundError(run_id)


def follow_events(
    log: EventLog, run_id: str, after: int, sleep: Callable[[float], None] = time.sleep
) -> Iterator[RecordedEvent]:
    """Return the events behind `after`, and each that is appended from then on. A run that isn't there yet is waited for.

    Ends when the last event is one that ends a run, and a second later still is.
    """
    if not log.head(run_id) and log.record(run_id) is None:
        say(f"run {run_id} isn't there yet; waiting for it, until Ctrl-C")
    has_ended = any(_ends(event) for event in log.events(run_id, after - 1, limit=1)) if after else False
    while True:
        before = after
        for event in log.events(run_id, after):
            after, has_ended = event.sequence, _ends(event)
            yield event
        if has_ended and after == before:
            return
        sleep(_PAUSE_SECONDS)


class _Shown(NamedTuple):
    type: str
    timestamp: str
    fields: dict[str, Raw]


def _shown(event: RecordedEvent) -> _Shown:
    try:
        fields = _read(event.raw)
        return _Shown(_read_text(fields.pop("type")), _read_text(fields.pop("timestamp")), fields)
    except (*DECODE_ERRORS, KeyError):
        return _Shown("(malformed)", event.committed_at, {"event": Raw(event.raw)})


def _ends(event: RecordedEvent) -> bool:
    return _shown(event).type in _ENDS


def _line(event: RecordedEvent) -> bytes:
    return encode(
        {
            "run_id": event.run_id,
            "sequence": event.sequence,
            "committed_at": event.committed_at,
            "event": Raw(reformat(event.raw, indent=-1)),
        }
    )


class _Row(NamedTuple):
    """An event as it is shown, or several that are pieces of one text."""

    sequence: int
    shown: _Shown


def _row(event: RecordedEvent) -> _Row:
    return _Row(event.sequence, _shown(event))


_PIECES: Final = {"TextDelta": "model_call_id", "ToolCallDelta": "call_id"}
"""Events that are pieces of a text, and the field that says of which."""


def _joined(rows: Iterable[_Row]) -> Iterator[_Row]:
    """Return the rows, with pieces of one text that follow each other as one row."""
    together: list[_Row] = []
    for row in rows:
        if together and not _go_together(together[-1].shown, row.shown):
            yield _as_one(together)
            together = []
        together.append(row)
    if together:
        yield _as_one(together)


def _as_one(rows: list[_Row]) -> _Row:
    if len(rows) == 1:
        return rows[0]
    shown = rows[0].shown
    text = "".join(_read_text(row.shown.fields["delta"]) for row in rows)
    return _Row(rows[-1].sequence, shown._replace(fields={**shown.fields, "delta": Raw(encode(text))}))


def _go_together(one: _Shown, other: _Shown) -> bool:
    if one.type != other.type or one.type not in _PIECES or one.fields.keys() != other.fields.keys():
        return False
    of = _PIECES[one.type]
    try:
        are_texts = all(isinstance(_read_text(each.fields["delta"]), str) for each in (one, other))
    except (*DECODE_ERRORS, KeyError):
        return False
    return are_texts and all(
        bytes(value) == bytes(other.fields[name]) for name, value in one.fields.items() if name == of
    )


def _plain(row: _Row) -> str:
    """Return a row for a pipe: on one line, whole."""
    shown = row.shown
    values = "".join(f"{clean(name)}={_value(value)} " for name, value in shown.fields.items())
    return f"{row.sequence:>5}  {time_text(shown.timestamp):<30}  {clean(shown.type):<25}  {values}".rstrip()


def _write_row(console: Console, row: _Row) -> None:
    shown = row.shown
    moment = time_text(shown.timestamp)
    text = Text.assemble(
        (f"{row.sequence:>5}  ", "dim"),
        f"{moment.removesuffix('Z')[_TIME_OF_DAY]:<12}  " if console.width < _WIDE else f"{moment:<30}  ",
        (f"{clean(shown.type):<25}  ", _style(shown.type)),
        *(part for name, value in shown.fields.items() for part in ((f"{clean(name)}=", "dim"), f"{_value(value)} ")),
    )
    text.rstrip()
    console.print(text, no_wrap=True, overflow="ellipsis")


def _value(raw: Raw) -> str:
    return clean(bytes(raw).decode(errors="replace"))


def _style(event_type: str) -> str:
    if event_type in _ENDS:
        return STYLE_OF[_ENDS[event_type]]
    return "cyan" if "." in event_type else "bold" if event_type in {"RunStarted", "ModelStarted"} else ""
