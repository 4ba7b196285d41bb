"""What is deployed, one release after the other, in one process: the reducer in two versions, and plugins that come and go.

Version 1 of the reducer is the real one. Version 2 counts iterations twice, so that a state tells who folded it.

There are two plugins, each with an extension of its name. Both do the same, each in its own time: they are installed, over runs
that are there already or before there are any; their versions are raised; they break, and are mended with or without another
version; they are uninstalled, and installed again. A version adds up tokens so many times, and what it adds up of the run tells
which run it saw. It counts the model calls that were answered by text, and listens to text only while it waits for some. A broken
build raises at each `approvals.Requested`.

There are errors of a RunFailed, of whose fields the reducer reads that one, which no real run has: one that only version 2 can
fold, and one that kills the process that folds it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from behest_core.fold.dispatch import Dispatch
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.model.events import Event, ModelStarted, RunFailed, TextDelta, UsageRecorded, type_name
from behest_core.plugins import Extension, ExtensionState
from behest_core.testing import FunctionKilled

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

OLD: Final = REDUCER_VERSION
NEW: Final = REDUCER_VERSION + 1
ONLY_NEW: Final = "only the new version folds this"
DEADLY: Final = "the process that folds this dies"
PLUGINS: Final = ("tally", "audit")
_RUNS_PER_DEPLOY: Final = 8


def factor(version: int) -> int:
    """Return how often a version of the reducer counts."""
    return 2 if version == NEW else 1


class Plugin(NamedTuple):
    """A plugin as a release has it. `version` is the latest there was, also where it isn't installed any more; 0 if never."""

    name: str
    version: int = 0
    is_installed: bool = False
    is_broken: bool = False

    def successor(self, random: Random) -> Plugin:
        """Draw what becomes of it."""
        draw = random.random()
        if self.is_broken and draw < 0.5:
            return self._replace(is_broken=False)
        if self.is_installed and draw < (0.6 if self.is_broken else 0.4):
            return self._replace(is_installed=False, is_broken=False)
        if not self.is_installed and self.version and draw < 0.6:
            return self._replace(is_installed=True)
        return Plugin(self.name, self.version + 1, is_installed=True, is_broken=random.random() < 0.5)


class Release(NamedTuple):
    """What is deployed at a time."""

    reducer: int = OLD
    plugins: tuple[Plugin, ...] = ()

    @property
    def installed(self) -> list[Plugin]:
        return [plugin for plugin in self.plugins if plugin.is_installed]

    def successor(self, random: Random) -> Release:
        """Draw what is deployed next: now and then a new reducer, and something else of most plugins."""
        reducer = NEW if random.random() < 0.3 else self.reducer
        return Release(
            reducer, tuple(each.successor(random) if random.random() < 0.7 else each for each in self.plugins)
        )


def drawn_releases(random: Random, runs: int) -> list[Release]:
    """Draw the releases in the time of so many runs. In the first a plugin is there already, or isn't yet."""
    first = [random.randrange(2) for _ in PLUGINS]
    plugins = (Plugin(name, there, is_installed=bool(there)) for name, there in zip(PLUGINS, first, strict=True))
    releases = [Release(OLD, tuple(plugins))]
    for _ in range(random.randrange(4 + runs // _RUNS_PER_DEPLOY)):
        releases.append(releases[-1].successor(random))
    return releases


class Requested(Event, tag="approvals.Requested"):
    call_id: str


class Tally(ExtensionState):
    tokens: int = 0
    iterations: int = 0
    recorded: int = 0
    requests: int = 0
    answers: int = 0
    is_waiting: bool = False


def extension_of(plugin: Plugin) -> Extension:
    """Make a plugin's extension. It looks at the run, too, which is another one at each event."""
    extension = Extension(plugin.name, Tally, version=plugin.version)

    @extension.on(UsageRecorded)
    def add(state: Tally, event: UsageRecorded, run: Any) -> None:
        state.tokens += event.usage.input_tokens * plugin.version
        state.iterations += run.iteration
        state.recorded += run.metadata is not None

    @extension.on(ModelStarted)
    def wait(state: Tally, _event: ModelStarted, _run: Any) -> None:
        state.is_waiting = True

    @extension.on(TextDelta, when=lambda state: state.is_waiting)
    def stop_waiting(state: Tally, _event: TextDelta, _run: Any) -> None:
        state.answers += 1
        state.is_waiting = False

    @extension.on(Requested)
    def count(state: Tally, _event: Requested, _run: Any) -> None:
        state.requests += 1
        if plugin.is_broken:
            raise ValueError(f"this build of {plugin.name} breaks at requests")

    return extension


class Versions:
    """As a context manager: lets `activate` say of which release the code is that runs next."""

    def __init__(self) -> None:
        self._dispatches: dict[Release, Dispatch] = {}
        self._active = OLD

    def __enter__(self) -> Self:
        self._modules = [module for module in list(sys.modules.values()) if _has_version(module)]
        return self

    def __exit__(self, *_: object) -> None:
        self.activate(Release(OLD))

    def activate(self, release: Release) -> None:
        if release.reducer != self._active:
            self._active = release.reducer
            for module in self._modules:
                module.REDUCER_VERSION = release.reducer  # type: ignore[attr-defined]

    def dispatch(self, release: Release) -> Dispatch:
        """Return the table that processes of a release fold by."""
        if release not in self._dispatches:
            self._dispatches[release] = _made(release)
        return self._dispatches[release]


def _made(release: Release) -> Dispatch:
    dispatch = Dispatch([extension_of(plugin) for plugin in release.installed])
    for reader, handler in dispatch.handlers.items():
        if type_name(reader) == type_name(RunFailed):
            dispatch.handlers[reader] = _failed(handler, release.reducer)
        elif type_name(reader) == type_name(ModelStarted):
            dispatch.handlers[reader] = _counted(handler, release.reducer)
    return dispatch


def _failed(real: Callable[[Any, Any], None], version: int) -> Callable[[Any, Any], None]:
    def handler(state: Any, event: Any) -> None:
        if event.error == DEADLY:
            raise FunctionKilled(DEADLY)
        if event.error == ONLY_NEW and version == OLD:
            raise ValueError(ONLY_NEW)
        real(state, event)

    return handler


def _counted(real: Callable[[Any, Any], None], version: int) -> Callable[[Any, Any], None]:
    def handler(state: Any, event: Any) -> None:
        real(state, event)
        state.iteration *= factor(version)

    return handler


def _has_version(module: Any) -> bool:
    return getattr(module, "__name__", "").startswith("behest_core") and hasattr(module, "REDUCER_VERSION")
