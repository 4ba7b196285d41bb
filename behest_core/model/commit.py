"""A commit as it lies in the log: events appended together, neither inflated nor decoded until they are folded."""

from __future__ import annotations

import zlib
from binascii import a2b_base64
from typing import Final, NamedTuple

from msgspec import Struct

from behest_core.errors import MalformedEventError
from behest_core.model.limits import EVENT_BYTES
from behest_core.model.nesting import NESTING, has_more_values, shallow_part

NESTED: Final = f"an event nests deeper than {NESTING} levels"

_IDENTITY_CHARACTERS: Final = 64

INFLATED_BYTES: Final = 4 * 1024 * 1024
"""The most that a commit is inflated to. Our own writers put at most EVENT_BYTES into one; a bomb stops here."""

MOST_EVENTS: Final = 150_000
"""The most events a commit can have: the shortest has 28 bytes with its comma, and so no more fit what it may inflate to."""


class Content(NamedTuple):
    """The JSON of a commit: its record or events, up to one that can't be read at all, and what is wrong with that one."""

    json: bytes
    error: MalformedEventError | None = None


class Commit(Struct, frozen=True, kw_only=True):
    """One item of the event table: the run record at position 0, events anywhere else.

    Its JSON is the record's object, or the array of the `count` events from position `sequence` on. It is in one of three
    forms, and `read` knows them: `payload` is what this process has made; `text` and `packed` lie so in an item, the latter
    compressed by zlib, as binary or in base64. `expires_at` is when DynamoDB may delete it, in seconds since 1970. `problem` says
    why the item could not be read at all; such a commit holds its one position and can't be folded.
    """

    run_id: str
    sequence: int
    count: int = 1
    payload: bytes = b""
    text: str | None = None
    packed: bytes | str | None = None
    commit_id: str = ""
    committed_at: str = ""
    expires_at: int | None = None
    problem: str | None = None

    @property
    def is_record(self) -> bool:
        """Whether this is the run record rather than events."""
        return self.sequence == 0

    @property
    def last(self) -> int:
        """The position of the last event in it."""
        return self.sequence + self.count - 1

    @property
    def is_at_hand(self) -> bool:
        """Whether `payload` is the JSON: there is nothing to inflate, and nothing else to look at."""
        return self.packed is None and self.text is None and self.problem is None

    def read(self) -> Content:
        """Return the JSON. What that may cost is bounded by the events that the commit says it has."""
        if self.packed is None and self.text is None:
            return Content(self.payload, None if self.problem is None else self._malformed(self.problem))
        try:
            json = self._inflated(self.packed) if self.packed is not None else str(self.text).encode()
        except MalformedEventError as error:
            return Content(b"", error)
        if not self.is_record and has_more_values(json, max(self.count, MOST_EVENTS)):
            return Content(b"", self._malformed(f"`count` says {self.count} events, `events` has more values"))
        shallow = shallow_part(json)
        return Content(json) if shallow is None else Content(shallow, self._malformed(NESTED))

    def _inflated(self, packed: bytes | str) -> bytes:
        limit = min(self.count * EVENT_BYTES, INFLATED_BYTES)
        try:
            inflater = zlib.decompressobj()
            payload = inflater.decompress(a2b_base64(packed) if isinstance(packed, str) else packed, limit)
        except (zlib.error, ValueError) as error:
            raise self._malformed(f"`{self._name}` is binary, but not zlib's") from error
        if not inflater.eof:
            raise self._malformed(f"`{self._name}` is cut short, or larger than {limit:,} bytes")
        return payload

    @property
    def _name(self) -> str:
        return "record" if self.is_record else "events"

    def _malformed(self, reason: str) -> MalformedEventError:
        return MalformedEventError(self.run_id, self.sequence, reason)


def identity(commit_id: str) -> str | None:
    """Return what identifies a commit, as a state keeps it: its id, or the beginning of one that a foreign writer made long."""
    return commit_id[:_IDENTITY_CHARACTERS] or None
