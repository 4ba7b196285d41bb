"""Commands that plugins add. Nothing of a plugin is imported before one of them, or the help page, is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from behest_core.plugins.loading import allowed_by_environment, load
from behest_core.terminal import say

if TYPE_CHECKING:
    from collections.abc import Collection


def plugin_commands(taken: Collection[str]) -> dict[str, Any]:
    """Return the commands of the plugins that BEHEST_PLUGINS allows, by name; say which can't be used, and why.

    `taken` are the names that behest's own commands have.
    """
    commands: dict[str, Any] = {}
    allowed = allowed_by_environment()
    if not allowed:
        return commands
    plugins = load(allowed)
    for plugin in plugins.refused:
        say(f"plugin {plugin.name} is not used: {plugin.refused}")
    for plugin in plugins.used:
        for add in plugin.commands:
            app = typer.Typer()
            try:
                add(app)
                found = typer.main.get_group(app).commands
            except Exception as error:  # noqa: BLE001 (a plugin's hook may raise anything)
                say(f"the commands of plugin {plugin.name} are not used: behest_commands raised {error!r}")
                continue
            for name in sorted(found):
                if name in taken or name in commands:
                    say(f"command {name} of plugin {plugin.name} is not used: there is one of that name already")
                else:
                    commands[name] = found[name]
    return commands
