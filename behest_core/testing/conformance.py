"""The rules that a plugin has to keep, and one call that checks them in the plugin's own tests.

    import behest_feedback

    def test_it_keeps_the_rules():
        check_plugin(behest_feedback)

    def test_stars_are_counted():
        given(behest_feedback, first).when(second).then(count=2)

The rules, each checked with the logs that are given and with logs drawn from a seeded generator:

- behest loads it: its hooks are known, and its names are not taken.
- No valid event parks a slice, the state can be stored, and stays under its cap.
- It never changes the run, nor an event that other plugins get after it.
- The same log gives the same state: twice, in any batches, folded again, and in another process with other hashes.
- What `when` returns for a state depends on the state alone, and changes nothing.
- Unknown fields change nothing, unknown types do no harm, and a malformed event parks no more than the slices that listen to it.
- Upcasters leave new shapes, and what they made, as it is.

A rule that is broken raises AssertionError with the rule, the extension, and the fewest events found that show it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from functools import partial, wraps
from importlib import import_module
from random import Random
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.decoding import DECODE_ERRORS, encode_event
from behest_core.model.events import CORE_EVENTS, type_name
from behest_core.model.json import as_stored
from behest_core.model.limits import EXTENSION_BYTES, EXTENSIONS_BYTES
from behest_core.model.record import encode_record
from behest_core.model.state import RunState
from behest_core.plugins.loading import Plugin, compiled
from behest_core.testing.drawn_events import CantDrawError, DrawnEvents
from behest_core.testing.given_when_then import RUN, commit_of, given, stored, used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from behest_core.fold.extension import Condition, ExtensionHandler, RunView
    from behest_core.model.events import Event, NewEvent
    from behest_core.model.state import ExtensionSlice

__all__ = ["check_plugin", "given"]

Log: TypeAlias = "list[bytes]"

_LOG_EVENTS: Final = 40
_LONG_LOG_EVENTS: Final = 2_000
_TRIES_TO_SHORTEN: Final = 200
_SHOWN: Final = 20
_SECONDS_OF_A_PROCESS: Final = 60
_CORE_NAMES: Final = frozenset(map(type_name, CORE_EVENTS))
_CAP: Final = "its state stays under its cap"
_NONSENSE: Final = {"nonsense": [None]}


class _Problem(NamedTuple):
    """A rule that a log breaks."""

    rule: str
    who: str
    what: str


class _Meddling(NamedTuple):
    """What a handler did that only the kit sees: raise, or change its event."""

    extension: str
    what: str
    is_raised: bool
    error: BaseException | None = None


def check_plugin(
    plugin: object, events: Iterable[NewEvent | Sequence[NewEvent]] = (), *, logs: int = 20, seed: int = 0
) -> None:
    """Assert that a plugin keeps the rules.

    `plugin` is a module or object with hook implementations. `events` are one log, or several as lists: what the plugin is
    about, events of old shapes, and examples of types that can't be made up. `logs` is how many logs of 40 events are drawn,
    beside one of 2,000; another `seed` draws others. Raises AssertionError.
    """
    subject = _Subject(used(plugin))
    given_logs = _logs_of(events)
    subject.given = frozenset(event for log in given_logs for event in log)
    try:
        drawn = _drawn(subject, given_logs, Random(seed), logs)
    except CantDrawError as error:
        raise AssertionError(f"no logs can be drawn for plugin {subject.plugin.name}: {error}") from error
    for rule in (_storable, _read_only, _repeatable, _switched, _unknown, partial(_malformed, seed)):
        for log in [*given_logs, *drawn]:
            _check(subject, log, rule)
    for log in [*given_logs, *drawn[:-1]]:
        _check(subject, log, partial(_any_batches, seed))
        _check(subject, log, _upcast_twice)
    for log in drawn[:-1]:
        _check(subject, log, _new_shapes)
    if isinstance(plugin, ModuleType):
        _check_elsewhere(subject, plugin, [*given_logs, *drawn[:-1]])


def _logs_of(events: Iterable[NewEvent | Sequence[NewEvent]]) -> list[Log]:
    one: Log = []
    several: list[Log] = []
    for each in events:
        if isinstance(each, list | tuple):
            several.append([encode_event(event) for event in each])
        else:
            one.append(encode_event(each))  # type: ignore[arg-type]  # what is no list is an event
    return [one, *several] if one else several


def _drawn(subject: _Subject, given_logs: list[Log], random: Random, logs: int) -> list[Log]:
    samples: dict[str, list[bytes]] = {}
    for event in [event for log in given_logs for event in log]:
        samples.setdefault(json.loads(event)["type"], []).append(event)
    draw = DrawnEvents(random, subject.dispatch.event_types, subject.favourites, samples)
    return [draw.log(_LOG_EVENTS) for _ in range(logs)] + [draw.log(_LONG_LOG_EVENTS)]


# ---------------------------------------------------------------- what is checked


class _Subject:
    """The plugin, compiled; its handlers watched."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.dispatch = compiled([plugin]).dispatch
        self.favourites = sorted({type_name(each) for each in [*plugin.event_types, *self.dispatch.listeners]})
        self.seen: list[_Meddling] = []
        self.given: frozenset[bytes] = frozenset()
        """Events that the plugin's author gave: they may have old shapes."""
        self.switching = compiled([plugin]).dispatch
        """As it is used. In the other, what a handler's `when` returns is asked for at each event."""
        self.dispatch.listeners = {
            listened: tuple((place, self._watched(place, handler, when), None) for place, handler, when in placed)
            for listened, placed in self.dispatch.listeners.items()
        }

    def _watched(self, place: int, handler: ExtensionHandler, when: Condition | None) -> ExtensionHandler:
        name = self.dispatch.extensions[place].name

        @wraps(handler)
        def watched(state: Any, event: Event, run: RunView) -> None:  # noqa: ANN401 (whatever the extension's is)
            before = msgspec.json.encode(event)
            try:
                if when is None or when(state):
                    handler(state, event, run)
            except BaseException as error:
                what = f"{handler.__name__} raised {error!r} at a {type_name(type(event))}"
                self.seen.append(_Meddling(name, what, is_raised=True, error=error))
                if not isinstance(error, Exception):  # it would end the process, and this one with it
                    raise RuntimeError(what) from error  # noqa: TRY004
                raise
            if msgspec.json.encode(event) != before:
                what = f"{handler.__name__} changed its {type_name(type(event))}"
                self.seen.append(_Meddling(name, what, is_raised=False))

        return watched

    def folded(self, log: Log, dispatch: Dispatch | None = None) -> RunState:
        """Fold a log in one commit for each event, as other plugins and a slow agent make it."""
        self.seen.clear()
        commits = [commit_of(sequence, [event]) for sequence, event in enumerate(log, start=1)]
        return _folded(None, [_RECORD, *commits], dispatch or self.dispatch)


_RECORD: Final = Commit(run_id=RUN.run_id, sequence=0, payload=encode_record(RUN))


def _folded(state: RunState | None, commits: Sequence[Commit], dispatch: Dispatch) -> RunState:
    folded = fold(state, commits, dispatch).state
    return folded or RunState(run_id=RUN.run_id)


def _check(subject: _Subject, log: Log, rule: Callable[[_Subject, Log], _Problem | None]) -> None:
    try:
        problem = rule(subject, log)
    except SystemExit as error:
        ended = _Problem("it never ends the process", f"plugin {subject.plugin.name}", f"raised {error!r}")
        raise AssertionError(_told(ended, log)) from error
    if problem is None:
        return
    if problem.rule != _CAP:  # it takes many events, and which doesn't matter
        log, problem = _shortened(lambda shorter: rule(subject, shorter), log, problem)
    raise AssertionError(_told(problem, log))


def _told(problem: _Problem, log: Log) -> str:
    lines = [f"  {number:>3}  {event.decode()}" for number, event in enumerate(log[:_SHOWN], start=1)]
    if len(log) > _SHOWN:
        lines.append(f"  and {len(log) - _SHOWN:,} more")
    return "\n".join([f"{problem.rule}: {problem.who} {problem.what}", "the fewest events found that show it:", *lines])


def _shortened(problem_of: Callable[[Log], _Problem | None], log: Log, problem: _Problem) -> tuple[Log, _Problem]:
    """Leave out events as long as the rule stays broken: halves first, then ever fewer."""
    size, tries = max(len(log) // 2, 1), 0
    while tries < _TRIES_TO_SHORTEN:
        start, was = 0, len(log)
        while start < len(log) and tries < _TRIES_TO_SHORTEN:
            shorter = log[:start] + log[start + size :]
            tries += 1
            found = problem_of(shorter) if shorter else None
            if found is not None and found.rule == problem.rule:
                log, problem = shorter, found
            else:
                start += size
        if size == 1 and len(log) == was:
            break
        size = max(size // 2, 1)
    return log, problem


# ---------------------------------------------------------------- rules


def _storable(subject: _Subject, log: Log) -> _Problem | None:
    """No valid event parks a slice, the state can be stored, and stays under its cap."""
    state = subject.folded(log)
    for name, piece in state.extensions.items():
        if piece.parked is not None:
            return _why_parked(subject, name, piece)
    for meddling in subject.seen:
        return _Problem("it never changes an event", f"extension {meddling.extension}", meddling.what)
    for name, piece in stored(state).extensions.items():
        if _canonical(piece.state) != _canonical(state.extensions[name].state):
            return _Problem(
                "its state can be stored", f"extension {name}", "comes back from the table as another state"
            )
    return None


def _why_parked(subject: _Subject, name: str, piece: ExtensionSlice) -> _Problem:
    who, parked = f"extension {name}", piece.parked
    assert parked is not None  # noqa: S101 (for the type checker)
    where = f"is parked at sequence {parked.sequence}"
    for meddling in subject.seen:
        if meddling.extension == name and meddling.is_raised:
            rule = "no valid event parks its slice"
            if isinstance(meddling.error, AttributeError) and "can't change the run" in str(meddling.error):
                rule = "it never changes the run"
            return _Problem(rule, who, f"{where}: {meddling.what}")
    if parked.error == "StateTooLargeError":
        caps = f"the caps are {EXTENSION_BYTES:,} bytes, and {EXTENSIONS_BYTES:,} for all extensions of a run"
        return _Problem(_CAP, who, f"{where}, its state is too large; {caps}")
    rule = "its state can be stored" if parked.error == "InvalidValueError" else "no valid event parks its slice"
    return _Problem(rule, who, f"{where} by {parked.error}: {parked.message}")


def _read_only(subject: _Subject, log: Log) -> _Problem | None:
    """The core's state is the same with the plugin as without."""
    state = subject.folded(log)
    state.extensions = {}
    alone = subject.folded(log, CORE)
    for field in RunState.__struct_fields__:
        if getattr(state, field) != getattr(alone, field):
            return _Problem("it never changes the run", f"plugin {subject.plugin.name}", f"changed the run's {field}")
    return None


def _repeatable(subject: _Subject, log: Log) -> _Problem | None:
    """The same log gives the same bytes, folded again too; what comes twice changes nothing."""
    first, second = subject.folded(log), subject.folded(log)
    problem = _differing("the same log gives the same state", "folded twice", first, second)
    if problem is not None:
        return problem
    again = fold(stored(first), [commit_of(1, log[:1])], subject.dispatch)
    if again.changed or again.state is None:
        return _Problem("what comes twice changes nothing", f"plugin {subject.plugin.name}", "folded a duplicate")
    behind = stored(second)
    behind.extensions = {}
    commits = [_RECORD, *(commit_of(sequence, [event]) for sequence, event in enumerate(log, start=1))]
    caught_up = _folded(behind, commits, subject.dispatch)
    return _differing("installed later it catches up with the same state", "caught up", first, caught_up)


def _switched(subject: _Subject, log: Log) -> _Problem | None:
    """What `when` returns depends on the state alone, and changes nothing: it may be asked at any time."""
    return _differing(
        "when depends on the state alone",
        "asked only when the state may have changed",
        subject.folded(log),
        subject.folded(log, subject.switching),
    )


def _any_batches(seed: int, subject: _Subject, log: Log) -> _Problem | None:
    """However a log is cut into commits and batches, stored in between, the state is the same."""
    whole, random = subject.folded(log), Random(seed)
    state, sequence = _folded(None, [_RECORD], subject.dispatch), 1
    while sequence <= len(log):
        commits = []
        for _ in range(random.randint(1, 3)):
            events = log[sequence - 1 : sequence - 1 + random.randint(1, 4)]
            if events:
                commits.append(commit_of(sequence, events))
            sequence += len(events)
        try:
            state = _folded(stored(state), commits, subject.dispatch)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            return _Problem(
                "its state can be stored",
                f"plugin {subject.plugin.name}",
                f"can't read its stored state again: {error}",
            )
        for name, piece in state.extensions.items():
            if piece.parked is not None:
                return _why_parked(subject, name, piece)
    return _differing("any batching gives the same state", "cut into other commits and batches", whole, state)


def _unknown(subject: _Subject, log: Log) -> _Problem | None:
    """Fields that no class names change nothing; types that no class names do no harm."""
    strange = [msgspec.json.encode({**json.loads(event), "x_unknown": _NONSENSE}) for event in log]
    problem = _differing(
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


def _malformed(seed: int, subject: _Subject, log: Log) -> _Problem | None:
    """A malformed event parks no more than the slices that listen to it, and its handlers never see it."""
    place = Random(seed).randrange(len(log))
    for wrong in _made_wrong(log[place]):
        broken = [*log[:place], wrong, *log[place + 1 :]]
        name = json.loads(wrong)["type"]
        state = subject.folded(broken)
        alone = subject.folded(broken, CORE)
        who = f"plugin {subject.plugin.name}"
        if state.parked != alone.parked or state.sequence != alone.sequence:
            return _Problem("a malformed event parks its slice alone", who, f"stopped the run at a malformed {name}")
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


def _new_shapes(subject: _Subject, log: Log) -> _Problem | None:
    """Upcasters leave events that have the shape of their class as they are."""
    for name, event, upcaster in _upcast(subject, log):
        if event in subject.given:
            continue
        new = json.loads(event)
        try:
            made = upcaster(deepcopy(new))
        except Exception as error:  # noqa: BLE001 (a plugin's upcaster may raise anything)
            return _Problem("upcasters leave new shapes as they are", f"the upcaster of {name}", f"raised {error!r}")
        if made != new:
            return _Problem("upcasters leave new shapes as they are", f"the upcaster of {name}", f"made {made}")
    return None


def _upcast_twice(subject: _Subject, log: Log) -> _Problem | None:
    """What an upcaster made, it leaves as it is; and its class can be read from it."""
    for name, event, upcaster in _upcast(subject, log):
        who = f"the upcaster of {name}"
        try:
            once = upcaster(json.loads(event))
            twice = upcaster(deepcopy(once))
            msgspec.convert(once, subject.dispatch.event_types[name])
        except DECODE_ERRORS as error:
            return _Problem("upcasters give the shape of the class", who, f"made what can't be read: {error}")
        except Exception as error:  # noqa: BLE001 (a plugin's upcaster may raise anything)
            return _Problem("upcasters leave what they made as it is", who, f"raised {error!r}")
        if once != twice:
            return _Problem("upcasters leave what they made as it is", who, f"made {once}, and {twice} of that")
    return None


def _upcast(subject: _Subject, log: Log) -> Iterator[tuple[str, bytes, Callable[[dict[str, Any]], dict[str, Any]]]]:
    for event in log:
        name = json.loads(event)["type"]
        if name in subject.plugin.upcasters and name in subject.dispatch.event_types:
            yield name, event, subject.plugin.upcasters[name]


# ---------------------------------------------------------------- comparing


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(as_stored(msgspec.to_builtins(value)), order="sorted")


def _states(state: RunState) -> dict[str, bytes]:
    return {name: _canonical(piece.state) for name, piece in stored(state).extensions.items()}


def _differing(rule: str, how: str, one: RunState, other: RunState) -> _Problem | None:
    ones, others = _states(one), _states(other)
    for name, state in ones.items():
        if others.get(name) != state:
            found = others.get(name, b"nothing").decode()
            return _Problem(rule, f"extension {name}", f"has {state.decode()}, and {how} {found}")
    return None


# ---------------------------------------------------------------- another process


def _check_elsewhere(subject: _Subject, module: ModuleType, logs: list[Log]) -> None:
    """Fold in a fresh interpreter with other hashes, where it can import the module."""
    here = [_states(subject.folded(log)) for log in logs]
    question = json.dumps({"module": module.__name__, "logs": [[event.decode() for event in log] for log in logs]})
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603 (this interpreter, and this module)
        [sys.executable, "-c", f"from {__name__} import _answer; _answer()"],
        input=question.encode(),
        capture_output=True,
        env=environment,
        timeout=_SECONDS_OF_A_PROCESS,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode().strip().splitlines()[-1:]
        raise AssertionError(f"it loads: a fresh interpreter can't fold with {module.__name__}: {' '.join(last)}")
    for log, states, answer in zip(logs, here, json.loads(done.stdout), strict=True):
        for name, state in states.items():
            if answer.get(name) != state.decode():
                what = f"has {state.decode()}, and in another process {answer.get(name)}"
                problem = _Problem("the same log gives the same state", f"extension {name}", what)
                raise AssertionError(_told(problem, log))


def _answer() -> None:
    question = json.loads(sys.stdin.buffer.read())
    subject = _Subject(used(import_module(question["module"])))
    logs = [[event.encode() for event in log] for log in question["logs"]]
    states = [_states(subject.folded(log)) for log in logs]
    answer = [{name: state.decode() for name, state in each.items()} for each in states]
    sys.stdout.write(json.dumps(answer))
