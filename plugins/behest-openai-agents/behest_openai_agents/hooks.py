"""The hooks that a run has: they tell a level what happens, and then the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.lifecycle import RunHooksBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_openai_agents.levels import Level


class RecordingHooks(RunHooksBase[Any, Any]):
    """Tells a level what happens, and then the user's hooks: every hook that the installed SDK has."""

    def __init__(self, level: Level, users: RunHooksBase[Any, Any]) -> None:
        self.level = level
        self.users = users


def _told(name: str) -> Callable[..., Any]:
    async def hook(self: RecordingHooks, *arguments: object, **named: object) -> None:
        record = getattr(self.level, name, None)
        if record is not None and not self.level.recording.is_over:  # a tool may outlive a run that was cancelled
            record(*arguments, **named)
        await getattr(self.users, name)(*arguments, **named)

    return hook


for _name in dir(RunHooksBase):
    if _name.startswith("on_"):
        setattr(RecordingHooks, _name, _told(_name))
