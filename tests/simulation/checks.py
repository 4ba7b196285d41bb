"""What is checked: at every write to the state table, and of every run when all is over."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from behest_core.projection.catch_up import Fold
from tests.simulation.surroundings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.contract.fake.table import FakeTable
    from tests.simulation.oracle import Oracle
    from tests.simulation.scheduler import Task
    from tests.simulation.versions import Plugin, Release

    Item = dict[str, Any]


class Step(StrEnum):
    """What a fold of a run may be in the life of an extension that is installed."""

    INSTALLED = "first"
    INSTALLED_OVER = "first of an old run"
    WENT_ON = "going on"
    OF_ANOTHER_VERSION = "of another version"
    PARKED = "parked"
    LEFT_PARKED = "left parked"
    RESUMED = "resumed"
    INSTALLED_AGAIN = "installed again"
    OF_ANOTHER_RUN = "of another run"


class StateWatch:
    """Takes the state table's stream: every write that changes something, with the item before and after.

    `writer` says who writes, None where it isn't known; `moment` gives the time.
    """

    oracle: Oracle
    """To be given when there is a log."""

    def __init__(
        self,
        report: Callable[[Finding], None],
        writer: Callable[[], Task | None] = lambda: None,
        moment: Callable[[], str] = lambda: "",
    ) -> None:
        self.writes = 0
        self._written: dict[tuple[str, int], int] = {}
        """What was written under each revision, whatever befell the items since: the hash of it."""

        self.slices: Counter[str] = Counter()
        """How often a fold was which step for a slice."""

        self._report = report
        self._writer = writer
        self._moment = moment

    def append(self, keys: Item, new_image: Item | None = None, *, old_image: Item | None = None, **_: Any) -> None:
        self.writes += 1
        run_id = keys["run_id"]["S"]
        name = run_id, _number(new_image, "revision")
        if self._written.setdefault(name, hash(str(new_image))) != hash(str(new_image)):
            self._report(Finding(run_id, f"another write of it had revision {name[1]} before"))
        if run_id in self.oracle.broken:
            self.oracle.broken.discard(run_id)
            return  # what is wrong with it now is seen at the next write, or in the end
        for what in self._wrong(new_image, old_image):
            self._report(Finding(run_id, what))

    def _wrong(self, new: Item | None, old: Item | None) -> Iterable[str]:  # noqa: PLR0911 (one thing after another)
        if new is None:
            return ["the state item was deleted"]
        revisions = _number(old, "revision"), _number(new, "revision")
        if revisions[1] <= revisions[0]:
            return [f"revision went from {revisions[0]} to {revisions[1]}"]
        if "deleted_at" in new:
            return (
                [] if new.keys() == {"run_id", "revision", "deleted_at"} else ["a tombstone holds more than it should"]
            )
        if old and "deleted_at" in old:
            return ["a deleted run came back"]
        if new["run_id"]["S"] in self.oracle.unjudged:
            return []
        if _number(new, "sequence") < _number(old, "sequence"):
            return [f"the checkpoint went back from {_number(old, 'sequence')} to {_number(new, 'sequence')}"]
        writer = self._writer()
        version = writer.release.reducer if writer is not None else None
        return [
            *self.oracle.judge(new, old or {}, version),
            *self._wrong_slices(new, old or {}),
            *self._wrong_guard(new, old or {}),
        ]

    def _wrong_guard(self, new: Item, old: Item) -> Iterable[str]:
        """Return whether a fold is taken for dead that may come back still."""
        before, after = (each.get("guard", {}).get("M", {}) for each in (old, new))
        is_killed = new.get("parked", {}).get("M", {}).get("error") == {"S": "ProcessKilled"} and "parked" not in old
        until = before.get("until", {"S": ""})["S"]
        if until > self._moment() and (is_killed or _number(after, "deaths") > _number(before, "deaths")):
            yield f"a fold counts as dead that has until {until}"

    def _wrong_slices(self, new: Item, old: Item) -> Iterable[str]:
        """Say which slices the writer shouldn't have left as it did, given which plugins it has."""
        writer = self._writer()
        if writer is None:
            return
        for plugin in writer.release.plugins:
            before, after = _slice(old, plugin.name), _slice(new, plugin.name)
            if self.oracle.is_truncated(new["run_id"]["S"]) and _is_cut_off(after):
                continue
            if not plugin.is_installed:
                if before != {name: value for name, value in after.items() if name != "outdated" or name in before}:
                    yield f"{plugin.name} isn't installed, but its slice went from {before} to {after}"
            elif _is_parked(before, plugin) and not self._may_retry(writer, new):
                if before["parked"] != after.get("parked"):
                    yield f"{plugin.name} was parked, and {writer.name} tried it again: it went from {before} to {after}"
            elif writer.name == Fold.RESUME.value and _could_go_on(new, plugin, after):
                yield f"{plugin} can fold all, but a resume left it parked: {after}"
            elif _is_fold(new, old):
                self.slices[_step(before, after, _number(old, "sequence")).value] += 1
                yield from self._wrong_progress(new, plugin, before, after)

    def _may_retry(self, writer: Task, item: Item) -> bool:
        """Return whether a task may try a parked slice again: where asked to, or where it begins a run again with its record.

        A sweep can be wrong about the latter, and do it in vain: it has seen the state a while ago.
        """
        return writer.name in _RETRIES or (writer.name in _SWEEPS and self.oracle.has_record(item["run_id"]["S"]))

    def _wrong_progress(self, new: Item, plugin: Plugin, before: Item, after: Item) -> Iterable[str]:
        """Return why an installed plugin's slice hasn't come as far as it should have in a fold."""
        if _number(after, "version") != plugin.version:
            yield f"{plugin} was there when it was folded, but its slice is {after}"
        elif "M" in after.get("parked", {}):
            if not plugin.is_broken and after["parked"] != before.get("parked"):
                yield f"{plugin} can fold all, but is parked: {after}"
        elif after["sequence"] != new["sequence"]:
            yield f"{plugin.name} is at {after['sequence']}, the core at {new['sequence']}"
        elif plugin.is_broken:
            known = _number(before, "sequence") if _number(before, "version") == plugin.version else 0
            if met := self.oracle.requests(new["run_id"]["S"], known, _number(after, "sequence")):
                yield f"{plugin} can't fold {met[0][0]}, but its slice is {after}"


_RETRIES = {Fold.RESUME.value, Fold.AGAIN.value}
_SWEEPS = {"sweep", "recover"}


def _is_parked(piece: Item, plugin: Plugin) -> bool:
    return "M" in piece.get("parked", {}) and _number(piece, "version") == plugin.version


def _is_cut_off(piece: Item) -> bool:
    """Return whether a slice says that it would have to be folded from a beginning that is gone."""
    return piece.get("parked", {}).get("M", {}).get("error") == {"S": "LogTruncatedError"}


def _could_go_on(item: Item, plugin: Plugin, piece: Item) -> bool:
    return "M" in piece.get("parked", {}) and not plugin.is_broken and "parked" not in item


def _is_fold(new: Item, old: Item) -> bool:
    """Return whether a write is of a fold that has come to its end: not a guard's, and not of a run that the core can't fold."""
    changed = {name for name in new.keys() | old.keys() if new.get(name) != old.get(name)}
    return "parked" not in new and "created_at" in new and changed > {"revision"} and changed != {"revision", "guard"}


def _step(before: Item, after: Item, core: int) -> Step:
    """Return what a fold from a position of the core was to a slice."""
    was_parked, is_parked = ("M" in piece.get("parked", {}) for piece in (before, after))
    if not before:
        return Step.INSTALLED_OVER if core else Step.INSTALLED
    if "outdated" in before and "outdated" not in after:
        return Step.OF_ANOTHER_RUN
    if before["version"] != after.get("version"):
        return Step.OF_ANOTHER_VERSION
    if is_parked:
        return Step.LEFT_PARKED if was_parked else Step.PARKED
    if was_parked:
        return Step.RESUMED
    return Step.WENT_ON if _number(before, "sequence") == core else Step.INSTALLED_AGAIN


def _slice(item: Item, name: str) -> Item:
    piece: Item = item.get("extensions", {}).get("M", {}).get(name, {}).get("M", {})
    return piece


class Judge:
    """Says of each run, when nothing moves any more, what is wrong with it."""

    def __init__(self, oracle: Oracle, log: FakeTable, states: FakeTable) -> None:
        self._oracle = oracle
        self._log = log
        self._states = states

    def findings(self, run_id: str, version: int | None = None) -> list[str]:
        """Judge a run's state. `version` is what is deployed, None where each run may be folded by what it last met."""
        head, found = self._oracle.head(run_id), self._states.get({"run_id": {"S": run_id}})
        if found is None:
            is_whole = head and not self._oracle.is_deleted(run_id)
            return [f"it has no state, but a log up to {head}"] if is_whole else []
        item = found.item
        if run_id in self._oracle.broken:
            return ["its state item still can't be read"]
        if "deleted_at" in item:
            return [] if self._oracle.is_deleted(run_id) else ["its state is deleted, its log is not"]
        if self._oracle.is_deleted(run_id):
            return ["its log is deleted, its state is not"]
        wrong = self._oracle.judge(item)
        if self.lacks_record(run_id):
            wrong.append("it was folded without its record")
        return [*wrong, *self._position(run_id, item, head, version)]

    def _position(self, run_id: str, item: Item, head: int, version: int | None) -> Iterable[str]:
        parked = item.get("parked", {}).get("M")
        version = version or _number(parked or item, "version" if parked else "reducer_version")
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

    def slices(self, run_id: str, release: Release) -> Iterable[str]:
        """Judge how far a run's slices have come when all is folded by a release. What is in them is judged with the state."""
        found = self._states.get({"run_id": {"S": run_id}})
        if found is None or found.item.keys() & {"deleted_at", "parked"}:
            return
        head = self._oracle.head(run_id)
        for plugin in release.installed:
            piece = _slice(found.item, plugin.name)
            if self._oracle.is_truncated(run_id) and _is_cut_off(piece):
                continue
            stop = self._oracle.requests(run_id, 0, head)[:1] if plugin.is_broken else []
            parked = piece.get("parked", {}).get("M", {})
            expected = (stop[0][0], stop[0][1] - 1) if stop else (0, head)
            if (_number(parked, "sequence"), _number(piece, "sequence")) != expected:
                yield f"{plugin} should be parked at, and folded up to {expected}, but is {piece}"
            if _number(piece, "version") != plugin.version or "outdated" in piece:
                yield f"{plugin} has a slice of another version, or of another run: {piece}"

    def lacks_record(self, run_id: str) -> bool:
        """Return whether the log has a record that the state was folded without. A parked run may be: it waits as it is."""
        found = self._states.get({"run_id": {"S": run_id}})
        item = found.item if found else {}
        if item.keys() & {"parked", "deleted_at"} or self._oracle.is_truncated(run_id):
            return False
        return self._oracle.has_record(run_id) and not self._oracle.has_folded_record(item)

    def is_parked(self, run_id: str) -> bool:
        found = self._states.get({"run_id": {"S": run_id}})
        return found is not None and "parked" in found.item

    def is_swept(self, run_id: str) -> bool:
        """Return whether a sweep looks at a run however old it is: it is parked, or active."""
        found = self._states.get({"run_id": {"S": run_id}})
        item = found.item if found is not None else {}
        is_active = "created_at" in item and item["status"]["S"] not in {"Completed", "Failed", "Cancelled"}
        return is_active or "parked" in item

    def is_parked_as_deadly(self, run_id: str) -> bool:
        found = self._states.get({"run_id": {"S": run_id}})
        parked = found.item.get("parked", {}).get("M", {}) if found is not None else {}
        return parked.get("error") == {"S": "ProcessKilled"}

    def is_known_to_be_diverged(self, run_id: str) -> bool:
        """Return whether a run is parked as one whose log holds another history, or seen to be ahead of its log."""
        found = self._states.get({"run_id": {"S": run_id}})
        item = found.item if found is not None else {}
        is_ahead = _number(item, "sequence") > self._oracle.head(run_id) > 0
        return is_ahead or item.get("parked", {}).get("M", {}).get("error") == {"S": "LogDivergedError"}

    def has_parked_slice(self, run_id: str) -> bool:
        found = self._states.get({"run_id": {"S": run_id}})
        pieces = found.item.get("extensions", {}).get("M", {}) if found is not None else {}
        return any("M" in piece["M"].get("parked", {}) for piece in pieces.values())

    def is_deleted(self, run_id: str) -> bool:
        found = self._states.get({"run_id": {"S": run_id}})
        return self._oracle.is_deleted(run_id) or (found is not None and "deleted_at" in found.item)

    def lost(self, run_id: str) -> int:
        """Count the events of a run's log that its state should cover and doesn't."""
        found = self._states.get({"run_id": {"S": run_id}})
        if self._oracle.is_deleted(run_id) or (found is not None and found.item.keys() & {"deleted_at", "parked"}):
            return 0
        return self._oracle.head(run_id) - (_number(found.item, "sequence") if found else 0)


def _number(item: Item | None, name: str) -> int:
    return int(item[name]["N"]) if item and name in item else 0
