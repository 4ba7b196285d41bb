"""An event bus of EventBridge, within its limits.

1. An entry has less than 256 KB, and so have all entries of a request together. They are counted as EventBridge counts them
   ("Calculating Amazon EventBridge PutEvents event entry size"): UTF-8 bytes of source, detail type, detail and resources.
2. A request has at most 10 entries.
3. A refusal that is the entry's own fault is for good. Any other passes, as throttling does, or concerns every entry, as a
   missing permission does: the same entry is taken later.
4. A request that is refused as invalid doesn't say for which entry. Each is sent by itself then, and only that one is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from botocore.exceptions import ClientError
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef as Entry

    from behest_core.model.change import RunChanged

SOURCE: Final = "behest"
DETAIL_TYPE: Final = "Run Status Changed"

REQUEST_ENTRIES: Final = 10
REQUEST_BYTES: Final = 256 * 1024
"""What an entry, and all entries of a request together, have to stay below."""

# "PutEventsResultEntry" lists more that are not to be retried. Those are about permissions, which somebody may yet give.
_FOR_GOOD: Final = frozenset(
    {"InvalidArgument", "MalformedDetail", "RedactionFailure", "ValidationException", "ValidationError"}
)


class Refusal(Struct, frozen=True):
    """Why EventBridge did not take an entry."""

    code: str

    @property
    def for_good(self) -> bool:
        """Whether it never will."""
        return self.code in _FOR_GOOD


def entry_size(entry: Entry) -> int:
    """Return the bytes of an entry, as EventBridge counts them."""
    texts = [entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"]]
    return sum(len(text.encode()) for text in texts)


class EventBus:
    """Takes changes as entries. `name` is the bus's."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def entry_of(self, change: RunChanged) -> Entry:
        """Return the entry that tells a change. Raises UnicodeEncodeError where a text of it is none that UTF-8 can hold."""
        return {
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Detail": msgspec.json.encode(change).decode(),
            "EventBusName": self._name,
            "Resources": [change.run_id],
        }

    def put(self, entries: Sequence[Entry]) -> list[Refusal | None]:
        """Put the entries of one request; return what became of each, None where it was taken. Raises botocore's errors."""
        if not entries:
            return []
        try:
            results = self._client.put_events(Entries=entries)["Entries"]
        except ClientError as error:
            refusal = Refusal(error.response["Error"]["Code"])
            if not refusal.for_good:
                raise
            return [refusal] if len(entries) == 1 else [self.put([entry])[0] for entry in entries]
        return [Refusal(result["ErrorCode"]) if "ErrorCode" in result else None for result in results]
