"""What is checked: at every write to the state table, and of every run when all is over."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from tests.simulation.surroundings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from tests.contract.fake.table import FakeTable
    from tests.simulation.agents import Plan
    from tests.simulation.oracle import Oracle

    Item = dict[str, Any]


class StateWatch:
    """Takes the state table's stream: every write that changes something, with the item before and after."""

    oracle: Oracle
    """To be given when there is a log."""

    def __init__(self, report: Callable[[Finding], None]) -> None:
        self.writes = 0
        self._report = report

    def append(self, keys: Item, new_image: Item | None = None, *, old_image: Item | None = None, **_: Any) -> None:
        self.writes += 1
        for what in self._wrong(new_image, old_image):
            self._report(Finding(keys["run_id"]["S"], what))

    def _wrong(self, new: Item | None, old: Item | None) -> Iterable[str]:
        if new is None:
            return ["the state item was deleted"]
        revisions = _number(old, "revision"), _number(new, "revision")
        if revisions[1] != revisions[0] + 1:
            return [f"revision went from {revisions[0]} to {revisions[1]}"]
        if "deleted_at" in new:
            return (
                [] if new.keys() == {"run_id", "revision", "deleted_at"} else ["a tombstone holds more than it should"]
            )
        if old and "deleted_at" in old:
            return ["a deleted run came back"]
        if _number(new, "sequence") < _number(old, "sequence"):
            return [f"the checkpoint went back from {_number(old, 'sequence')} to {_number(new, 'sequence')}"]
        return self.oracle.judge(new)


class Judge:
    """Says of each run, when nothing moves any more, what is wrong with it."""

    def __init__(self, oracle: Oracle, with_tally: Collection[int], log: FakeTable, states: FakeTable) -> None:
        self._oracle = oracle
        self._with_tally = with_tally
        self._log = log
        self._states = states

    def findings(self, run_id: str, version: int | None = None) -> list[str]:
        """Judge a run's state. `version` is what is deployed, None where each run may be folded by what it last met."""
        head, found = self._oracle.head(run_id), self._states.get({"run_id": {"S": run_id}})
        if found is None:
            return [f"it has no state, but a log up to {head}"] if run_id in self._log.partitions else []
        item = found.item
        if "deleted_at" in item:
            return [] if self._has_tombstone(run_id) else ["its state is deleted, its log is not"]
        wrong = self._oracle.judge(item)
        if self.lacks_record(run_id):
            wrong.append("it was folded without its record")
        return [*wrong, *self._position(run_id, item, head, version), *self._slice(run_id, item, version)]

    def _position(self, run_id: str, item: Item, head: int, version: int | None) -> Iterable[str]:
        parked = item.get("parked", {}).get("M")
        version = version or _number(parked or item, "version" if parked else "reducer")
        sequence, stop = _number(item, "sequence"), self._oracle.stops_at(run_id, version)
        if run_id in self._oracle.deadly:
            if parked is None:
                yield "it kills whoever folds it, and is not parked"
        elif stop is None:
            if parked is not None:
                yield f"it is parked at {parked['sequence']['N']} by version {parked['version']['N']}: {parked['error']['S']}"
            elif sequence != head:
                yield f"its state is at {sequence}, its log at {head}"
        elif parked is None or _number(parked, "sequence") != stop or _number(parked, "version") != version:
            yield f"version {version} can't fold {stop}, but it is parked at {parked}"

    def _slice(self, run_id: str, item: Item, version: int | None) -> Iterable[str]:
        """Say what is wrong with the extension's progress: where the core was folded by a version that has it, it keeps step."""
        folded_by = _number(item, "reducer")
        if "parked" in item or folded_by not in self._with_tally or (version is not None and folded_by != version):
            return
        piece = item.get("extensions", {}).get("M", {}).get("tally", {}).get("M")
        if piece is None or _number(piece, "version") != folded_by:
            yield f"version {folded_by} folded it, but tally is {piece}"
            return
        is_parked, stop = "M" in piece.get("parked", {}), self._oracle.tally_stops_at(run_id, folded_by)
        if is_parked != (stop is not None):
            yield f"tally should stop at {stop}, but is {piece}"
        if not is_parked and piece["sequence"] != item["sequence"]:
            yield f"tally is at {piece['sequence']}, the core at {item['sequence']}"

    def _has_tombstone(self, run_id: str) -> bool:
        items = self._log.partitions[run_id].items
        return bool(items) and "deleted_at" in items[0].item

    def lacks_record(self, run_id: str) -> bool:
        """Say whether the log has a record that the state was folded without. A parked run may be: it waits as it is."""
        found = self._states.get({"run_id": {"S": run_id}})
        item = found.item if found else {}
        return self._oracle.has_record(run_id) and not item.keys() & {"metadata", "parked", "deleted_at"}

    def is_parked(self, run_id: str) -> bool:
        found = self._states.get({"run_id": {"S": run_id}})
        return found is not None and "parked" in found.item

    def is_deleted(self, run_id: str) -> bool:
        found = self._states.get({"run_id": {"S": run_id}})
        return found is not None and "deleted_at" in found.item

    def lost(self, run_id: str) -> int:
        """Count the events of a run's log that its state should cover and doesn't."""
        found = self._states.get({"run_id": {"S": run_id}})
        if found is not None and found.item.keys() & {"deleted_at", "parked"}:
            return 0
        return self._oracle.head(run_id) - (_number(found.item, "sequence") if found else 0)

    def misplaced(self, plan: Plan) -> list[str]:
        """Say which appends that returned aren't in the log, or not where they said, and which attempts are there twice."""
        if self.is_deleted(plan.run_id) or plan.run_id not in self._log.partitions:
            return []
        places: dict[str, int] = {}
        twice = []
        for stored in self._log.partitions[plan.run_id].items:
            for sequence, event in enumerate(_events(stored.item), start=_number(stored.item, "sequence")):
                uid = event.get("uid")
                if uid in places:
                    twice.append(f"attempt {uid} is at {places[uid]} and at {sequence}")
                if uid is not None:
                    places[uid] = sequence
        wrong = [
            f"append {attempt} of {count} events returned {last}, but its events are at {found}"
            for last, attempt, count in plan.acknowledged
            if (found := [places.get(f"{attempt}.{at}", -1) for at in range(count)]) != sorted(set(found))
            or found[-1] != last
        ]
        return twice + wrong


def _events(item: Item) -> list[Item]:
    if item["sequence"]["N"] == "0" or "events" not in item:
        return []
    events = item["events"]
    try:
        found = json.loads(zlib.decompress(events["B"]) if "B" in events else events["S"])
    except (ValueError, zlib.error):
        return []
    return [event for event in found if isinstance(event, dict)]


def _number(item: Item | None, name: str) -> int:
    return int(item[name]["N"]) if item and name in item else 0
