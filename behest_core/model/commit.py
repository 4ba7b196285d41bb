"""A commit as it lies in the log: events appended together, not yet decoded."""

from __future__ import annotations

from msgspec import Struct


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
