"""The hooks of behest. A plugin implements those it needs with `hookimpl`, and has an entry point in group ``behest``.

`behest_run_changed`, `behest_decided`, `behest_price` and `behest_summary` are called whenever there is something to react to, to
price or to list. The others are called once, when a process starts, and none is called by the fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import typer

    from behest_core.fold.extension import Extension
    from behest_core.model.change import Decided, RunChanged
    from behest_core.model.events import Event, UsageRecorded
    from behest_core.model.state import RunState
    from behest_core.model.summary import FieldValue
    from behest_core.plugins.panels import Panel

PROJECT: Final = "behest"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of the hook it is named after."""


@hookspec
def behest_event_types() -> Sequence[type[Event]]:
    """Return the event classes that the plugin adds.

    Their tags have a dotted name, ``approvals.Requested``; two plugins can't claim one. Those that an extension listens to need
    not be given.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_extensions() -> Sequence[Extension]:
    """Return the extensions that the plugin folds. Two plugins can't claim one name."""
    raise AssertionError("a specification is not called")


@hookspec
def behest_upcasters() -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Return, by event type, functions that bring an old shape of the event's JSON object into the one of its class.

    They see every event of the type, new ones too, and have to leave those as they are. The log keeps what was written.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_run_changed(change: RunChanged) -> None:
    """React to a run that has another status now. Called in the notifier function, at least once for each change.

    `change.id` is the same when a change comes again. If it raises, the change goes to the queue of failed reactions, with the
    plugin's name; EventBridge and other plugins get it all the same.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_decided(decision: Decided) -> None:
    """Tell an agent what a person decided with `RunStore.decide`. Called in the notifier function, at least once for each.

    `decision.id` is the same when one comes again. If it raises, the decision goes to the queue of failed reactions, with the
    plugin's name; other plugins get it all the same.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_price(provider: str, model: str, usage: UsageRecorded) -> int | None:
    """Return what one model call cost, in nanodollars (1 USD is 1,000,000,000), or None where the plugin has no price for it.

    `provider` and `model` are who answered. Called where a run is shown, for each call, by `RunStore.transcript` with these
    plugins. The first plugin that knows a price counts. One that raises is left out, and the log `behest_core` says so.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_summary(state: RunState) -> Mapping[str, FieldValue] | None:
    """Return what the plugin adds to a run's summary: numbers, words and flags by name, or None.

    `state` is the run's, with the plugin's own slice in `state.extensions`. Called for each run that is listed. The core has a
    name for `nano_usd`, what the run cost. Values of other types are left out, and texts are cut at 1,000 characters. Where two
    plugins give one name, the first counts. One that raises is left out, and the log `behest_core` says so.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_panels() -> Sequence[Panel]:
    """Return what the plugin shows of a run, a list of runs, a session, or on the page of health: `plugins.panels` says how.

    Their functions are called where that is shown, by `behest show` and by the page, and may read but not write. One that raises
    shows its error in its own panel.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_commands(app: typer.Typer) -> None:
    """Add commands to the ``behest`` command: ``app.command(name="cost")(function)``."""
    raise AssertionError("a specification is not called")
