"""A function of the template, loaded and called in this process as Lambda's Python runtime would.

- The handler's module is loaded from the folder that is deployed, anew for each `LocalFunction`: a cold start.
- Its environment variables are those of the template and those that Lambda sets. They are the whole process's, so they are
  set by the local stack, not here: the projector's always, another function's while it is loaded and called.
- What it writes to standard output goes to `output`, a log of its own, not to the terminal of whoever runs the stack.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import sys
import threading
from collections import deque
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TextIO, cast

from behest_core.errors import ConfigurationError
from behest_core.testing.invocation import FunctionSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.testing.invocation import Handler, LambdaContext
    from behest_core.testing.stream_records import LambdaBatch
    from behest_core.testing.template import FunctionDefinition

_KEPT_LINES = 10_000
_loads = itertools.count(1)


class FunctionOutput:
    """Lines that a function wrote to standard output, the last 10,000 of them.

    Args:
        echo: also written to, as they come.
    """

    def __init__(self, echo: TextIO | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._echo = echo
        self._unfinished = ""

    def write(self, text: str) -> int:
        """Take some text, as a file does."""
        if self._echo is not None:
            self._echo.write(text)
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        self.lines.extend(lines)
        return len(text)

    def flush(self) -> None:
        """Pass on what is held back, as a file does."""
        if self._echo is not None:
            self._echo.flush()


class LocalFunction:
    """A handler in this process, with an output of its own. It is itself a handler."""

    def __init__(self, definition: FunctionDefinition, output: FunctionOutput) -> None:
        self.output = output
        # Powertools keeps a service's logger, and the standard output it was made with, as long as the process lives.
        logging.root.manager.loggerDict.pop(definition.environment.get("POWERTOOLS_SERVICE_NAME", ""), None)
        with redirect_stdout(cast("TextIO", output)):
            self._handler = load_handler(definition)

    def __call__(self, event: LambdaBatch, context: LambdaContext) -> object:
        """Handle a batch."""
        with _standard_output_of_this_thread(cast("TextIO", self.output)):
            return self._handler(event, context)


def lambda_environment(definition: FunctionDefinition) -> dict[str, str]:
    """Return the function's variables and those that Lambda sets (developer guide, "Defined runtime environment variables")."""
    return definition.environment | {
        "AWS_LAMBDA_FUNCTION_NAME": definition.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(definition.memory_mb),
        "LAMBDA_TASK_ROOT": str(definition.code),
    }


def function_settings(definition: FunctionDefinition) -> FunctionSettings:
    """Return what Lambda knows of a function of the template."""
    return FunctionSettings(
        name=definition.name, timeout_seconds=definition.timeout_seconds, memory_mb=definition.memory_mb
    )


def load_handler(definition: FunctionDefinition) -> Handler:
    """Load a function's handler from its folder, as a fresh module.

    Raises:
        ConfigurationError: the folder has no such module, or the module no such function.
    """
    module_name, _, function_name = definition.handler.rpartition(".")
    path = definition.code.joinpath(*module_name.split("/")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(f"_behest_function_{next(_loads)}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"{definition.logical_id}: there is no {path}")
    module = importlib.util.module_from_spec(spec)
    # Beside its own folder a function finds what the layer holds: behest_core, which is importable here.
    sys.path.insert(0, str(definition.code))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(definition.code))
    if not callable(getattr(module, function_name, None)):
        raise ConfigurationError(f"{definition.logical_id}: {path} has no function {function_name}")
    return cast("Handler", getattr(module, function_name))


class _PerThreadOutput:
    """Standard output that one thread sees as another one does not: a function writes while a demo draws its screen."""

    def __init__(self, usual: TextIO, thread: int, output: TextIO) -> None:
        self._usual = usual
        self._thread = thread
        self._output = output
        self.is_active = True

    def _target(self) -> TextIO:
        return self._output if self.is_active and threading.get_ident() == self._thread else self._usual

    def write(self, text: str) -> int:
        return self._target().write(text)

    def flush(self) -> None:
        self._target().flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._usual, name)


@contextmanager
def _standard_output_of_this_thread(output: TextIO) -> Iterator[None]:
    usual = sys.stdout
    per_thread = _PerThreadOutput(usual, threading.get_ident(), output)
    routed = sys.stdout = cast("TextIO", per_thread)
    try:
        yield
    finally:
        # Whoever else replaced it meanwhile, or kept it, still writes to the usual one through it.
        per_thread.is_active = False
        if sys.stdout is routed:
            sys.stdout = usual
