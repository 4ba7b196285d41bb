"""`behest import`: runs from JSON lines into the event table.

A run that is there already is compared event by event. Where the log is the beginning of what the line holds, it is continued;
where it holds all of that, or more, nothing is done; where anything differs, the run is refused and nothing of it written. So an
import that was interrupted goes on when it is repeated, and one that was finished changes nothing.

Runs are worked on side by side, each by one thread. An error is raised when all lines before its own are done.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, NamedTuple

import typer
from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import replace

from behest_core.cli import aws
from behest_core.cli.arguments import CommandError, File, SkipInvalid, Stack
from behest_core.cli.aws import WORKERS
from behest_core.cli.lines import Invalid, open_lines, read_runs
from behest_core.cli.progress import lines_bar
from behest_core.cli.runs import SideBySide
from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import BehestError, ConfigurationError, RunDiffersError
from behest_core.interchange import RunLine, read_run, same_event, same_record
from behest_core.model.limits import check_run_id
from behest_core.model.packing import RecordedEvent
from behest_core.terminal import write_text
from behest_core.wording import amount

EVENTS_PER_COMMIT: Final = 100
"""Enough for zlib to pack well, and few enough for a commit to stay a small part of what Lambda delivers at once."""

_AHEAD: Final = 2 * WORKERS
"""How many lines are worked on behind one that takes long: each is held in memory whole."""

_OF_ALL_RUNS: Final = (BotoCoreError, ClientError, ConfigurationError)
"""Errors that are about the tables; others are about one run."""


class Imported(NamedTuple):
    """What importing a run wrote: whether anything at all, and how many events."""

    anything: bool
    events: int


class Tally:
    """What importing many runs did, in words."""

    def __init__(self) -> None:
        self.written = self.untouched = self.events = 0

    def add(self, imported: Imported) -> None:
        """Count one more run."""
        self.written += imported.anything
        self.untouched += not imported.anything
        self.events += imported.events

    def __str__(self) -> str:
        was = "was" if self.untouched == 1 else "were"
        there = f"{amount(self.untouched, 'run')} {was} there already" if self.untouched else ""
        if not self.written:
            return f"nothing changed: {there}" if there else "nothing imported"
        return f"imported {amount(self.written, 'run')} with {amount(self.events, 'event')}" + (
            f"; {there}" if there else ""
        )


def import_runs(
    file: File,
    *,
    new_id: Annotated[
        str | None,
        typer.Option("--as", metavar="RUN", help="The id to import the run under; the file has one run then."),
    ] = None,
    stack: Stack = None,
    skip_invalid: SkipInvalid = False,
) -> None:
    """Append runs from JSON lines to the event table.

    It can be repeated: what is there stays as it is, what is missing is added. A run that is there with other content is refused.
    """
    log = aws.connect(stack).event_log
    tally = Tally()
    with open_lines(file) as lines, lines_bar(lines.size) as bar, SideBySide(_AHEAD) as side:
        invalid = Invalid(bar.messages, skip=skip_invalid)
        runs = read_runs(lines, invalid, read_run)
        if new_id is not None:
            runs = _renamed(runs, check_run_id(new_id))
        try:
            for run, result in side.map(lambda run: import_run(log, run), runs, name=lambda run: run.run_id):
                try:
                    tally.add(result())
                except _OF_ALL_RUNS:
                    raise
                except Exception as error:  # noqa: BLE001 (one run's error: the others go on)
                    invalid.met(_located(run, error))
                bar.advance(len(run.events), lines.position)
        except BaseException:
            write_text(str(tally))
            raise
    write_text(f"{tally}; {amount(invalid.count, 'line')} skipped" if invalid.count else str(tally))


def _renamed(runs: Iterable[RunLine], new_id: str) -> Iterator[RunLine]:
    """Return the one run under another id. Raises CommandError at a second one."""
    first = None
    for run in runs:
        if first is not None:
            raise CommandError(f"{run.source}:{run.number}: --as is for a file with one run; this is another")
        first = run
        yield replace(run, run_id=new_id, record=run.record and replace(run.record, run_id=new_id))


def _located(run: RunLine, error: Exception) -> BehestError:
    reason = str(error) if isinstance(error, BehestError) else f"{type(error).__name__}: {error}"
    return CommandError(f"{run.source}:{run.number}: {reason}")


def import_run(log: EventLog, run: RunLine) -> Imported:
    """Append what the log lacks of a run.

    Raises RunDiffersError where the log holds something else, IncompleteLogError where its beginning has expired,
    SequenceConflictError where another writer appends meanwhile, and what appending raises.
    """
    head = log.head(run.run_id)
    if head or run.record is None:
        record, events = log.whole(run.run_id)
    else:
        record, events = log.create(run.record), iter(())
    if not same_record(record, run.record):
        raise RunDiffersError(run.run_id, 0)
    held = _held(run, events)
    for sequence in range(held, len(run.events), EVENTS_PER_COMMIT):
        lot = run.events[sequence : sequence + EVENTS_PER_COMMIT]
        log.append(run.run_id, lot, expected_sequence=sequence)
    is_created = not head and record is run.record
    return Imported(is_created or held < len(run.events), len(run.events) - held)


def _held(run: RunLine, events: Iterable[RecordedEvent]) -> int:
    """Count the run's events that the log holds."""
    held = 0
    for held, (there, event) in enumerate(zip(events, run.events, strict=False), start=1):
        if not same_event(run.run_id, there.raw, event.raw):
            raise RunDiffersError(run.run_id, held)
    return held
