"""What clients were told of their appends, held against the log that is there in the end: as Jepsen does with databases.

A client asks for an append and hears that it was acknowledged, with the last sequence, or refused, with the sequence at which the
log ended instead; or it hears neither, and the append is unclear. Of each history of a run has to hold:

- What was acknowledged is in the log once, in order, up to the sequence that was returned.
- What was refused is not there; of an append that went as several commits, no more than it said.
- What is unclear is there once or not at all; of several commits, the first ones.
- One commit's events lie side by side, and are there together or not at all.
- What was asked for after something else had been answered lies behind that: whoever asked, and so in each client's own order.
- An append that expected a sequence lies right behind it. One that was refused was told a sequence at which the log did end
  while it waited: it had been written by then, and what was acknowledged before lies no further on.

So the appends of a run can be put into one order that explains every answer: each happened at once, between question and answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(slots=True, kw_only=True)
class Call:
    """One append, as its client knows it. `events` are what tells them apart, `is_one_commit` that they weren't cut.

    `ended` is when an answer came, infinity where none did. `last` is the sequence that was returned. `refused_at` is where the
    log ended instead of at `expected`, and `appended` how many of the events were there by then.
    """

    run_id: str
    client: str
    events: Sequence[str]
    began: float
    is_one_commit: bool = True
    expected: int | None = None
    ended: float = inf
    last: int | None = None
    refused_at: int | None = None
    appended: int = 0
    is_given_up: bool = False

    @property
    def is_open(self) -> bool:
        """Whether its client still means to ask again."""
        return self.ended == inf and not self.is_given_up

    def acknowledge(self, last: int, now: float) -> None:
        self.last, self.ended = last, now

    def refuse(self, actual: int, appended: int, now: float) -> None:
        self.refused_at, self.appended, self.ended = actual, appended, now

    def __str__(self) -> str:
        return f"append {self.events[0]} of {len(self.events)} events by {self.client}"


@dataclass(slots=True)
class History:
    """The calls of all runs, as they were begun."""

    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    creating: Counter[str] = field(default_factory=Counter)
    """How many clients are creating a run just now."""

    def begin(self, call: Call) -> Call:
        self.calls[call.run_id].append(call)
        return call

    def is_open(self, run_id: str) -> bool:
        """Return whether somebody may append again what may be in the run's log already."""
        return self.creating[run_id] > 0 or any(call.is_open for call in self.calls[run_id])


def violations(calls: Iterable[Call], log: Mapping[int, str | None]) -> list[str]:
    """Return what the log of a run has that its clients' calls don't explain, or lacks.

    `log` has the event at each sequence; None for one that none of these clients wrote.
    """
    calls = list(calls)
    places: dict[str, list[int]] = defaultdict(list)
    for sequence, event in sorted(log.items()):
        if event is not None:
            places[event].append(sequence)
    twice = [f"event {event} is at {' and at '.join(map(str, at))}" for event, at in places.items() if len(at) > 1]
    if twice:
        return twice
    there = {id(call): [places[event][0] for event in call.events if event in places] for call in calls}
    wrong = [f"{call} {what}" for call in calls for what in _misplaced(call, places, there[id(call)])]
    return wrong or [*_out_of_order(calls, there), *_wrongly_refused(calls, there)]


def _misplaced(call: Call, places: Mapping[str, list[int]], there: list[int]) -> Iterator[str]:
    """Say what is wrong with where the events of one call are."""
    count = len(there)
    if any(event not in places for event in call.events[:count]) or there != sorted(there):
        yield f"is there in parts, at {there}"
    elif call.last is not None and (count < len(call.events) or there[-1] != call.last):
        yield f"returned {call.last}, but is at {there}"
    elif call.refused_at is not None and count != call.appended:
        yield f"was refused after {call.appended}, but is at {there}"
    elif call.is_one_commit and count not in {0, len(call.events)}:
        yield f"was one commit, but of it there is what is at {there}"
    elif (call.is_one_commit or call.expected is not None) and there != list(
        range(there[0], there[0] + count) if there else []
    ):
        yield f"does not lie side by side: at {there}"
    elif call.expected is not None and there and there[0] != call.expected + 1:
        yield f"expected {call.expected}, but is at {there}"


def _out_of_order(calls: Iterable[Call], there: Mapping[int, list[int]]) -> Iterator[str]:
    """Find calls that lie before what had been answered when they were begun."""
    for call, before in _with_last_answered(calls):
        places = there[id(call)]
        if before is not None and places and places[0] <= (before.last or 0):
            yield f"{call} began after {before} had returned {before.last}, but is at {places}"


def _wrongly_refused(calls: Sequence[Call], there: Mapping[int, list[int]]) -> Iterator[str]:
    """Find calls that were told of an end that the log did not have while they waited."""
    writers = {place: call for call in calls for place in there[id(call)]}
    for call, before in _with_last_answered(calls):
        if call.refused_at is None:
            continue
        if before is not None and call.refused_at < (before.last or 0):
            yield f"{call} was refused at {call.refused_at}, but began after {before} had returned {before.last}"
        writer = writers.get(call.refused_at)
        if writer is not None and writer.began > call.ended:
            yield f"{call} was refused at {call.refused_at}, which {writer} wrote later"
        if call.expected is not None and call.refused_at == call.expected + call.appended:
            yield f"{call} was refused where it expected to be"


def _with_last_answered(calls: Iterable[Call]) -> Iterator[tuple[Call, Call | None]]:
    """Return each call with the one furthest on of those that had been acknowledged before it was begun."""
    calls = list(calls)
    answered = sorted((call for call in calls if call.last is not None), key=lambda call: call.ended)
    at, furthest = 0, None
    for call in sorted(calls, key=lambda call: call.began):
        while at < len(answered) and answered[at].ended < call.began:
            if furthest is None or (answered[at].last or 0) > (furthest.last or 0):
                furthest = answered[at]
            at += 1
        yield call, furthest
