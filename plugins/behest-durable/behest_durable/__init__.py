"""Records agents in AWS Lambda durable functions, and brings persons' decisions to those that wait.

- `recorded` stands in the place of `durable_execution`: recording.py has it.
- plugin.py is what behest's functions load. They don't need the SDK, so it is imported when something of it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from behest_durable.recording import RecordedStep, current_step, recorded

__all__ = ["RecordedStep", "current_step", "recorded"]


def __getattr__(name: str) -> object:
    """Import recording.py when something of it is asked for."""
    if name in __all__:
        from behest_durable import recording  # noqa: PLC0415

        return getattr(recording, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
