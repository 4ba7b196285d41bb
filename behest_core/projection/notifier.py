"""From a change of a state item to an event on EventBridge, and to plugins that react.

A run that has another status than before is one change. It is told at least once: a batch that was cut short comes again. Its
`id` is the same then, so that receivers can drop repeats.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct, field

from behest_core.dynamodb import items
from behest_core.model.change import RunChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

    from behest_core.dynamodb.items import Record

SOURCE: Final = "behest"
DETAIL_TYPE: Final = "Run Status Changed"

_ENTRIES_AT_ONCE: Final = 10  # the most that PutEvents takes


class FailedReaction(Struct, frozen=True, kw_only=True):
    """A plugin's reaction that raised. `error` is the class of what it raised."""

    plugin: str
    change: RunChanged
    error: str


class NotifierReport(Struct):
    """What became of a batch.

    `first_unfinished` is the stream's sequence number of the first record that EventBridge has not taken; None where it has all.
    """

    changes: int = 0
    failed: list[FailedReaction] = field(default_factory=list)
    first_unfinished: str | None = None


def change_of(record: Record) -> RunChanged | None:
    """Return the change of status that a record of the state table's stream tells, None where there is none."""
    images = record["dynamodb"]
    new, old = images.get("NewImage"), images.get("OldImage")
    if not new or items.deleted_at(new):
        return None
    after, before = _text(new, "status"), _text(old or {}, "status")
    if after is None or after == before:
        return None
    run_id, revision = _text(new, items.RUN_ID), new[items.REVISION]["N"]
    return RunChanged(
        id=f"{run_id}#{revision}",
        run_id=str(run_id),
        session_id=_text(new, items.SESSION_ID),
        before=before,
        after=after,
        provider=_text(new, "provider"),
        model=_text(new, "model"),
        sequence=int(new[items.SEQUENCE]["N"]),
        updated_at=_text(new, "updated_at"),
    )


def _text(item: items.Item, name: str) -> str | None:
    value: str | None = item[name]["S"] if name in item else None
    return value


class Notifier:
    """Tells changes. `bus` is the name of an event bus; `reactions` are plugins' functions, by plugin."""

    def __init__(
        self,
        client: EventBridgeClient,
        bus: str,
        reactions: Sequence[tuple[str, Callable[[RunChanged], None]]] = (),
    ) -> None:
        self._client = client
        self._bus = bus
        self._reactions = reactions

    def notify(self, records: Sequence[Record]) -> NotifierReport:
        """Tell the changes of a batch, in order, up to one that EventBridge doesn't take. Raises botocore's errors."""
        report = NotifierReport()
        told = [(record, change) for record in records if (change := change_of(record)) is not None]
        for start in range(0, len(told), _ENTRIES_AT_ONCE):
            lot = told[start : start + _ENTRIES_AT_ONCE]
            taken = self._put(change for _, change in lot)
            report.changes += taken
            for _, change in lot[:taken]:
                report.failed += self._react(change)
            if taken < len(lot):
                report.first_unfinished = items.sequence_number_of(lot[taken][0])
                break
        return report

    def _put(self, changes: Iterable[RunChanged]) -> int:
        """Put events on the bus; return how many were taken before the first that was not."""
        entries: list[PutEventsRequestEntryTypeDef] = [
            {
                "Source": SOURCE,
                "DetailType": DETAIL_TYPE,
                "Detail": json.dumps(msgspec.to_builtins(change)),
                "EventBusName": self._bus,
                "Resources": [change.run_id],
            }
            for change in changes
        ]
        results = self._client.put_events(Entries=entries)["Entries"]
        return next((place for place, result in enumerate(results) if "ErrorCode" in result), len(results))

    def _react(self, change: RunChanged) -> Iterator[FailedReaction]:
        for plugin, reaction in self._reactions:
            try:
                reaction(change)
            except Exception as error:  # noqa: BLE001 (a plugin may raise anything)
                yield FailedReaction(plugin=plugin, change=change, error=type(error).__name__)
