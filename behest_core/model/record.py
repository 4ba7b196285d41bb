"""The run record: what is known of a run when it is created, and position 0 of its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct, field

from behest_core.errors import InvalidValueError, MalformedRecordError
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.json import JSON, AnyJSON, JSONObject, check_storable
from behest_core.model.limits import Identifier, check_metadata_size, check_run_id, check_text_size
from behest_core.model.state import RunStatus
from behest_core.model.timestamps import Timestamp, canonical

if TYPE_CHECKING:
    from behest_core.model.commit import Commit


RUN_NAMESPACE: Final = UUID("7c2b1f0a-5a0e-5a57-9f0d-2c8f3a9f7d11")
"""The namespace of run ids that are derived from a client_request_id."""


def run_id_for(client_request_id: str) -> str:
    """Return the run id that is derived from a client_request_id: the same one every time."""
    return str(uuid5(RUN_NAMESPACE, client_request_id))


class RunRecord(Struct, JSONObject, frozen=True, kw_only=True):
    """What is known of a run when it is created; position 0 of its log.

    `metadata` is any JSON. `client_request_id` makes creating a run idempotent. `status` is the seed's and always Pending here:
    a run's status is in its `RunState`. `updated_at` is None where it equals `created_at`.
    """

    run_id: Identifier = field(name="id")
    session_id: Identifier
    status: str = RunStatus.PENDING
    provider: str
    model: str
    metadata: AnyJSON = None
    client_request_id: str | None = None
    created_at: Timestamp
    updated_at: Timestamp | None = None


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


def differences(first: RunRecord, second: RunRecord) -> list[str]:
    """Return the fields in which two records differ."""
    return [name for name in RunRecord.__struct_fields__ if getattr(first, name) != getattr(second, name)]


_fields_decoder = msgspec.json.Decoder(dict[str, JSON])


def encode_record(record: RunRecord) -> bytes:
    """Return the record's JSON object as it lies in the log: without the run id, which is the item's key, and without nulls."""
    fields: dict[str, JSON] = msgspec.to_builtins(record)
    del fields["id"]
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def decode_record(commit: Commit) -> RunRecord:
    """Return the run record of the commit at position 0.

    Raises MalformedRecordError where it isn't one, or holds what a state item can't.
    """
    content = commit.read()
    if content.error is not None:
        raise MalformedRecordError(commit.run_id, content.error.reason)
    try:
        record = msgspec.convert(_fields_decoder.decode(content.json) | {"id": commit.run_id}, RunRecord)
        canonical(record.created_at)
        check_storable(record.metadata, "metadata")
    except InvalidValueError as error:  # whose path names keys of the metadata, which are payload
        raise MalformedRecordError(commit.run_id, f"metadata: {error.reason}") from error
    except (*DECODE_ERRORS, ValueError) as error:
        raise MalformedRecordError(commit.run_id, str(error)) from error
    return record
