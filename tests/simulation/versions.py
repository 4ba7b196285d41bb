"""Two versions in one process, as there are while a new one is deployed: of the reducer, and of an extension.

Version 1 is the real one. Version 2 counts iterations twice, so that a state tells who folded it. The extension `tally` adds up
tokens, twice as many in its version 2; it may be installed in both versions, in the new one only, or in none.

There are errors of a RunFailed, of whose fields the reducer reads that one, which no real run has: one that only version 2 can
fold, one that kills the process that folds it, one at which version 1 of the extension breaks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Self

from behest_core.dispatch import Dispatch
from behest_core.events import ModelStarted, RunFailed, UsageRecorded, type_name
from behest_core.extension import Extension, ExtensionState
from behest_core.reducer import REDUCER_VERSION
from behest_core.testing import FunctionKilled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

OLD: Final = REDUCER_VERSION
NEW: Final = REDUCER_VERSION + 1
ONLY_NEW: Final = "only the new version folds this"
DEADLY: Final = "the process that folds this dies"
BREAKS_TALLY: Final = "the old version of tally breaks at this"


def factor(version: int) -> int:
    """Give how often a version counts."""
    return 2 if version == NEW else 1


class Tally(ExtensionState):
    tokens: int = 0
    iteration: int = 0


def tally(version: int) -> Extension:
    """Make a version of the extension. It looks at the run, too, which is another one at each event."""
    extension = Extension("tally", Tally, version=version)

    @extension.on(UsageRecorded)
    def add(state: Tally, event: UsageRecorded, run: Any) -> None:
        state.tokens += event.usage.input_tokens * factor(version)
        state.iteration = run.iteration

    @extension.on(RunFailed)
    def break_down(_state: Tally, event: RunFailed, _run: Any) -> None:
        if event.error == BREAKS_TALLY and version == OLD:
            raise ValueError(BREAKS_TALLY)

    return extension


class Versions:
    """As a context manager: lets `activate` say which version the code that runs next is of. `with_tally` have the extension."""

    def __init__(self, with_tally: Collection[int]) -> None:
        self.with_tally = with_tally
        self._dispatches = {version: self._made(version) for version in (OLD, NEW)}
        self._active = OLD

    def __enter__(self) -> Self:
        self._modules = [module for module in list(sys.modules.values()) if _has_version(module)]
        return self

    def __exit__(self, *_: object) -> None:
        self.activate(OLD)

    def activate(self, version: int) -> None:
        if version != self._active:
            self._active = version
            for module in self._modules:
                module.REDUCER_VERSION = version  # type: ignore[attr-defined]

    def dispatch(self, version: int) -> Dispatch:
        """Give the table that processes of a version fold by."""
        return self._dispatches[version]

    def _made(self, version: int) -> Dispatch:
        dispatch = Dispatch([tally(version)] if version in self.with_tally else [])
        for reader, handler in dispatch.handlers.items():
            if type_name(reader) == type_name(RunFailed):
                dispatch.handlers[reader] = _failed(handler, version)
            elif type_name(reader) == type_name(ModelStarted):
                dispatch.handlers[reader] = _counted(handler, version)
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
