"""What each run's state has to be: the plain fold of its log, written down a second time, and as simply as can be.

It shares no code with what it judges. Which events can't be folded it does not find out, it is told: whoever put one into a log
says so. It judges every write to the state table, and the whole at the end.
"""

from __future__ import annotations

import copy
import json
import zlib
from collections import deque
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from tests.simulation.versions import NEW, OLD, PLUGINS, factor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.fake.table import FakeTable

    Item = dict[str, Any]

ALWAYS = 0
"""Instead of a version: an event that no version can fold."""

_KNOWN_FINISHES = {"stop", "tool_calls", "length", "content_filter", "error"}


@dataclass(slots=True)
class Fold:
    """The fold of a log up to `sequence`."""

    version: int
    sequence: int = 0
    session: str | None = None
    status: str = "Pending"
    provider: str | None = None
    model: str | None = None
    metadata: Any = None
    iteration: int = 0
    tokens: tuple[int, int] = (0, 0)
    finish: str | None = None
    error: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    ended_at: str | None = None
    waits: dict[str, Any] | None = None
    iterations: int = 0
    recorded: int = 0
    requests: int = 0
    answers: int = 0
    is_waiting: bool = False
    """What the extensions know of the run, besides its tokens."""

    pending: deque[dict[str, Any]] = field(default_factory=deque)
    """Events of the last item read that lie behind `sequence`."""

    def begin(self, record: dict[str, Any]) -> None:
        self.session, self.provider, self.model = record["session_id"], record["provider"], record["model"]
        self.metadata = record.get("metadata")
        self.created_at, self.updated_at = _canonical(record["created_at"]), record["created_at"]

    def apply(self, event: dict[str, Any]) -> None:
        self.sequence += 1
        self.created_at = self.created_at or _canonical(event["timestamp"])
        self.updated_at = event["timestamp"]
        match event["type"]:
            case "RunStarted":
                self.status = "SessionLoaded"
                self.session = self.session or event["session_id"]
                self.provider, self.model = event["provider"], event["model"]
            case "ModelStarted":
                self.status = "CallingModel"
                self.iteration = event["iteration"] * factor(self.version)
                self.is_waiting = True
            case "TextDelta":
                self.answers += self.is_waiting
                self.is_waiting = False
            case "UsageRecorded":
                usage = event["usage"]
                self.tokens = self.tokens[0] + usage["input_tokens"], self.tokens[1] + usage["output_tokens"]
                self.iterations += self.iteration
                self.recorded += self.metadata is not None
            case "approvals.Requested":
                self.requests += 1
            case "RunCompleted":
                self.status, self.finish = "Completed", event["finish_reason"]
            case "RunFailed":
                self.status, self.error = "Failed", event["error"]
            case "RunCancelled":
                self.status = "Cancelled"
        self._end_or_wait(event)

    def _end_or_wait(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "RunStarted" | "ModelStarted":
                self.ended_at = self.waits = None
            case "RunCompleted" | "RunFailed" | "RunCancelled":
                self.ended_at, self.waits = _canonical(event["timestamp"]), None
            case "agent.Resumed":
                self.waits = None
            case "agent.Paused" if self.ended_at is None:
                self.waits = event

    def differences(self, item: Item) -> list[str]:
        """Name the attributes in which a state item isn't this."""
        return [
            f"{name} is {item.get(name)}, expected {expected}"
            for name, expected in self._attributes()
            if item.get(name) != expected
        ]

    def slice(self, version: int) -> Item:
        """Return the state of an extension's slice."""
        counts = {"tokens": self.tokens[0] * version, "iterations": self.iterations}
        counts |= {"recorded": self.recorded, "requests": self.requests, "answers": self.answers}
        numbers = {name: {"N": str(count)} for name, count in counts.items()}
        return {"M": numbers | {"is_waiting": {"BOOL": self.is_waiting}}}

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        texts = ("session", "status", "provider", "model", "error", "created_at", "updated_at", "ended_at")
        names = {"session": "session_id", "error": "last_error"}
        for name in texts:
            value = getattr(self, name)
            yield names.get(name, name), None if value is None else {"S": value}
        known = self.finish is None or self.finish in _KNOWN_FINISHES
        finish: Any = None if self.finish is None else {"S": self.finish}
        yield "last_finish", finish if known else {"M": {"unknown": finish}}
        yield from self._what_it_waits_for()
        yield "metadata", None if self.metadata is None else {"M": {"of": {"S": self.metadata["of"]}}}
        yield "iteration", {"N": str(self.iteration)}
        yield "event_count", {"N": str(self.sequence)}
        counts = ("input_tokens", self.tokens[0]), ("output_tokens", self.tokens[1]), ("total_tokens", sum(self.tokens))
        yield "total_usage", {"M": {name: {"N": str(count)} for name, count in counts}}

    def _what_it_waits_for(self) -> Iterator[tuple[str, Any]]:
        since = pause = None
        if self.waits is not None:
            since = {"S": _canonical(self.waits["timestamp"])}
            pending = [{"S": each} for each in self.waits["pending"]]
            pause = {"M": {"since": since, "reason": {"S": self.waits["reason"]}, "pending": {"L": pending}}}
        yield "waiting_since", since
        yield "waiting", pause


class Oracle:
    """Knows the logs of all runs, as they lie in the event table, and what can't be folded in them."""

    def __init__(self, log: FakeTable) -> None:
        self._log = log
        self._folds: dict[tuple[str, int, bool, str], Fold] = {}
        self._poison: dict[str, dict[int, int]] = {}
        self._expired: dict[tuple[str, int], Item] = {}
        self._kept: dict[str, Fold] = {}
        self._recorded: set[str] = set()
        self.unjudged: set[str] = set()
        """Runs whose logs were restored, until somebody mends their states."""

        self.broken: set[str] = set()
        """Runs whose state items can't be read, until they are written again."""

        self.cut: set[str] = set()
        """Runs whose logs were restored."""

        self.deadly: set[str] = set()
        self.healed_by_version: set[str] = set()

    def poisoned(self, run_id: str, sequence: int, version: int = ALWAYS) -> None:
        """Take note of an event that a version, or none, can fold."""
        self._poison.setdefault(run_id, {})[sequence] = version
        if version != ALWAYS:
            self.healed_by_version.add(run_id)

    @property
    def poisoned_runs(self) -> set[str]:
        return set(self._poison)

    def stops_at(self, run_id: str, version: int) -> int | None:
        """Return the first position at which a version has to park a run, None where it can fold all."""
        positions = (each for each, of in self._poison.get(run_id, {}).items() if of in {ALWAYS, version})
        return min(positions, default=None)

    # ------------------------------------------------------------ logs without their beginning

    def expired(self, item: Item) -> None:
        """Take note of an item that has left the log: the state covers it for ever."""
        self._expired[item["run_id"]["S"], int(item["sequence"]["N"])] = item

    def truncate(self, state: Item) -> None:
        """Let a run be one that can't be folded from its beginning again, from a state item on.

        From here on each event is folded once, by whoever comes to it first, whatever its version; that is noted.
        """
        run_id, sequence = state["run_id"]["S"], int(state["sequence"]["N"])
        if run_id not in self._kept:
            version = int(state["reducer_version"]["N"])
            fold = self._fold(run_id, version, sequence, with_record=self.has_folded_record(state))
            self._kept[run_id] = copy.deepcopy(fold)

    def is_truncated(self, run_id: str) -> bool:
        return run_id in self._kept

    # ------------------------------------------------------------ tables that were restored

    def forget(self, run_id: str) -> None:
        """Forget what was known of a run: it is another one now, or its state is an earlier one."""
        self._recorded.discard(run_id)
        for key in [key for key in self._folds if key[0] == run_id]:
            del self._folds[key]

    # ------------------------------------------------------------ judging

    def is_deleted(self, run_id: str) -> bool:
        """Return whether a run's log has been deleted."""
        item = self._item(run_id, 0)
        return item is not None and "deleted_at" in item

    def has_record(self, run_id: str) -> bool:
        return self._item(run_id, 0) is not None

    @staticmethod
    def has_folded_record(item: Item) -> bool:
        """Return whether a state item says that its run's record was folded."""
        return item.get("has_record") == {"BOOL": True}

    def log(self, run_id: str) -> dict[int, str | None]:
        """Return what tells the events of a run's log apart, by sequence: all that it ever held, if the run wasn't deleted."""
        partition = self._log.partitions.get(run_id)
        items = [each.item for each in partition.items] if partition is not None else []
        items += (item for (of, _), item in self._expired.items() if of == run_id)
        return {
            sequence: event.get("uid")
            for item in items
            for sequence, event in enumerate(_readable(item), int(item["sequence"]["N"]))
        }

    def head(self, run_id: str) -> int:
        """Return the last position of a run's log."""
        partition = self._log.partitions.get(run_id)
        items = (each.item for each in reversed(partition.items)) if partition is not None else iter(())
        last = next((item for item in items if "deleted_at" not in item), None)
        if last is None:
            return 0
        return int(last["sequence"]["N"]) + int(last.get("count", {"N": "1"})["N"]) - 1

    def judge(self, item: Item, before: Item | None = None, writer: int | None = None) -> list[str]:
        """Return what is wrong with a state item, as the fold of its run's log up to the position it says.

        `before` is the item before it was written, `writer` the version of the reducer of who wrote it, where one did now.
        """
        run_id, sequence, version = item["run_id"]["S"], int(item["sequence"]["N"]), int(item["reducer_version"]["N"])
        if run_id in self.unjudged or self.is_deleted(run_id):
            return []
        if sequence > self.head(run_id):
            return [f"sequence is {sequence}, the log has {self.head(run_id)}"]
        if run_id in self._kept:
            return self._judge_truncated(item, item if before is None else before, writer)
        stop = self.stops_at(run_id, version)
        if stop is not None and sequence >= stop:
            return [f"sequence is {sequence}, but version {version} can't fold {stop}"]
        has_record = self.has_folded_record(item)
        wrong = self._fold(run_id, version, sequence, with_record=has_record).differences(item)
        if has_record:
            self._recorded.add(run_id)
        elif run_id in self._recorded:
            wrong.append("it was folded with its record before, and isn't now")
        pieces = item.get("extensions", {}).get("M", {})
        for name in PLUGINS:
            if name in pieces:
                wrong += self._judge_slice(item, name, pieces[name]["M"])
        return wrong

    def _judge_truncated(self, item: Item, before: Item, writer: int | None) -> list[str]:
        """Return what is wrong with the state of a run whose log has lost its beginning: it goes on from what it was.

        So do its slices; those that would have to begin again stay as they were.
        """
        fold = self._kept[item["run_id"]["S"]]
        fold.version = writer or fold.version
        pieces, former = (each.get("extensions", {}).get("M", {}) for each in (item, before))
        expected: dict[str, Item] = {}
        for sequence, name in sorted((int(piece["M"]["sequence"]["N"]), name) for name, piece in pieces.items()):
            if fold.sequence <= sequence <= int(item["sequence"]["N"]):
                self._go_on(fold, item["run_id"]["S"], sequence)
                expected[name] = fold.slice(int(pieces[name]["M"]["version"]["N"]))
        self._go_on(fold, item["run_id"]["S"], int(item["sequence"]["N"]))
        wrong = fold.differences(item)
        for name, piece in ((name, pieces[name]["M"]) for name in PLUGINS if name in pieces):
            if piece["state"] == expected.get(name):
                continue
            blank = {"state": Fold(OLD).slice(int(piece["version"]["N"])), "sequence": {"N": "0"}}
            was = former[name]["M"] if name in former else blank
            if any(piece[each] != was[each] for each in ("state", "sequence")):
                wrong.append(f"{name} of a log without beginning went from {was} to {piece}")
        return wrong

    def _judge_slice(self, item: Item, name: str, piece: Item) -> list[str]:
        """Return what is wrong with a slice, as the fold of the log up to the position that it says.

        Its extension saw the run as the core has it now, as it would go on from there; or as it was once, where it says so.
        """
        run_id, sequence = item["run_id"]["S"], int(piece["sequence"]["N"])
        if "outdated" in piece and run_id in self.cut:
            return []  # of the history that the log had before
        if sequence > int(item["sequence"]["N"]):
            return [f"{name} is at {sequence}, the core at {item['sequence']['N']}"]
        if "M" in piece.get("parked", {}):
            at = int(piece["parked"]["M"]["sequence"]["N"])
            if self.requests(run_id, sequence, at) != [(at, sequence + 1)]:
                return [f"{name} is parked at {at}, but folded up to {sequence}"]
        runs = [(int(item["reducer_version"]["N"]), self.has_folded_record(item))]
        runs = [*product((OLD, NEW), (False, True))] if "outdated" in piece else runs
        folds = (self._fold(run_id, reducer, sequence, with_record=seen, whose=name) for reducer, seen in runs)
        expected = [fold.slice(int(piece["version"]["N"])) for fold in folds]
        return [] if piece["state"] in expected else [f"{name} at {sequence} is {piece['state']}, expected {expected}"]

    def requests(self, run_id: str, after: int, last: int) -> list[tuple[int, int]]:
        """Return the requests behind one position and up to another: the position of each, and where its commit begins."""
        found, begin = [], after + 1
        while begin <= last and (item := self._item(run_id, begin)) is not None:
            events = list(enumerate(_events(item), begin))
            found += [(at, begin) for at, event in events if event["type"] == "approvals.Requested" and at <= last]
            begin += len(events)
        return found

    def _fold(self, run_id: str, version: int, sequence: int, *, with_record: bool, whose: str = "core") -> Fold:
        """Return the fold up to a position. It goes on from the last one asked for, which rarely lies behind."""
        record = self._item(run_id, 0) if with_record else None
        key = run_id, version, record is not None, whose
        fold = self._folds.get(key)
        if fold is None or fold.sequence > sequence:
            fold = self._folds[key] = Fold(version)
            if record is not None:
                fold.begin(json.loads(record["record"]["S"]))
        self._go_on(fold, run_id, sequence)
        return fold

    def _go_on(self, fold: Fold, run_id: str, sequence: int) -> None:
        while fold.sequence < sequence:
            if not fold.pending:
                item = self._item(run_id, fold.sequence + 1)
                if item is None:
                    raise AssertionError(f"the log of {run_id} has nothing at {fold.sequence + 1}")
                fold.pending.extend(_events(item))
            fold.apply(fold.pending.popleft())

    def _item(self, run_id: str, position: int) -> Item | None:
        found = self._log.get({"run_id": {"S": run_id}, "sequence": {"N": str(position)}})
        return found.item if found else self._expired.get((run_id, position))


def _events(item: Item) -> list[dict[str, Any]]:
    events = item["events"]
    try:
        found: list[dict[str, Any]] = json.loads(zlib.decompress(events["B"]) if "B" in events else events["S"])
    except (ValueError, zlib.error):
        return []
    return found


def _readable(item: Item) -> list[dict[str, Any]]:
    """Return a commit's events, as far as there are any to be read."""
    if "events" not in item:
        return []
    return [event if isinstance(event, dict) else {} for event in _events(item)]


def _canonical(moment: str) -> str:
    """Agents write microseconds, or whole seconds; what sorts has nine digits."""
    second, _, fraction = moment.removesuffix("Z").partition(".")
    return f"{second}.{fraction:0<9}Z"
