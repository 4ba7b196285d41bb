"""How large what a run consists of may be, so that all of it fits the items it will lie in.

An item of DynamoDB has at most 400 KB ("Service, account, and table quotas in Amazon DynamoDB"). Sizes follow "DynamoDB item
sizes and formats"; where AWS says "approximately", ours is the upper bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta

from behest_core.errors import InvalidRunIdError, StateTooLargeError

if TYPE_CHECKING:
    from behest_core.model.json import JSON

Count = Annotated[int, Meta(ge=0)]
"""A whole number from 0 on. The fold keeps what it adds up within 64 bits, as the seed does."""


Identifier = Annotated[str, Meta(min_length=1, max_length=255)]
"""A run or session id: opaque, 1 to 255 characters, so that it fits every key and index of DynamoDB."""


def check_run_id(run_id: object) -> str:
    """Return the run id, or raise InvalidRunIdError."""
    if not isinstance(run_id, str) or not 1 <= len(run_id) <= 255 or not _is_utf8(run_id):
        raise InvalidRunIdError(run_id)
    return run_id


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


ITEM_BYTES: Final = 400 * 1024
"""The most an item may have, attribute names included."""


EVENT_BYTES: Final = ITEM_BYTES - 4 * 1024
"""The most JSON that one event, and so one commit, may have: an item less its key (at most 1,020 bytes), id and times."""


METADATA_BYTES: Final = 120 * 1024
"""The metadata's share of a state item."""


TEXT_BYTES: Final = 120 * 1024
"""The share of provider, model, last_finish and last_error together. Of the rest, 160 KB, the extensions have 144 KB
(`EXTENSIONS_BYTES`); what is left has room for ids, times and counts, and for why the run is parked."""

ERROR_BYTES: Final = 100
MESSAGE_BYTES: Final = 500
"""The most that is kept of the class of an error that parks something, and of its message."""


REASON_BYTES: Final = 200
"""The most that is kept of why a run waits."""

PENDING_IDS: Final = 32
PENDING_ID_BYTES: Final = 128
"""How many ids of what a run waits for are kept, and how long one may be: a longer one isn't, as a part of an id is none."""


def beginning(text: str, limit: int) -> str:
    """Return as much of a text's beginning as has at most `limit` bytes."""
    return text.encode(errors="replace")[:limit].decode(errors="ignore")


WRITE_UNIT_BYTES: Final = 1024


VALUE_BYTES: Final = 21
"""What each value of the metadata counts as at least, which is what the longest number takes.

An item of nothing but small values is two hundred times as large in memory while it is read: the SDK makes two objects of each.
So there is a bound on how many there are.
"""


def stored_size(value: JSON) -> int:
    """Return the bytes the value takes in an item at most, without its attribute's name."""
    total = 0
    pending: list[JSON] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            total += max(len(item.encode()), VALUE_BYTES)
        elif not isinstance(item, dict | list):
            total += VALUE_BYTES
        else:
            total += VALUE_BYTES + len(item)
            if isinstance(item, dict):
                total += sum(len(key.encode()) for key in item)
                pending.extend(item.values())
            else:
                pending.extend(item)
    return total


def check_metadata_size(run_id: str, metadata: JSON) -> None:
    """Raise StateTooLargeError where the metadata is beyond its share of the state item."""
    size = stored_size(metadata)
    if size > METADATA_BYTES:
        raise StateTooLargeError(run_id, size, METADATA_BYTES)


ANNOTATIONS_BYTES: Final = 4 * 1024
"""The most that a run's annotations may have in its state item, by `stored_size`."""


def check_text_size(run_id: str, *texts: str | None) -> None:
    """Raise StateTooLargeError where the texts together are beyond their share of the state item."""
    characters = 0
    for text in texts:
        if text:
            characters += len(text)
    if characters * 4 > TEXT_BYTES:  # a character has at most 4 bytes
        size = sum(len(text.encode()) for text in texts if text)
        if size > TEXT_BYTES:
            raise StateTooLargeError(run_id, size, TEXT_BYTES)


EXTENSION_BYTES: Final = 64 * 1024
"""The most one extension's state may have, by `slice_size`."""


EXTENSIONS_BYTES: Final = 96 * 1024
"""The most all extensions of a run may have together, each with `SLICE_BYTES`. As attributes it is half as much again at most."""

SLICE_BYTES: Final = 2_700
"""What a slice may take beside its state: its name, and why it is parked, five times over."""


def slice_size(state: bytes) -> int:
    """Return what a slice's state counts as: its bytes of JSON, and one more for each list.

    As an attribute a number of one digit takes half as much again as in a list of JSON; a list, twice as much as its brackets.
    """
    return len(state) + state.count(b"[")
