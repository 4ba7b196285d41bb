"""From installed plugins to one compiled dispatch table, once per process.

A plugin is a package with an entry point in group ``behest`` that leads to a module or object with hook implementations. Which of
the installed ones are used is an allow-list of entry point names. A plugin that isn't valid is refused whole, with the reason and
the others go on: its slices stay as they are, and catch up when it is mended.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

import pluggy
from msgspec import Struct, field

from behest_core.errors import PluginError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.extension import Extension
from behest_core.model.change import Decided, RunChanged
from behest_core.model.events import Event, type_name
from behest_core.model.summary import FieldValue, Summary, summarize
from behest_core.plugins import hookspecs
from behest_core.plugins.panels import Drawn, Panel, PanelInput, Place, RunsInput, draw_panels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from behest_core.model.events import UsageRecorded
    from behest_core.model.state import RunState

_logger = logging.getLogger("behest_core")

GROUP: Final = "behest"
ALL: Final = "*"


class Plugin(Struct, frozen=True):
    """A plugin that is used, or was refused. `distribution` and `version` are its package's, empty where it has none."""

    name: str
    distribution: str = ""
    version: str = ""
    hooks: tuple[str, ...] = ()
    event_types: tuple[type[Event], ...] = ()
    extensions: tuple[Extension, ...] = ()
    upcasters: dict[str, Any] = field(default_factory=dict)
    reactions: tuple[Callable[[RunChanged], None], ...] = ()
    deciders: tuple[Callable[[Decided], None], ...] = ()
    prices: tuple[Callable[..., int | None], ...] = ()
    summaries: tuple[Callable[..., Mapping[str, FieldValue] | None], ...] = ()
    panels: tuple[Panel, ...] = ()
    commands: tuple[Callable[[Any], None], ...] = ()
    refused: str | None = None


class Plugins(Struct, frozen=True):
    """What was loaded: the compiled table, the plugins in it, and those that were refused."""

    dispatch: Dispatch = CORE
    used: tuple[Plugin, ...] = ()
    refused: tuple[Plugin, ...] = ()

    def price(self, provider: str, model: str, usage: UsageRecorded) -> int | None:
        """Return what a model call cost, in nanodollars, by the first plugin that knows; None where none does."""
        for plugin in self.used:
            for price_of in plugin.prices:
                try:
                    nano_usd = price_of(provider=provider, model=model, usage=usage)
                except Exception:
                    _logger.exception("plugin %s could not price a call; it is left out", plugin.name)
                    continue
                if nano_usd is not None:
                    return nano_usd
        return None

    def summary(self, state: RunState) -> Summary:
        """Return the summary of a run, with what plugins add to it."""
        added: dict[str, object] = {}
        for plugin in self.used:
            for summary_of in plugin.summaries:
                try:
                    given = dict(summary_of(state) or {})
                except Exception:
                    _logger.exception("plugin %s could not sum up a run; it is left out", plugin.name)
                    continue
                added = {**given, **added}
        return summarize(state, added)

    def panels(self, where: Place, given: PanelInput | RunsInput) -> list[Drawn]:
        """Return what plugins show at a place, drawn, and at a run the slices that none of them draws. Never raises."""
        return draw_panels(self.used, where, given)


def allowed_by_environment() -> list[str]:
    """Return the allow-list of BEHEST_PLUGINS: entry point names, separated by commas; ``*`` for all that are installed."""
    return [name.strip() for name in os.environ.get("BEHEST_PLUGINS", "").split(",") if name.strip()]


def load(allowed: Sequence[str]) -> Plugins:
    """Load the allowed plugins among those installed. One that is allowed and not installed is refused."""
    if not allowed:
        return Plugins()
    found = {each.name: each for each in entry_points(group=GROUP)}
    names = list(found) if ALL in allowed else list(dict.fromkeys(allowed))
    plugins = compiled(_load_one(name, found.get(name)) for name in sorted(names))
    if "plugins" in os.environ.get("BEHEST_TRACE", "").split(","):
        sys.stderr.writelines(f"behest: {line}\n" for line in told(plugins))
    return plugins


def told(plugins: Plugins) -> Iterator[str]:
    """Say of each plugin in a line what it brought, or why it was refused: what BEHEST_TRACE=plugins writes."""
    for plugin in plugins.used:
        types = [type_name(each) for each in plugin.event_types]
        extensions = [f"{each.name} (version {each.version})" for each in plugin.extensions]
        brought = {"hooks": plugin.hooks, "types": types, "extensions": extensions, "upcasters": plugin.upcasters}
        parts = [f"{what} {', '.join(names)}" for what, names in brought.items() if names]
        yield f"plugin {plugin.name} ({plugin.distribution or '?'} {plugin.version or '?'}): {'; '.join(parts) or 'nothing'}"
    for plugin in plugins.refused:
        yield f"plugin {plugin.name} is refused: {' '.join(str(plugin.refused).split())}"


def compiled(plugins: Iterable[Plugin]) -> Plugins:
    """Return plugins compiled into one table; refuse one that can't be combined with those before it."""
    plugins = list(plugins)
    used = [plugin for plugin in plugins if plugin.refused is None]
    try:
        dispatch = _dispatch(used) if used else CORE
    except PluginError:
        return _compiled_one_by_one(plugins)
    return Plugins(dispatch, tuple(used), tuple(plugin for plugin in plugins if plugin.refused is not None))


def _compiled_one_by_one(plugins: Iterable[Plugin]) -> Plugins:
    used: list[Plugin] = []
    refused: list[Plugin] = []
    dispatch = CORE
    for plugin in plugins:
        if plugin.refused is not None:
            refused.append(plugin)
            continue
        try:
            dispatch = _dispatch([*used, plugin])
        except PluginError as error:
            refused.append(Plugin(plugin.name, plugin.distribution, plugin.version, refused=str(error)))
        else:
            used.append(plugin)
    return Plugins(dispatch, tuple(used), tuple(refused))


def _dispatch(plugins: Sequence[Plugin]) -> Dispatch:
    upcasters: dict[str, Any] = {}
    for plugin in plugins:
        for name, upcaster in plugin.upcasters.items():
            if name in upcasters:
                raise PluginError(f"two plugins claim the upcaster of {name}; one has to leave it")
            upcasters[name] = upcaster
    return Dispatch(
        [each for plugin in plugins for each in plugin.extensions],
        [each for plugin in plugins for each in plugin.event_types],
        upcasters,
    )


def _load_one(name: str, entry_point: EntryPoint | None) -> Plugin:
    if entry_point is None:
        return Plugin(name, refused=f"no installed package has an entry point {name} in group {GROUP}; install it")
    about = entry_point.dist.metadata if entry_point.dist is not None else {"Name": "", "Version": ""}
    distribution, version = about["Name"], about["Version"]
    try:
        implementation = entry_point.load()
    except Exception as error:  # noqa: BLE001 (importing a plugin may raise anything)
        return Plugin(name, distribution, version, refused=f"importing {entry_point.value} raised {error!r}")
    return plugin_from(implementation, name, distribution, version)


def plugin_from(implementation: object, name: str, distribution: str = "", version: str = "") -> Plugin:
    """Return the plugin of a module or object with hook implementations."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(implementation, name)
        manager.check_pending()
        return Plugin(
            name,
            distribution,
            version,
            hooks=_hooks(manager, implementation),
            event_types=tuple(_given(manager, "behest_event_types", _is_event_class, "event classes")),
            extensions=tuple(_given(manager, "behest_extensions", _is_extension, "extensions")),
            upcasters=_upcasters(manager),
            reactions=_functions(manager, "behest_run_changed", "change"),
            deciders=_functions(manager, "behest_decided", "decision"),
            prices=_functions(manager, "behest_price"),
            summaries=_functions(manager, "behest_summary", "state"),
            panels=tuple(_given(manager, "behest_panels", _is_panel, "panels")),
            commands=_functions(manager, "behest_commands", "app"),
        )
    except pluggy.PluginValidationError as error:
        return Plugin(name, distribution, version, refused=f"{error}; docs/plugins.md has each hook's signature")
    except Exception as error:  # noqa: BLE001 (a plugin's hook may raise anything)
        return Plugin(
            name, distribution, version, refused=str(error) if isinstance(error, PluginError) else repr(error)
        )


def _hooks(manager: pluggy.PluginManager, implementation: object) -> tuple[str, ...]:
    return tuple(sorted(caller.name for caller in manager.get_hookcallers(implementation) or []))


def _functions(manager: pluggy.PluginManager, hook: str, *positional: str) -> tuple[Callable[..., Any], ...]:
    """Return a plugin's implementations of a hook: called one by one, what one raises is no other's concern.

    They take the hook's arguments by name, those in `positional` by place.
    """
    return tuple(_with_any_arguments(each, positional) for each in getattr(manager.hook, hook).get_hookimpls())


def _with_any_arguments(implementation: pluggy.HookImpl, positional: tuple[str, ...]) -> Callable[..., Any]:
    """Return the implementation as a function of all arguments of the hook, of which pluggy lets it leave out any."""
    function: Callable[..., Any] = implementation.function
    taken = set(implementation.argnames)

    def call(*given: object, **named: object) -> Any:  # noqa: ANN401 (whatever the hook returns)
        arguments = {**dict(zip(positional, given, strict=True)), **named}
        return function(**{name: value for name, value in arguments.items() if name in taken})

    return call


def _given(manager: pluggy.PluginManager, hook: str, is_right: Callable[[object], bool], what: str) -> Iterable[Any]:
    for given in getattr(manager.hook, hook)():
        if not isinstance(given, list | tuple) or not all(map(is_right, given)):
            raise PluginError(f"{hook} has to return a list of {what}, got {given!r}")
        yield from given


def _upcasters(manager: pluggy.PluginManager) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for given in manager.hook.behest_upcasters():
        if not isinstance(given, dict) or not all(
            isinstance(key, str) and callable(each) for key, each in given.items()
        ):
            raise PluginError(f"behest_upcasters has to return a dict of functions by event type, got {given!r}")
        found |= given
    return found


def _is_event_class(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, Event)


def _is_extension(each: object) -> bool:
    return isinstance(each, Extension)


def _is_panel(each: object) -> bool:
    if isinstance(each, Panel):
        each.check()
    return isinstance(each, Panel)
