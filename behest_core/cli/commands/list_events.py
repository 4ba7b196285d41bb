"""`behest events`: what happened to a run."""

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
from behest_core.terminal import STYLE_OF, clean, results, time_text, write_line

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
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Wait for more: until the run has ended and nothing comes after it, or Ctrl-C."
        ),
    ] = False,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """List a run's events, in order."""
    check_run_id(run)
    log = aws.connect(stack).event_log
    events = follow_events(log, run, after) if follow else log.events(run, after)
    console = results()
    for event in _existing(log, run, events):
        if as_json:
            write_line(_line(event))
        else:
            _write_row(console, event)


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
    """Return the events behind `after`, and each that is appended from then on.

    Ends when the last event is one that ends a run, and a second later still is. Raises RunNotFoundError.
    """
    if not log.head(run_id) and log.record(run_id) is None:
        raise RunNotFoundError(run_id)
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


def _write_row(console: Console, event: RecordedEvent) -> None:
    shown = _shown(event)
    moment = time_text(shown.timestamp)
    row = Text.assemble(
        (f"{event.sequence:>5}  ", "dim"),
        f"{moment.removesuffix('Z')[_TIME_OF_DAY]:<12}  " if console.width < _WIDE else f"{moment:<30}  ",
        (f"{clean(shown.type):<25}  ", _style(shown.type)),
        *(part for name, value in shown.fields.items() for part in ((f"{clean(name)}=", "dim"), f"{_value(value)} ")),
    )
    row.rstrip()
    if console.is_terminal:
        console.print(row, no_wrap=True, overflow="ellipsis")
    else:
        console.print(row, soft_wrap=True)


def _value(raw: Raw) -> str:
    return clean(bytes(raw).decode(errors="replace"))


def _style(event_type: str) -> str:
    if event_type in _ENDS:
        return STYLE_OF[_ENDS[event_type]]
    return "cyan" if "." in event_type else "bold" if event_type in {"RunStarted", "ModelStarted"} else ""
