"""The hooks of behest. A plugin implements those it needs with `hookimpl`, and has an entry point in group ``behest``.

All but `behest_run_changed` are called once, when a process starts, and never per event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from behest_core.events import Event
    from behest_core.extension import Extension

PROJECT: Final = "behest"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of the hook it is named after."""


@hookspec
def behest_event_types() -> Sequence[type[Event]]:
    """Give the event classes that the plugin adds.

    Their tags have a dotted name, ``approvals.Requested``; two plugins can't claim one. Events of these types are checked when
    they are appended by a process that has the plugin, and can be listened to.
    """
    raise AssertionError("a specification is not called")


@hookspec
def behest_extensions() -> Sequence[Extension]:
    """Give the extensions that the plugin folds. Two plugins can't claim one name."""
    raise AssertionError("a specification is not called")


@hookspec
def behest_upcasters() -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Give, by event type, functions that bring an old shape of the event's JSON object into the one of its class.

    They see every event of the type, new ones too, and have to leave those as they are. The log keeps what was written.
    """
    raise AssertionError("a specification is not called")
