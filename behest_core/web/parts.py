"""A run's conversation in parts: so much of the log as a page has room for, and where the next part begins.

- A part is at most EVENTS events, or BYTES bytes of them. It is read in one go, whatever the run's length.
- Where the log goes on, a part ends before the last model call, tool or step that it holds: that one begins the next part, whole.
- What is begun in one part and ends in a later one is shown where it began, as not over, and again with what is told of it later.
- An event that can't be read ends a part for good; `problem` says so. Such a run is parked, and its page is needed most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from behest_core.errors import MalformedEventError, MalformedRecordError
from behest_core.model.packing import recorded
from behest_core.model.record import decode_record
from behest_core.transcript.entries import Call, Step, Tool, Transcript
from behest_core.transcript.reading import TranscriptReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.model.commit import Commit
    from behest_core.model.packing import RecordedEvent
    from behest_core.transcript.reading import Price

EVENTS: Final = 2_000
BYTES: Final = 1_000_000
"""How much of a log a part is made of."""


class Part(Struct):
    """A part of a run's transcript: what lies behind the sequence `after`, up to `last`.

    `next_after` is where the next part begins, None where the log ends here. `until` is the time of the last event.
    """

    transcript: Transcript
    after: int
    last: int
    until: str | None = None
    next_after: int | None = None
    problem: str | None = None


def read_part(  # noqa: PLR0913 (what to read, and how far)
    run_id: str,
    commits: Iterable[Commit],
    after: int = 0,
    *,
    price: Price | None = None,
    most_events: int = EVENTS,
    most_bytes: int = BYTES,
) -> Part:
    """Read a part of a log, given what lies behind `after`, its run record first where `after` is 0."""
    reader = TranscriptReader(run_id, None, price)
    part = Part(reader.transcript, after, after)
    left, size = most_events, most_bytes
    try:
        for each in _events(commits, reader):
            if each.sequence <= after:
                continue
            if left == 0 or size <= 0:
                _end_before_the_last(part)
                break
            event = each.event
            reader.add(event, each.sequence)
            part.last, part.until = each.sequence, event.timestamp
            left, size = left - 1, size - len(each.raw)
    except (MalformedEventError, MalformedRecordError) as error:
        part.problem = str(error)
    return part


def _events(commits: Iterable[Commit], reader: TranscriptReader) -> Iterator[RecordedEvent]:
    for commit in commits:
        if commit.is_record:
            reader.about(decode_record(commit))
        else:
            yield from recorded([commit])


def _end_before_the_last(part: Part) -> None:
    """Cut off what begins with the last call, tool or step, if anything is left then: the next part has it whole."""
    entries = part.transcript.entries
    last = next((each for each in reversed(entries) if isinstance(each, Call | Step | Tool)), None)
    part.next_after = part.last
    if last is None or last.sequence <= part.after + 1:
        return
    kept = [each for each in entries if each.sequence < last.sequence]
    if kept:
        part.transcript.entries, part.next_after = kept, last.sequence - 1
        part.last = part.next_after
