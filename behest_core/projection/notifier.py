"""From a change of a state item to an event on EventBridge, and to plugins that react; and to those, what persons decided.

1. A run that has another status than before is one change. It is told at least once: a batch that was cut short comes again.
   Its `id` is the same then, so that receivers can drop repeats.
2. What can't be told stops nobody. A record that can't be read, and a change that EventBridge never takes, are put aside, each
   alone and with the reason; the batch goes on.
3. What EventBridge doesn't take now ends the batch there. Lambda delivers again from that record on, so nothing is overtaken.
   So it is where the log can't be read that holds a decision.
4. Plugins hear of each change that can be read, also of one that EventBridge doesn't take. What a plugin raises is put aside.
5. A person's decision is told to plugins alone, and is read from the log: the state counts decisions, and where the count has
   grown they lie between the sequences of the item before and after. Without a plugin that wants them nothing is read.
6. What is put aside fits a message of SQS: where the change is too large for that, the message goes without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import UNSET, Struct, field

from behest_core.dynamodb import items
from behest_core.errors import MalformedEventError, MalformedStateError
from behest_core.model.agent_events import Resumed
from behest_core.model.change import Decided, RunChanged
from behest_core.projection.event_bus import REQUEST_BYTES, REQUEST_ENTRIES, entry_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef as Entry

    from behest_core.dynamodb.items import Record
    from behest_core.model.events import AnyEvent
    from behest_core.model.packing import RecordedEvent
    from behest_core.projection.event_bus import EventBus

MESSAGE_BYTES: Final = 256 * 1024
"""The most that a message to a queue may have ("Amazon SQS message quotas")."""


class FailedReaction(Struct, frozen=True, kw_only=True):
    """A plugin's reaction that raised. `error` is the class of what it raised."""

    plugin: str
    run_id: str
    change: RunChanged | None
    error: str
    decision: Decided | None = None


class ChangeNotTold(Struct, frozen=True, kw_only=True):
    """A record whose change EventBridge never gets, and why. `change` and `run_id` are None where they can't be read."""

    sequence_number: str
    run_id: str | None
    change: RunChanged | None
    reason: str


class NotifierReport(Struct):
    """What became of a batch.

    `changes` were told. `first_unfinished` is the stream's sequence number of the record to go on from; None where all is done.
    """

    changes: int = 0
    not_told: list[ChangeNotTold] = field(default_factory=list)
    failed: list[FailedReaction] = field(default_factory=list)
    first_unfinished: str | None = None


@dataclass(slots=True)
class _Telling:
    """A record that has something to tell: as an entry, or, with a reason, not at all."""

    sequence_number: str
    run_id: str | None = None
    change: RunChanged | None = None
    decisions: items.Decisions | None = None
    entry: Entry | None = None
    size: int = 0
    reason: str = ""


class Notifier:
    """Tells changes and decisions. `reactions` and `deciders` are plugins' functions, by plugin.

    `events` reads the events of a run behind a sequence, at most so many; only for `deciders`.
    """

    def __init__(
        self,
        bus: EventBus,
        reactions: Sequence[tuple[str, Callable[[RunChanged], None]]] = (),
        deciders: Sequence[tuple[str, Callable[[Decided], None]]] = (),
        events: Callable[[str, int, int], Iterable[RecordedEvent]] = lambda run_id, after, limit: (),  # noqa: ARG005
    ) -> None:
        self._bus = bus
        self._reactions = reactions
        self._deciders = deciders
        self._events = events

    def notify(self, records: Iterable[Record]) -> NotifierReport:
        """Tell the changes of a batch, in order, up to one that EventBridge doesn't take now.

        Raises:
            botocore's errors: the first request failed, so nothing is done.
        """
        report = NotifierReport()
        for place, lot in enumerate(_lots(filter(None, map(self._read, records)))):
            try:
                refusals = iter(self._bus.put([each.entry for each in lot if each.entry is not None]))
            except (ClientError, BotoCoreError):
                if place == 0:
                    raise
                report.first_unfinished = lot[0].sequence_number
                break
            for telling in lot:
                try:
                    decided = self._read_decisions(telling)
                except (ClientError, BotoCoreError):
                    report.first_unfinished = telling.sequence_number
                    return report
                refusal = next(refusals) if telling.entry is not None else None
                if refusal is not None and not refusal.for_good:
                    report.first_unfinished = telling.sequence_number
                    return report
                self._settle(telling, refusal.code if refusal is not None else telling.reason, report)
                report.failed += self._tell(decided)
        return report

    def _read(self, record: Record) -> _Telling | None:
        """Return what a record has to tell, None where that is nothing. Raises nothing, whatever the record holds."""
        telling = _Telling(items.sequence_number_of(record))
        try:
            telling.change = items.run_changed(record)
            telling.decisions = items.decisions_of(record) if self._deciders else None
            if telling.change is None:
                return None if telling.decisions is None else telling
            telling.run_id = telling.change.run_id
            entry = self._bus.entry_of(telling.change)
            size = entry_size(entry)
        except MalformedStateError as error:
            telling.run_id, telling.reason = error.run_id, error.reason
        except Exception as error:  # noqa: BLE001 (one record must not stop the others; its text may hold what is in the item)
            telling.reason = type(error).__name__
        else:
            if size < REQUEST_BYTES:
                telling.entry, telling.size = entry, size
            else:
                telling.reason = f"its entry has {size:,} bytes, EventBridge takes less than {REQUEST_BYTES:,}"
        return telling

    def _settle(self, telling: _Telling, reason: str, report: NotifierReport) -> None:
        if reason:
            report.not_told.append(
                ChangeNotTold(
                    sequence_number=telling.sequence_number,
                    run_id=telling.run_id,
                    change=telling.change,
                    reason=reason,
                )
            )
        elif telling.change is not None:
            report.changes += 1
        if telling.change is not None:
            report.failed += self._react(telling.change)

    def _read_decisions(self, telling: _Telling) -> list[Decided]:
        """Return the decisions of a record, from the log. Raises botocore's errors; what can't be read is why it is put aside."""
        if telling.decisions is None:
            return []
        _, _, _, after, until = telling.decisions
        try:
            found = [*self._events(telling.decisions.run_id, after, until - after)]
            return [decided for each in found for decided in _decided(each.sequence, each.event, telling.decisions)]
        except MalformedEventError as error:
            telling.run_id, telling.reason = error.run_id, telling.reason or type(error).__name__
            return []

    def _tell(self, decisions: Iterable[Decided]) -> Iterator[FailedReaction]:
        for decision in decisions:
            for plugin, tell in self._deciders:
                try:
                    tell(decision)
                except Exception as error:  # noqa: BLE001 (a plugin may raise anything)
                    what = {"plugin": plugin, "run_id": decision.run_id, "error": type(error).__name__}
                    yield FailedReaction(change=None, decision=decision, **what)

    def _react(self, change: RunChanged) -> Iterator[FailedReaction]:
        for plugin, reaction in self._reactions:
            try:
                reaction(change)
            except Exception as error:  # noqa: BLE001 (a plugin may raise anything)
                yield FailedReaction(plugin=plugin, run_id=change.run_id, change=change, error=type(error).__name__)


def _decided(sequence: int, event: AnyEvent, where: items.Decisions) -> Iterator[Decided]:
    """Return the decisions that an event of a log tells."""
    if not isinstance(event, Resumed) or event.by is UNSET:
        return
    for call_id, answer in event.answers.items():
        yield Decided(
            id=f"{where.run_id}#{sequence}#{call_id}",
            run_id=where.run_id,
            session_id=where.session_id,
            metadata=where.metadata,
            call_id=call_id,
            granted=answer == "granted",
            by=event.by,
            reason=None if event.reason is UNSET else event.reason,
            sequence=sequence,
            decided_at=event.timestamp,
        )


def _lots(tellings: Iterable[_Telling]) -> Iterator[list[_Telling]]:
    """Return the tellings in lots of which each is one request. Those without an entry go along, in order."""
    lot: list[_Telling] = []
    entries = size = 0
    for telling in tellings:
        if (
            entries
            and telling.entry is not None
            and (entries == REQUEST_ENTRIES or size + telling.size >= REQUEST_BYTES)
        ):
            yield lot
            lot, entries, size = [], 0, 0
        lot.append(telling)
        entries += telling.entry is not None
        size += telling.size
    if lot:
        yield lot


def message_of(failure: ChangeNotTold | FailedReaction) -> str:
    """Return the message that puts a failure aside: ASCII, since SQS doesn't take every character."""
    text = json.dumps(msgspec.to_builtins(failure))
    if len(text) > MESSAGE_BYTES:
        smaller: dict[str, Any] = {
            "change": None,
            **({"decision": None} if isinstance(failure, FailedReaction) else {}),
        }
        text = json.dumps(msgspec.to_builtins(msgspec.structs.replace(failure, **smaller)))
    return text
