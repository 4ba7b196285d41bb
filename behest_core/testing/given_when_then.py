"""Plain tests of a plugin: given these events, when those follow, then the slice is this."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from behest_core.dynamodb import items
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.decoding import encode_event
from behest_core.model.json import as_stored
from behest_core.model.packing import RecordedEvent
from behest_core.model.record import RunRecord, encode_record
from behest_core.model.state import RunState
from behest_core.plugins.loading import ALL, Plugin, Plugins, compiled, plugin_from
from behest_core.plugins.panels import PanelInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from behest_core.fold.extension import ExtensionState
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.state import ExtensionSlice
    from behest_core.plugins.panels import Block

RUN: RunRecord = RunRecord(
    run_id="run-under-test",
    session_id="session-under-test",
    provider="provider",
    model="model",
    created_at="2026-01-31T00:00:00Z",
)
"""The record of the run that is folded, unless a test has its own."""


def used(plugin: object) -> Plugin:
    """Return the plugin of a module or object with hook implementations. Raises AssertionError where behest refuses it."""
    found = plugin if isinstance(plugin, Plugin) else plugin_from(plugin, getattr(plugin, "__name__", "plugin"))
    for refused in compiled([found]).refused:
        raise AssertionError(f"it loads: behest refuses plugin {refused.name}: {refused.refused}")
    return found


def commit_of(sequence: int, events: Sequence[bytes], run_id: str = RUN.run_id) -> Commit:
    """Return a commit of events that are JSON objects."""
    return Commit(run_id=run_id, sequence=sequence, count=len(events), payload=b"[" + b",".join(events) + b"]")


def stored(state: RunState) -> RunState:
    """Return a state as it comes back from the state table."""
    return items.state_from_item(items.state_to_item(state.stamped({}, RUN.created_at)))


def recorded(log: Sequence[bytes], state: RunState) -> Iterator[RecordedEvent]:
    """Return the events of a run's log as they come from the event table."""
    for sequence, event in enumerate(log, start=1):
        yield RecordedEvent(state.run_id, sequence, RUN.created_at, event)


def given(plugin: object, *events: NewEvent, record: RunRecord = RUN) -> Given:
    """Begin a test: a run whose log has these events, folded and stored.

    `plugin` is a module or object with hook implementations. Events are instances of event classes or JSON objects. Raises
    AssertionError where the plugin is refused, InvalidValueError where an event could not be appended.
    """
    plugins = compiled([used(plugin)])
    begun = Commit(run_id=record.run_id, sequence=0, payload=encode_record(record))
    return Given(plugins, fold(None, [begun], plugins.dispatch).state or RunState(run_id=record.run_id)).when(*events)


class Given:
    """A run, folded with one plugin as far as the test has come. Nothing changes it: `when` returns another one."""

    def __init__(self, plugins: Plugins, state: RunState, log: Sequence[bytes] = ()) -> None:
        self._plugins = plugins
        self._log = log
        self.state = state
        """The run's whole state."""

    def when(self, *events: NewEvent) -> Given:
        """Return the run with a commit of these events appended, and folded into the state as it was stored."""
        if not events:
            return self
        appended = [encode_event(event) for event in events]
        commit = commit_of(self.state.sequence + 1, appended, self.state.run_id)
        state = fold(stored(self.state), [commit], self._plugins.dispatch).state
        return Given(self._plugins, stored(state or self.state), [*self._log, *appended])

    def then(self, expected: ExtensionState | None = None, /, *, extension: str = ALL, **fields: JSON) -> Given:
        """Assert what the slice holds: the whole of it, or some fields.

        `extension` is its name, needed where the plugin has several. Raises AssertionError, also where the slice is parked.
        """
        name, piece = self._slice(extension)
        assert piece.parked is None, f"extension {name} is parked: {piece.parked}"  # noqa: S101 (asserting is what it is for)
        state = piece.state
        assert isinstance(state, dict)  # noqa: S101
        wanted = msgspec.to_builtins(expected, str_keys=True) if expected is not None else msgspec.to_builtins(fields)
        found = state if expected is not None else {field: state.get(field, "no such field") for field in wanted}
        assert found == as_stored(wanted), f"extension {name} has {found}, not {wanted}"  # noqa: S101
        return self

    def then_parked(self, error: str, *, extension: str = ALL) -> Given:
        """Assert that the slice is parked, by an error of this class, and the run itself is not."""
        name, piece = self._slice(extension)
        found = piece.parked.error if piece.parked is not None else "nothing"
        assert found == error, f"extension {name} is parked by {found}, not by {error}"  # noqa: S101
        assert self.state.parked is None, f"the run is parked: {self.state.parked}"  # noqa: S101
        return self

    def panel(self, title: str) -> Sequence[Block]:
        """Return the blocks of the plugin's panel of this title, none where it has nothing to say of the run.

        Raises AssertionError where it can't be drawn.
        """
        seen = PanelInput(
            state=self.state, summary=self._plugins.summary(self.state), events=lambda: recorded(self._log, self.state)
        )
        found = [each for each in self._plugins.panels("run", seen) if each.title == title]
        for each in found:
            assert each.error is None, f"panel {title!r} can't be drawn: {each.error}"  # noqa: S101
        return [block for each in found for block in each.blocks]

    def _slice(self, extension: str) -> tuple[str, ExtensionSlice]:
        names = [each.name for each in self._plugins.dispatch.extensions if extension in {ALL, each.name}]
        assert len(names) == 1, f"which extension? pass extension=, one of {names}"  # noqa: S101
        return names[0], self.state.extensions[names[0]]
