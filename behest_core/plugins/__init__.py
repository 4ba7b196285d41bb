"""What a plugin is written with, and how the installed ones become one compiled table.

A plugin imports from here; `hookspecs` says what each hook is for, `loading` how plugins are found, and refused.
"""

from behest_core.fold.extension import Extension, ExtensionState, RunView
from behest_core.model.change import Decided, RunChanged
from behest_core.model.events import Event
from behest_core.plugins.hookspecs import hookimpl

__all__ = ["Decided", "Event", "Extension", "ExtensionState", "RunChanged", "RunView", "hookimpl"]
