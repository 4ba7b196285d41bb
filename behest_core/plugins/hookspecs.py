"""The hooks of behest. A plugin implements those it needs with `hookimpl`, and has an entry point in group ``behest``.

All but `behest_run_changed` are called once, when a process starts, and never per event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import typer

    from behest_core.fold.extension import Extension
    from behest_core.model.change import RunChanged
    from behest_core.model.events import Event

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
def behest_commands(app: typer.Typer) -> None:
    """Add commands to the ``behest`` command: ``app.command(name="cost")(function)``."""
    raise AssertionError("a specification is not called")
