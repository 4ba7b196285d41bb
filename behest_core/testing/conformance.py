"""The rules that a plugin has to keep, and one call that checks them in the plugin's own tests.

    import behest_feedback

    def test_it_keeps_the_rules():
        check_plugin(behest_feedback)

    def test_stars_are_counted():
        given(behest_feedback, first).when(second).then(count=2)

The rules, each checked with the logs that are given and with logs drawn from a seeded generator:

- behest loads it: its hooks are known, and its names are not taken. It does so as well without what behest's extras bring, such
  as typer, as the functions have none of that.
- No valid event parks a slice, the state can be stored, and stays under its cap.
- It never changes the run, nor an event that other plugins get after it.
- The same log gives the same state: twice, in any batches, folded again, and in another process with other hashes.
- What `when` returns for a state depends on the state alone, and changes nothing.
- Unknown fields change nothing, unknown types do no harm, and a malformed event parks no more than the slices that listen to it.
- Its panels can be drawn of every run, and of one that has no slice.
- Upcasters leave new shapes, and what they made, as it is.

A rule that is broken raises AssertionError with the rule, the extension, and the fewest events found that show it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from random import Random
from types import ModuleType
from typing import TYPE_CHECKING, Final

from behest_core.model.decoding import encode_event
from behest_core.plugins.as_deployed import required_by, without_extras
from behest_core.testing.checked_plugin import Log, Problem, Subject, states_of
from behest_core.testing.drawn_events import CantDrawError, DrawnEvents
from behest_core.testing.given_when_then import given, used
from behest_core.testing.plugin_rules import (
    CAP,
    any_batches,
    drawable,
    malformed,
    new_shapes,
    read_only,
    repeatable,
    storable,
    switched,
    unknown,
    upcast_twice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from behest_core.model.events import NewEvent

__all__ = ["check_plugin", "given"]

_LOG_EVENTS: Final = 40
_LONG_LOG_EVENTS: Final = 2_000
_TRIES_TO_SHORTEN: Final = 200
_SHOWN: Final = 20
_SECONDS_OF_A_PROCESS: Final = 60


def check_plugin(
    plugin: object, events: Iterable[NewEvent | Sequence[NewEvent]] = (), *, logs: int = 20, seed: int = 0
) -> None:
    """Assert that a plugin keeps the rules.

    `plugin` is a module or object with hook implementations. `events` are one log, or several as lists: what the plugin is
    about, events of old shapes, and examples of types that can't be made up. `logs` is how many logs of 40 events are drawn,
    beside one of 2,000; another `seed` draws others. Raises AssertionError.
    """
    subject = Subject(used(plugin))
    given_logs = _logs_of(events)
    subject.given = frozenset(event for log in given_logs for event in log)
    try:
        drawn = _drawn(subject, given_logs, Random(seed), logs)
    except CantDrawError as error:
        raise AssertionError(f"no logs can be drawn for plugin {subject.plugin.name}: {error}") from error
    for rule in (storable, read_only, repeatable, switched, drawable, unknown, partial(malformed, seed)):
        for log in [*given_logs, *drawn]:
            _check(subject, log, rule)
    for log in [*given_logs, *drawn[:-1]]:
        _check(subject, log, partial(any_batches, seed))
        _check(subject, log, upcast_twice)
    for log in drawn[:-1]:
        _check(subject, log, new_shapes)
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


def _drawn(subject: Subject, given_logs: list[Log], random: Random, logs: int) -> list[Log]:
    samples: dict[str, list[bytes]] = {}
    for event in [event for log in given_logs for event in log]:
        samples.setdefault(json.loads(event)["type"], []).append(event)
    draw = DrawnEvents(random, subject.dispatch.event_types, subject.favourites, samples)
    return [draw.log(_LOG_EVENTS) for _ in range(logs)] + [draw.log(_LONG_LOG_EVENTS)]


def _check(subject: Subject, log: Log, rule: Callable[[Subject, Log], Problem | None]) -> None:
    try:
        problem = rule(subject, log)
    except SystemExit as error:
        ended = Problem("it never ends the process", f"plugin {subject.plugin.name}", f"raised {error!r}")
        raise AssertionError(_told(ended, log)) from error
    if problem is None:
        return
    if problem.rule != CAP:  # it takes many events, and which doesn't matter
        log, problem = _shortened(lambda shorter: rule(subject, shorter), log, problem)
    raise AssertionError(_told(problem, log))


def _told(problem: Problem, log: Log) -> str:
    lines = [f"  {number:>3}  {event.decode()}" for number, event in enumerate(log[:_SHOWN], start=1)]
    if len(log) > _SHOWN:
        lines.append(f"  and {len(log) - _SHOWN:,} more")
    return "\n".join([f"{problem.rule}: {problem.who} {problem.what}", "the fewest events found that show it:", *lines])


def _shortened(problem_of: Callable[[Log], Problem | None], log: Log, problem: Problem) -> tuple[Log, Problem]:
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


# ---------------------------------------------------------------- another process


def _check_elsewhere(subject: Subject, module: ModuleType, logs: list[Log]) -> None:
    """Fold in a fresh interpreter with other hashes, and without behest's extras, where it can import the module."""
    here = [states_of(subject.folded(log)) for log in logs]
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
        where = "a fresh interpreter, without what behest's extras bring as in the functions,"
        raise AssertionError(f"it loads: {where} can't fold with {module.__name__}: {' '.join(last)}")
    for log, states, answer in zip(logs, here, json.loads(done.stdout), strict=True):
        for name, state in states.items():
            if answer.get(name) != state.decode():
                what = f"has {state.decode()}, and in another process {answer.get(name)}"
                problem = Problem("the same log gives the same state", f"extension {name}", what)
                raise AssertionError(_told(problem, log))


def _answer() -> None:
    question = json.loads(sys.stdin.buffer.read())
    with without_extras(required_by(question["module"])):
        subject = Subject(used(import_module(question["module"])))
    logs = [[event.encode() for event in log] for log in question["logs"]]
    states = [states_of(subject.folded(log)) for log in logs]
    answer = [{name: state.decode() for name, state in each.items()} for each in states]
    sys.stdout.write(json.dumps(answer))
