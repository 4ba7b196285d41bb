"""A plugin that is being checked: compiled, its handlers watched, and how two folds of it are compared."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.events import type_name
from behest_core.model.json import as_stored
from behest_core.model.record import encode_record
from behest_core.model.state import RunState
from behest_core.plugins.loading import Plugin, compiled
from behest_core.testing.given_when_then import RUN, commit_of, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.fold.dispatch import Dispatch
    from behest_core.fold.extension import Condition, ExtensionHandler, RunView
    from behest_core.model.events import Event

Log: TypeAlias = "list[bytes]"
"""Events as JSON objects, in order."""

RECORD: Final = Commit(run_id=RUN.run_id, sequence=0, payload=encode_record(RUN))
"""What each log begins with."""


class Problem(NamedTuple):
    """A rule that a log breaks."""

    rule: str
    who: str
    what: str


class Meddling(NamedTuple):
    """What a handler did that only the kit sees: raise, or change its event."""

    extension: str
    what: str
    is_raised: bool
    error: BaseException | None = None


class Subject:
    """The plugin, compiled; its handlers watched."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.dispatch = compiled([plugin]).dispatch
        self.favourites = sorted({type_name(each) for each in [*plugin.event_types, *self.dispatch.listeners]})
        self.seen: list[Meddling] = []
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
                self.seen.append(Meddling(name, what, is_raised=True, error=error))
                if not isinstance(error, Exception):  # it would end the process, and this one with it
                    raise RuntimeError(what) from error  # noqa: TRY004
                raise
            if msgspec.json.encode(event) != before:
                what = f"{handler.__name__} changed its {type_name(type(event))}"
                self.seen.append(Meddling(name, what, is_raised=False))

        return watched

    def folded(self, log: Log, dispatch: Dispatch | None = None) -> RunState:
        """Fold a log in one commit for each event, as other plugins and a slow agent make it."""
        self.seen.clear()
        commits = [commit_of(sequence, [event]) for sequence, event in enumerate(log, start=1)]
        return folded_with(None, [RECORD, *commits], dispatch or self.dispatch)


def folded_with(state: RunState | None, commits: Sequence[Commit], dispatch: Dispatch) -> RunState:
    """Return the state with these commits folded into it; of none, a blank one."""
    folded = fold(state, commits, dispatch).state
    return folded or RunState(run_id=RUN.run_id)


def canonical(value: object) -> bytes:
    """Return a slice's state as JSON, in one form for equal states."""
    return msgspec.json.encode(as_stored(msgspec.to_builtins(value)), order="sorted")


def states_of(state: RunState) -> dict[str, bytes]:
    """Return the slices' states, by extension, as they come back from the state table."""
    return {name: canonical(piece.state) for name, piece in stored(state).extensions.items()}


def differing(rule: str, how: str, one: RunState, other: RunState) -> Problem | None:
    """Return the first slice that two states of a run differ in, as a problem; `how` says how the other came about."""
    ones, others = states_of(one), states_of(other)
    for name, state in ones.items():
        if others.get(name) != state:
            found = others.get(name, b"nothing").decode()
            return Problem(rule, f"extension {name}", f"has {state.decode()}, and {how} {found}")
    return None
