"""Scripts: what a model says, what tools do, and where somebody stops them: the ground truth, as no framework is in them.

A script is played on a `Stage` (adapter_stage.py). Nothing in it takes time: where one thing has to come before another, it waits
for that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from behest_core.model.events import ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from behest_core.model.json import JSON

MODEL: Final = "stub-1"
"""The model that a script has where it doesn't say otherwise."""

Counting: TypeAlias = Literal["within", "beside"]
"""How a provider counts cached tokens: within its input tokens, as OpenAI does, or beside them, as Anthropic does."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, in behest's meaning.

    `given` are all that the model was given; `read` and `stored`, from and into a cache, are parts of them. `thought` is a part
    of what was `written`. `uncached` is what a provider reports as its input that counts cached tokens beside it.
    """

    given: int = 10
    written: int = 2
    read: int = 0
    stored: int = 0
    thought: int = 0

    @property
    def uncached(self) -> int:
        """The tokens that went neither into a cache nor came out of it."""
        return self.given - self.read - self.stored


@dataclass(frozen=True)
class Turn:
    """What one call of a model gives, in this order: `reasoning`, `text` piece by piece, tool calls, `usage`.

    `so_far` is usage that the provider tells at the beginning, to be replaced by `usage`. After the text the call fails with
    `error`, or, with `hangs`, never ends. With `meets` it waits after each piece until the other model's call is as far.
    """

    text: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    usage: Usage | None = field(default_factory=Usage)
    so_far: Usage | None = None
    error: str | None = None
    hangs: bool = False
    meets: bool = False


@dataclass(frozen=True)
class Tool:
    """A tool with one parameter, `city`. It gives a text or fails with `error`; with `hangs` it never ends.

    `waits_for` names another tool: it ends once that has begun. With `needs_approval` somebody is asked first.
    """

    name: str = "weather"
    gives: str = "3 degrees"
    error: str | None = None
    hangs: bool = False
    waits_for: str | None = None
    needs_approval: bool = False


@dataclass(frozen=True)
class Script:
    """What is played. `answer` is what whoever asks the agent gets, None where it raises or is cancelled.

    `turns` are a model's, by its name. `counting` is the provider's way with cached tokens. `metadata` is given to the adapter.
    """

    turns: Mapping[str, tuple[Turn, ...]]
    tools: tuple[Tool, ...] = ()
    prompt: str = "How warm is it in Oslo?"
    system: str = "You tell the weather."
    streamed: bool = False
    counting: Counting = "within"
    answer: str | None = "It is cold."
    metadata: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def said(self) -> frozenset[str]:
        """Every text that a person, a model or a tool says in it: what a log without content has none of."""
        turns = [turn for each in self.turns.values() for turn in each]
        calls = [call for turn in turns for call in turn.calls]
        texts = {self.prompt, self.system, *(turn.reasoning for turn in turns), *(turn.error or "" for turn in turns)}
        texts |= {piece for turn in turns for piece in turn.text}
        texts |= {text for tool in self.tools for text in (tool.gives, tool.error or "")}
        texts |= {str(text) for call in calls if isinstance(call.arguments, dict) for text in call.arguments.values()}
        return frozenset(text for text in texts if text)


def asks(*tools: str, city: str = "Oslo", first: int = 1, **more: object) -> Turn:
    """Return a turn that calls these tools; their calls' ids are numbered from `first`."""
    calls = tuple(ToolCall(f"call-{number}", name, {"city": city}) for number, name in enumerate(tools, first))
    return Turn(calls=calls, **more)  # type: ignore[arg-type]  # the fields of Turn


def says(*text: str, **more: object) -> Turn:
    """Return a turn that gives a text in these pieces."""
    return Turn(text=text, **more)  # type: ignore[arg-type]  # the fields of Turn


def script(*turns: Turn, tools: tuple[Tool, ...] = (), **more: object) -> Script:
    """Return a script of one model."""
    return Script({MODEL: turns}, tools, **more)  # type: ignore[arg-type]  # the fields of Script
