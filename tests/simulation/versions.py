"""Two versions of the reducer in one process, as there are while a new one is deployed.

Version 1 is the real one. Version 2 counts iterations twice, so that a state tells who folded it. Both know two events that no
real run has: one that only version 2 can fold, and one that kills the process that folds it. They are told by the error of a
RunFailed, of whose fields the reducer reads that one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

from behest_core.dispatch import CORE
from behest_core.events import ModelStarted, RunFailed
from behest_core.reducer import REDUCER, REDUCER_VERSION
from behest_core.testing import FunctionKilled

if TYPE_CHECKING:
    from collections.abc import Callable

NEW_VERSION = REDUCER_VERSION + 1
ONLY_NEW = "only the new version folds this"
DEADLY = "the process that folds this dies"


class Versions:
    """As a context manager: lets `activate` say which version the code that runs next is of."""

    def __enter__(self) -> Self:
        self._modules = [module for module in list(sys.modules.values()) if _has_version(module)]
        self._real = dict(CORE.handlers)
        self._handlers = {REDUCER_VERSION: self._made(REDUCER_VERSION), NEW_VERSION: self._made(NEW_VERSION)}
        self._active = 0
        self.activate(REDUCER_VERSION)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(REDUCER_VERSION, self._real)

    def activate(self, version: int) -> None:
        if version != self._active:
            self._active = version
            self._set(version, self._handlers[version])

    def _set(self, version: int, handlers: dict[type, Any]) -> None:
        for module in self._modules:
            module.REDUCER_VERSION = version  # type: ignore[attr-defined]
        CORE.handlers = handlers

    def _made(self, version: int) -> dict[type, Any]:
        """Give the handlers of a version."""
        handlers = dict(self._real)
        for reader in (RunFailed, CORE.readers[RunFailed]):
            handlers[reader] = _failed(handlers[reader], version)
        if version == NEW_VERSION:
            for reader in (ModelStarted, CORE.readers[ModelStarted]):
                handlers[reader] = _counted_twice
        return handlers


def _failed(real: Callable[[Any, Any], None], version: int) -> Callable[[Any, Any], None]:
    def handler(state: Any, event: Any) -> None:
        if event.error == DEADLY:
            raise FunctionKilled(DEADLY)
        if event.error == ONLY_NEW and version != NEW_VERSION:
            raise ValueError(ONLY_NEW)
        real(state, event)

    return handler


def _counted_twice(state: Any, event: Any) -> None:
    REDUCER[ModelStarted].handler(state, event)
    state.iteration = event.iteration * 2


def _has_version(module: Any) -> bool:
    return getattr(module, "__name__", "").startswith("behest_core") and hasattr(module, "REDUCER_VERSION")
