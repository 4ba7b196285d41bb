"""How events become commits, and commits events again. The only place that joins, splits and cuts what lies in `events`.

- Into a log: `lots` cuts events into what fits an item each, `array_of` makes a lot the JSON array of a commit.
- Out of it: `cut` and `recorded` give a commit's events, `last_event` the last one, `until` the commits up to a sequence,
  `without_gaps` refuses a log that lacks some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.json import decode
from msgspec.structs import replace

from behest_core.errors import EventTooLargeError, IncompleteLogError, MalformedEventError
from behest_core.model.agent_events import RecordingGap
from behest_core.model.decoding import DECODE_ERRORS, core_decoder, split
from behest_core.model.json import AnyJSON, JSONObject
from behest_core.model.limits import EVENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.model.commit import Commit
    from behest_core.model.events import AnyEvent, EncodedEvent


class RecordedEvent(Struct, JSONObject, frozen=True):
    """An event of a log, with its position. `raw` is its JSON as it lies there, with all its fields."""

    run_id: str
    sequence: int
    committed_at: str
    raw: bytes

    @property
    def event(self) -> AnyEvent:
        """The event, decoded. Raises MalformedEventError."""
        try:
            return core_decoder.decode_one(self.raw)
        except DECODE_ERRORS as error:
            raise MalformedEventError(self.run_id, self.sequence, str(error)) from error

    def to_dict(self) -> dict[str, AnyJSON]:
        """Return it as a JSON object, with the event's own under `event`: with all its fields, also those unknown here."""
        place = {"run_id": self.run_id, "sequence": self.sequence, "committed_at": self.committed_at}
        return {**place, "event": decode(self.raw)}


# ---------------------------------------------------------------- into a log


def check_fits(run_id: str, event: EncodedEvent) -> None:
    """Raise EventTooLargeError where an event fits no item, not even alone."""
    if len(event.raw) + 2 > EVENT_BYTES:
        raise EventTooLargeError(run_id, event.type, len(event.raw), EVENT_BYTES)


def lots(run_id: str, events: Iterable[EncodedEvent]) -> Iterator[list[EncodedEvent]]:
    """Cut events into lots that fit an item each, as few as can be. Raises EventTooLargeError."""
    lot: list[EncodedEvent] = []
    size = 2
    for event in events:
        if size + len(event.raw) > EVENT_BYTES:
            check_fits(run_id, event)
            yield lot
            lot, size = [], 2
        lot.append(event)
        size += len(event.raw) + 1
    if lot:
        yield lot


def array_of(events: Iterable[bytes]) -> bytes:
    """Return the JSON array of events."""
    return b"[" + b",".join(events) + b"]"


# ---------------------------------------------------------------- out of it


def cut(commit: Commit) -> list[bytes]:
    """Return the JSON of a commit's events. Raises MalformedEventError where it doesn't hold as many as it says."""
    content = commit.read()
    if content.error is not None:
        raise content.error
    try:
        events = split(content.json)
    except DECODE_ERRORS as error:
        raise MalformedEventError(commit.run_id, commit.sequence, str(error)) from error
    if len(events) != commit.count:
        reason = f"`count` says {commit.count} events, `events` has {len(events)}"
        raise MalformedEventError(commit.run_id, commit.sequence, reason)
    return list(map(bytes, events))


def last_event(commit: Commit) -> AnyEvent | None:
    """Return the last event of a commit that tells of the run: not a RecordingGap, which tells of the recording.

    None where that can't be read, and for a run record.
    """
    try:
        events = [] if commit.is_record else map(core_decoder.decode_one, reversed(cut(commit)))
        return next((event for event in events if not isinstance(event, RecordingGap)), None)
    except (MalformedEventError, *DECODE_ERRORS):
        return None


def recorded(commits: Iterable[Commit]) -> Iterator[RecordedEvent]:
    """Return the events of commits, each with its position; a run record has none. Raises as `cut`."""
    for commit in commits:
        if not commit.is_record:
            for sequence, event in enumerate(cut(commit), start=commit.sequence):
                yield RecordedEvent(commit.run_id, sequence, commit.committed_at, event)


def until(commits: Iterable[Commit], sequence: int) -> Iterator[Commit]:
    """Return the commits, cut off behind the sequence: the last may be the first part of one."""
    for commit in commits:
        if commit.sequence > sequence:
            return
        yield commit if commit.last <= sequence else _first(commit, sequence + 1 - commit.sequence)
        if commit.last >= sequence:
            return  # what follows need not be read


def _first(commit: Commit, count: int) -> Commit:
    """Return the first events of a commit; the whole of it where it can't be cut: the fold parks there."""
    try:
        events = cut(commit)
    except MalformedEventError:
        return commit
    return replace(commit, count=count, text=None, packed=None, payload=array_of(events[:count]))


def without_gaps(run_id: str, commits: Iterable[Commit]) -> Iterator[Commit]:
    """Return the commits of a whole log. Raises IncompleteLogError at a gap, a missing beginning included."""
    end = 0
    for commit in commits:
        if commit.sequence > end + 1:
            raise IncompleteLogError(run_id, end + 1, commit.sequence)
        end = max(end, commit.last)
        yield commit
