"""A commit as it lies in the log: events appended together, not yet decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from behest_core.errors import InvalidValueError, MalformedRecordError
from behest_core.events import DECODE_ERRORS, split
from behest_core.state import RunRecord, check_run_id
from behest_core.storable import JSON, check_metadata_size, check_storable, check_text_size
from behest_core.timestamps import canonical

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
    """Give the commits, cut off behind the sequence: the last may be the first part of one."""
    for commit in commits:
        if commit.sequence > sequence:
            return
        yield commit if commit.last <= sequence else _first(commit, sequence + 1 - commit.sequence)


def _first(commit: Commit, count: int) -> Commit:
    """Give the first events of a commit; the whole of it where it can't be cut: the fold parks there."""
    try:
        events = split(commit.payload)
    except DECODE_ERRORS:
        return commit
    if len(events) != commit.count:
        return commit
    return replace(commit, count=count, payload=b"[" + b",".join(map(bytes, events[:count])) + b"]")


def check_record(record: RunRecord) -> None:
    """Refuse a record that could not be folded and stored: raises InvalidValueError naming the field, or StateTooLargeError."""
    check_run_id(record.run_id)
    for name in ("provider", "model", "metadata", "client_request_id"):
        check_storable(getattr(record, name), name)
    try:
        msgspec.convert(msgspec.to_builtins(record), RunRecord)
        for moment in filter(None, (record.created_at, record.updated_at)):
            canonical(moment)
    except ValueError as error:
        raise InvalidValueError("record", str(error)) from error
    check_metadata_size(record.run_id, record.metadata)
    check_text_size(record.run_id, record.provider, record.model)


_fields_decoder = msgspec.json.Decoder(dict[str, JSON])


def encode_record(record: RunRecord) -> bytes:
    """Give the record's JSON object as it will lie in the log: without the run id, which is the item's key, and without nulls."""
    fields: dict[str, JSON] = msgspec.to_builtins(record)
    del fields["id"]
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def decode_record(commit: Commit) -> RunRecord:
    """Give the run record of the commit at position 0.

    Raises MalformedRecordError where it isn't one, or holds what a state item can't.
    """
    if commit.problem is not None:
        raise MalformedRecordError(commit.run_id, commit.problem)
    try:
        record = msgspec.convert(_fields_decoder.decode(commit.payload) | {"id": commit.run_id}, RunRecord)
        canonical(record.created_at)
        check_storable(record.metadata, "metadata")
    except InvalidValueError as error:
        raise MalformedRecordError(commit.run_id, str(error)) from error
    except (*DECODE_ERRORS, ValueError) as error:
        raise MalformedRecordError(commit.run_id, str(error)) from error
    return record
