"""How a run's tools and models performed: calls, errors, durations, time to first token.

- A tool call counts when it has finished, with the duration that its event says.
- The time to first token is from a ModelStarted to the first TextDelta after it. A model call that writes no text has none; a
  terminal event ends the wait.
- The run's duration is from its first RunStarted to its latest terminal event. Without a RunStarted it is from the run's
  `created_at`.
- Times are what writers wrote. Where a clock went back the time is 0. A time that can't be read is counted, and measures nothing.
- 48 tools are kept by name. The rest, and a tool whose name is empty or longer than 64 characters, are in `other`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from behest_core.model.events import (
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    TextDelta,
    ToolExecutionFinished,
    ToolFailure,
)
from behest_core.model.timestamps import to_datetime
from behest_core.plugins import Extension, ExtensionState, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

    from behest_core.model.state import RunState
    from behest_core.plugins import RunView
    from behest_core.plugins.panels import Panel

TOOLS: Final = 48
"""How many tools of a run are kept by name."""

NAME: Final = 64
"""The longest name of a tool that is kept, in characters."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_LONGEST_TIME: Final = 64  # characters; RFC 3339 needs at most 35 with nanoseconds


class Tool(Struct, gc=False):
    """What is known of a tool in a run. Durations are in milliseconds."""

    calls: int = 0
    errors: int = 0
    total_ms: int = 0
    longest_ms: int = 0


class ToolsState(ExtensionState):
    """The slice. Times to first token and durations are in milliseconds. These and `other` are None until there is one.

    `started_at` is the first RunStarted's time. `waiting_since` is when the model was called that has not written text yet.
    """

    tools: dict[str, Tool] = field(default_factory=dict)
    other: Tool | None = None
    model_calls: int = 0
    first_token_ms: int | None = None
    longest_first_token_ms: int | None = None
    duration_ms: int | None = None
    started_at: str | None = None
    waiting_since: str | None = None
    unreadable_times: int = 0


tools: Final = Extension("tools", ToolsState, version=1)


@tools.on(ToolExecutionFinished)
def count_call(state: ToolsState, event: ToolExecutionFinished, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Add the call to its tool."""
    tool = _tool(state, event.tool_name)
    took = event.duration_ms
    tool.calls += 1
    tool.errors += isinstance(event.result.failure, ToolFailure)
    tool.total_ms += took
    if took > tool.longest_ms:  # noqa: PLR1730 (`max` is a call)
        tool.longest_ms = took


def _tool(state: ToolsState, name: str) -> Tool:
    tool = state.tools.get(name)
    if tool is not None:
        return tool
    if not 1 <= len(name) <= NAME or len(state.tools) >= TOOLS:
        if state.other is None:
            state.other = Tool()
        return state.other
    return state.tools.setdefault(name, Tool())


@tools.on(ModelStarted)
def begin_wait(state: ToolsState, event: ModelStarted, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Count the model call, and wait for its first text."""
    state.model_calls += 1
    state.waiting_since = event.timestamp[:_LONGEST_TIME]


def _waits(state: ToolsState) -> bool:
    return state.waiting_since is not None


@tools.on(TextDelta, when=_waits)
def end_wait(state: ToolsState, event: TextDelta, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Measure the wait for the first text."""
    waited = _milliseconds(state, state.waiting_since or "", event.timestamp)
    state.waiting_since = None
    if waited is None:
        return
    if state.first_token_ms is None:
        state.first_token_ms = waited
    longest = state.longest_first_token_ms
    if longest is None or waited > longest:
        state.longest_first_token_ms = waited


@tools.on(RunStarted)
def begin_run(state: ToolsState, event: RunStarted, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Keep when the run started first."""
    if state.started_at is None:
        state.started_at = event.timestamp[:_LONGEST_TIME]


@tools.on(RunCompleted, RunFailed, RunCancelled)
def end_run(state: ToolsState, event: RunCompleted | RunFailed | RunCancelled, run: RunView) -> None:
    """Measure the run."""
    state.waiting_since = None
    lasted = _milliseconds(state, state.started_at or run.created_at, event.timestamp)
    if lasted is not None:
        state.duration_ms = lasted


def _milliseconds(state: ToolsState, since: str, until: str) -> int | None:
    """Return the whole milliseconds between two times, 0 where the clock went back, None where one can't be read."""
    try:
        passed = to_datetime(until) - to_datetime(since)
    except ValueError:
        state.unreadable_times += 1
        return None
    return passed // _MILLISECOND if passed.days >= 0 else 0


@hookimpl
def behest_summary(state: RunState) -> dict[str, int]:
    """Return how many tools were called, how many of the calls failed, and the time to the first token in milliseconds."""
    known = state.slice_of("tools")
    by_name, other, first_token = (known.get(name) for name in ("tools", "other", "first_token_ms"))
    counted = [
        each for each in (*(by_name.values() if isinstance(by_name, dict) else ()), other) if isinstance(each, dict)
    ]
    sums = {
        name: sum(count for each in counted if isinstance(count := each.get(field), int))
        for name, field in (("tool_calls", "calls"), ("tools_failed", "errors"))
    }
    return sums | ({"first_token_ms": first_token} if isinstance(first_token, int) else {})


@hookimpl
def behest_extensions() -> Sequence[Extension]:
    """Return the extension `tools`."""
    return [tools]


@hookimpl
def behest_panels() -> Sequence[Panel]:
    """Return what is shown of a run, of a list of runs, and of a session."""
    from behest_tools.panels import PANELS  # noqa: PLC0415 (it imports this module)

    return PANELS


@hookimpl
def behest_commands(app: typer.Typer) -> None:
    """Add `behest tools`."""
    from behest_tools.command import show_tools  # noqa: PLC0415 (typer and rich are there only with the command)

    app.command(name="tools")(show_tools)
