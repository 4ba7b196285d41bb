"""Two runs side by side: how far their conversations are the same, and what is in either from there on. Pure.

Compared is what was said and done: messages, a model's words, which tools it asked for with what, what they gave, how steps and
the run ended. Not times, ids, tokens, nor who answered: two runs of one agent differ in those always.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from behest_core.transcript.entries import Answer, Call, Earlier, End, Message, Part, Pause, Step, Tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST: Final = 200
"""How many pairs are shown behind the place where two runs part."""


class Comparison(Struct, frozen=True):
    """How many parts two runs begin with in common, and what stands side by side from there on, None where one has ended."""

    same: int
    pairs: list[tuple[Part | None, Part | None]]


def compare(one: Sequence[Part], other: Sequence[Part], most: int = MOST) -> Comparison:
    """Find where two conversations part."""
    same = 0
    for left, right in zip(one, other, strict=False):
        if content(left) != content(right):
            break
        same += 1
    return Comparison(same, list(zip_longest(one[same : same + most], other[same : same + most])))


def content(entry: Part) -> tuple[Any, ...]:
    """Return what was said and done in a part, without when, by whom, and at what cost."""
    if isinstance(entry, Answer):
        return "Answer", sorted(entry.answers.values())  # the ids that they answer are a run's own
    return type(entry).__name__, *(_compared(getattr(entry, name)) for name in _FIELDS[type(entry)])


_FIELDS: Final[Mapping[type, tuple[str, ...]]] = {
    Message: ("role", "text"),
    Earlier: ("count",),
    Call: ("text", "error", "discarded", "tools"),
    Tool: ("name", "arguments", "result", "error", "refused"),
    Step: ("name", "type", "error", "entries"),
    Pause: ("reason",),
    End: ("status", "because"),
}
"""What is compared of each kind."""


def _compared(value: Any) -> Any:  # noqa: ANN401 (a field's value)
    if isinstance(value, list):
        return [content(each) if isinstance(each, Struct) else each for each in value]  # type: ignore[arg-type]
    return value.rstrip() if isinstance(value, str) else value
