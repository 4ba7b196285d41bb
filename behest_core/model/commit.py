"""A commit as it lies in the log: events appended together, not yet decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from behest_core.model.decoding import DECODE_ERRORS, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Commit(Struct, frozen=True, kw_only=True):
    """One item of the event table: the run record at position 0, events anywhere else.

    `payload` is JSON: the record's object, or the array of the `count` events from position `sequence` on. `problem` says why
    the item could not be read at all; such a commit holds its one position and can't be folded.
    """

    run_id: str
    sequence: int
    count: int = 1
    payload: bytes = b""
    commit_id: str = ""
    committed_at: str = ""
    problem: str | None = None

    @property
    def is_record(self) -> bool:
        """Whether this is the run record rather than events."""
        return self.sequence == 0

    @property
    def last(self) -> int:
        """The position of the last event in it."""
        return self.sequence + self.count - 1


def until(commits: Iterable[Commit], sequence: int) -> Iterator[Commit]:
    """Return the commits, cut off behind the sequence: the last may be the first part of one."""
    for commit in commits:
        if commit.sequence > sequence:
            return
        yield commit if commit.last <= sequence else _first(commit, sequence + 1 - commit.sequence)


def _first(commit: Commit, count: int) -> Commit:
    """Return the first events of a commit; the whole of it where it can't be cut: the fold parks there."""
    try:
        events = split(commit.payload)
    except DECODE_ERRORS:
        return commit
    if len(events) != commit.count:
        return commit
    return replace(commit, count=count, payload=b"[" + b",".join(map(bytes, events[:count])) + b"]")
