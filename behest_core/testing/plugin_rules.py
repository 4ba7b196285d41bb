"""The rules of `conformance`, one function each: what of a log breaks the rule, or None.

A problem says which rule, of which extension, and what happened; `conformance` finds the fewest events that show it.
"""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from behest_core.fold.dispatch import CORE
from behest_core.fold.rules import fold
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.events import type_name
from behest_core.model.limits import EXTENSION_BYTES, EXTENSIONS_BYTES
from behest_core.model.state import RunState
from behest_core.plugins.loading import Plugins
from behest_core.plugins.panels import PanelInput, Place, RunsInput
from behest_core.testing.checked_plugin import RECORD, Log, Problem, Subject, canonical, differing, folded_with
from behest_core.testing.given_when_then import commit_of, recorded, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from behest_core.model.state import ExtensionSlice

CAP: Final = "its state stays under its cap"
_OF_RUNS: Final[tuple[Place, ...]] = ("runs", "session", "health")
_NONSENSE: Final = {"nonsense": [None]}


def storable(subject: Subject, log: Log) -> Problem | None:
    """No valid event parks a slice, the state can be stored, and stays under its cap."""
    state = subject.folded(log)
    for name, piece in state.extensions.items():
        if piece.parked is not None:
            return _why_parked(subject, name, piece)
    for meddling in subject.seen:
        return Problem("it never changes an event", f"extension {meddling.extension}", meddling.what)
    for name, piece in stored(state).extensions.items():
        if canonical(piece.state) != canonical(state.extensions[name].state):
            return Problem("its state can be stored", f"extension {name}", "comes back from the table as another state")
    return None


def _why_parked(subject: Subject, name: str, piece: ExtensionSlice) -> Problem:
    who, parked = f"extension {name}", piece.parked
    assert parked is not None  # noqa: S101 (for the type checker)
    where = f"is parked at sequence {parked.sequence}"
    for meddling in subject.seen:
        if meddling.extension == name and meddling.is_raised:
            rule = "no valid event parks its slice"
            if isinstance(meddling.error, AttributeError) and "can't change the run" in str(meddling.error):
                rule = "it never changes the run"
            return Problem(rule, who, f"{where}: {meddling.what}")
    if parked.error == "StateTooLargeError":
        caps = f"the caps are {EXTENSION_BYTES:,} bytes, and {EXTENSIONS_BYTES:,} for all extensions of a run"
        return Problem(CAP, who, f"{where}, its state is too large; {caps}")
    rule = "its state can be stored" if parked.error == "InvalidValueError" else "no valid event parks its slice"
    return Problem(rule, who, f"{where} by {parked.error}: {parked.message}")


def read_only(subject: Subject, log: Log) -> Problem | None:
    """The core's state is the same with the plugin as without."""
    state = subject.folded(log)
    state.extensions = {}
    alone = subject.folded(log, CORE)
    for field in RunState.__struct_fields__:
        if getattr(state, field) != getattr(alone, field):
            return Problem("it never changes the run", f"plugin {subject.plugin.name}", f"changed the run's {field}")
    return None


def repeatable(subject: Subject, log: Log) -> Problem | None:
    """The same log gives the same bytes, folded again too; what comes twice changes nothing."""
    first, second = subject.folded(log), subject.folded(log)
    problem = differing("the same log gives the same state", "folded twice", first, second)
    if problem is not None:
        return problem
    again = fold(stored(first), [commit_of(1, log[:1])], subject.dispatch)
    if again.changed or again.state is None:
        return Problem("what comes twice changes nothing", f"plugin {subject.plugin.name}", "folded a duplicate")
    behind = stored(second)
    behind.extensions = {}
    commits = [RECORD, *(commit_of(sequence, [event]) for sequence, event in enumerate(log, start=1))]
    caught_up = folded_with(behind, commits, subject.dispatch)
    return differing("installed later it catches up with the same state", "caught up", first, caught_up)


def switched(subject: Subject, log: Log) -> Problem | None:
    """What `when` returns depends on the state alone, and changes nothing: it may be asked at any time."""
    return differing(
        "when depends on the state alone",
        "asked only when the state may have changed",
        subject.folded(log),
        subject.folded(log, subject.switching),
    )


def any_batches(seed: int, subject: Subject, log: Log) -> Problem | None:
    """However a log is cut into commits and batches, stored in between, the state is the same."""
    whole, random = subject.folded(log), Random(seed)
    state, sequence = folded_with(None, [RECORD], subject.dispatch), 1
    while sequence <= len(log):
        commits = []
        for _ in range(random.randint(1, 3)):
            events = log[sequence - 1 : sequence - 1 + random.randint(1, 4)]
            if events:
                commits.append(commit_of(sequence, events))
            sequence += len(events)
        try:
            state = folded_with(stored(state), commits, subject.dispatch)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            return Problem(
                "its state can be stored",
                f"plugin {subject.plugin.name}",
                f"can't read its stored state again: {error}",
            )
        for name, piece in state.extensions.items():
            if piece.parked is not None:
                return _why_parked(subject, name, piece)
    return differing("any batching gives the same state", "cut into other commits and batches", whole, state)


def unknown(subject: Subject, log: Log) -> Problem | None:
    """Fields that no class names change nothing; types that no class names do no harm."""
    strange = [msgspec.json.encode({**json.loads(event), "x_unknown": _NONSENSE}) for event in log]
    problem = differing(
        "unknown fields change nothing",
        "with a field x_unknown in each event",
        subject.folded(log),
        subject.folded(strange),
    )
    if problem is not None:
        return problem
    stranger = b'{"type":"conformance.Unknown","timestamp":"2026-01-31T00:00:00Z"}'
    for name, piece in subject.folded([each for event in log for each in (stranger, event)]).extensions.items():
        if piece.parked is not None:
            return _why_parked(subject, name, piece)._replace(rule="unknown types do no harm")
    return None


def malformed(seed: int, subject: Subject, log: Log) -> Problem | None:
    """A malformed event parks no more than the slices that listen to it, and its handlers never see it."""
    place = Random(seed).randrange(len(log))
    for wrong in _made_wrong(log[place]):
        broken = [*log[:place], wrong, *log[place + 1 :]]
        name = json.loads(wrong)["type"]
        state = subject.folded(broken)
        alone = subject.folded(broken, CORE)
        who = f"plugin {subject.plugin.name}"
        if state.parked != alone.parked or state.sequence != alone.sequence:
            return Problem("a malformed event parks its slice alone", who, f"stopped the run at a malformed {name}")
        listening = {
            subject.dispatch.extensions[place_].name
            for listened, placed in subject.dispatch.listeners.items()
            if type_name(listened) == name
            for place_, _, _ in placed
        }
        for extension, piece in state.extensions.items():
            if piece.parked is not None and extension not in listening:
                return _why_parked(subject, extension, piece)._replace(rule="a malformed event parks its slice alone")
    return None


def _made_wrong(event: bytes) -> Iterator[bytes]:
    fields = json.loads(event)
    for name in fields.keys() - {"type", "timestamp"}:
        yield msgspec.json.encode({**fields, name: _NONSENSE})
        yield msgspec.json.encode({each: value for each, value in fields.items() if each != name})


def new_shapes(subject: Subject, log: Log) -> Problem | None:
    """Upcasters leave events that have the shape of their class as they are."""
    for name, event, upcaster in _upcast(subject, log):
        if event in subject.given:
            continue
        new = json.loads(event)
        try:
            made = upcaster(deepcopy(new))
        except Exception as error:  # noqa: BLE001 (a plugin's upcaster may raise anything)
            return Problem("upcasters leave new shapes as they are", f"the upcaster of {name}", f"raised {error!r}")
        if made != new:
            return Problem("upcasters leave new shapes as they are", f"the upcaster of {name}", f"made {made}")
    return None


def drawable(subject: Subject, log: Log) -> Problem | None:
    """Its panels can be drawn of every run, of one without its slice too, and drawing changes nothing."""
    state = stored(subject.folded(log))
    without = stored(state)
    without.extensions = {}
    before = msgspec.json.encode(state)
    rule, alone = "its panels can be drawn", Plugins(used=(subject.plugin,))
    for run, how in ((state, "of this log"), (without, "of a run without a slice")):
        seen = PanelInput(state=run, summary=alone.summary(run), events=lambda: recorded(log, state))
        runs = RunsInput(states=[run], summaries=[seen.summary])
        drawn = [
            *alone.panels("run", seen),
            *(each for place in _OF_RUNS for given in (runs, RunsInput()) for each in alone.panels(place, given)),
        ]
        for each in drawn:
            if each.error is not None:
                return Problem(rule, f"panel {each.title!r}", f"{how}: {each.error}")
    if msgspec.json.encode(state) != before:
        return Problem(rule, f"plugin {subject.plugin.name}", "changed the state that it drew")
    return None


def upcast_twice(subject: Subject, log: Log) -> Problem | None:
    """What an upcaster made, it leaves as it is; and its class can be read from it."""
    for name, event, upcaster in _upcast(subject, log):
        who = f"the upcaster of {name}"
        try:
            once = upcaster(json.loads(event))
            twice = upcaster(deepcopy(once))
            msgspec.convert(once, subject.dispatch.event_types[name])
        except DECODE_ERRORS as error:
            return Problem("upcasters give the shape of the class", who, f"made what can't be read: {error}")
        except Exception as error:  # noqa: BLE001 (a plugin's upcaster may raise anything)
            return Problem("upcasters leave what they made as it is", who, f"raised {error!r}")
        if once != twice:
            return Problem("upcasters leave what they made as it is", who, f"made {once}, and {twice} of that")
    return None


def _upcast(subject: Subject, log: Log) -> Iterator[tuple[str, bytes, Callable[[dict[str, Any]], dict[str, Any]]]]:
    for event in log:
        name = json.loads(event)["type"]
        if name in subject.plugin.upcasters and name in subject.dispatch.event_types:
            yield name, event, subject.plugin.upcasters[name]
