"""`behest plugins`: which plugins are installed, what each brings, and which are used."""

from collections.abc import Iterator
from typing import Any

import typer
from msgspec.json import encode
from rich.text import Text

from behest_core.cli.arguments import AsJson, CommandError
from behest_core.model.events import type_name
from behest_core.plugins.as_deployed import refused_as_deployed
from behest_core.plugins.loading import ALL, Plugin, allowed_by_environment, load
from behest_core.terminal import clean, results, say, write_line


def list_plugins(*, as_json: AsJson = False) -> None:
    """List the plugins that are installed, and those that BEHEST_PLUGINS allows.

    Shows of each its package and version, hooks, event types and extensions, or why it is refused: here, or in the functions,
    which have nothing of the command, the page and the tests. The exit code is 1 if one that is allowed can't be used.
    """
    allowed = allowed_by_environment()
    chosen = load(allowed)
    used_here = {each.name: each for each in (*chosen.used, *chosen.refused)}
    installed = load([ALL])
    others = [each for each in (*installed.used, *installed.refused) if each.name not in used_here]
    plugins = sorted([*used_here.values(), *others], key=lambda each: each.name)
    elsewhere = _refused_in_functions([each.name for each in plugins if each.refused is None])
    for plugin in plugins:
        fields = _fields(plugin, is_allowed=plugin.name in used_here, elsewhere=elsewhere.get(plugin.name))
        if as_json:
            write_line(encode(fields))
        else:
            _write(fields)
    if not plugins:
        say("no plugin is installed")
    if chosen.refused or not elsewhere.keys().isdisjoint(used_here):
        raise typer.Exit(1)


def _refused_in_functions(names: list[str]) -> dict[str, str]:
    try:
        return refused_as_deployed(names)
    except RuntimeError as error:
        raise CommandError(str(error)) from error


def _fields(plugin: Plugin, *, is_allowed: bool, elsewhere: str | None) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "allowed": is_allowed,
        "hooks": plugin.hooks,
        "event_types": [type_name(each) for each in plugin.event_types],
        "extensions": [
            {"name": each.name, "version": each.version, "listens": sorted(map(type_name, each.listeners))}
            for each in plugin.extensions
        ],
        "refused": plugin.refused,
        "refused_in_functions": elsewhere,
    }


def _write(fields: dict[str, Any]) -> None:
    console, mark = results(), ("used", "green")
    if fields["refused"] is not None:
        mark = ("refused", "red")
    elif fields["refused_in_functions"] is not None:
        mark = ("refused in the functions", "red")
    elif not fields["allowed"]:
        mark = ("not in BEHEST_PLUGINS", "yellow")
    package = clean(f"{fields['distribution']} {fields['version']}".strip() or "no package")
    console.print(Text.assemble((clean(fields["name"]), "bold"), f"  {package}  ", mark), soft_wrap=True)
    for name, text in _rows(fields):
        console.print(Text.assemble((f"  {name:<12}", "dim"), clean(text)), soft_wrap=True)


def _rows(fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if fields["refused"] is not None:
        yield "why", " ".join(fields["refused"].split())
    if fields["refused_in_functions"] is not None:
        yield "why", " ".join(fields["refused_in_functions"].split())
        yield "", "the functions have nothing of behest's extras: import it in the hook that needs it, or require it"
    if fields["hooks"]:
        yield "hooks", ", ".join(fields["hooks"])
    if fields["event_types"]:
        yield "event types", ", ".join(fields["event_types"])
    for each in fields["extensions"]:
        yield "extension", f"{each['name']} version {each['version']}, listens to {', '.join(each['listens'])}"
