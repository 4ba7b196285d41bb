"""The plugins that a command folds with and shows: those of BEHEST_PLUGINS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.plugins.loading import allowed_by_environment, load
from behest_core.terminal import say

if TYPE_CHECKING:
    from behest_core.fold.dispatch import Dispatch
    from behest_core.plugins.loading import Plugins


def used_plugins() -> Plugins:
    """Return the plugins of BEHEST_PLUGINS; name those that can't be used."""
    plugins = load(allowed_by_environment())
    for plugin in plugins.refused:
        say(f"plugin {plugin.name} is not used, and what it has folded stays as it is: {plugin.refused}")
    return plugins


def dispatch_of_plugins() -> Dispatch:
    """Return what the plugins of BEHEST_PLUGINS fold; name those that can't be used."""
    return used_plugins().dispatch
