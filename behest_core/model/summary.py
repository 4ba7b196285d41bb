"""What one asks of a run among many: a row of a list, and what lists are filtered by.

A summary is made of a state, and stored nowhere. Beside what the core knows it has `fields`, which plugins contribute: numbers,
words and flags by name. One of them the core has a name for, as several plugins may give it: `nano_usd`, what the run cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from msgspec import UNSET, Struct, field

from behest_core.model.state import RunStatus
from behest_core.model.timestamps import to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from behest_core.model.json import JSON
    from behest_core.model.state import Annotations, RunState

FieldValue: TypeAlias = "int | float | str | bool"

T = TypeVar("T")

_LARGEST_TEXT: Final = 1_000
"""How many characters of a text that a plugin contributes are kept."""


class Summary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run in a list. Times are RFC 3339; `ended_at` and `duration_ms` are None while the run is active.

    `waiting_since` is since when it waits for a person.
    `agent_name`, `tags`, `user_id` and the two ids of other runs are those of the metadata.
    """

    run_id: str
    status: RunStatus
    session_id: str | None = None
    provider: str | None = None
    model: str | None = None
    agent_name: str | None = None
    tags: tuple[str, ...] = ()
    user_id: str | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    ended_at: str | None = None
    duration_ms: int | None = None
    iterations: int = 0
    events: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cache_read_input_tokens: int = 0
    error: str | None = None
    is_parked: bool = False
    revision: int = 0
    waiting_since: str | None = None
    fields: dict[str, FieldValue] = field(default_factory=dict)

    @property
    def nano_usd(self) -> int | None:
        """What the run cost so far, in nanodollars, where a plugin knows."""
        return _of_type(self.fields.get("nano_usd"), int)


def summarize(state: RunState, contributed: Mapping[str, object] | None = None) -> Summary:
    """Return the summary of a state, with the fields that plugins contribute; what is none of `FieldValue` is left out."""
    known = state.metadata if isinstance(state.metadata, dict) else {}
    usage = state.total_usage
    cached = usage.cache_read_input_tokens
    return Summary(
        run_id=state.run_id,
        status=state.status,
        session_id=state.session_id,
        provider=state.provider,
        model=state.model,
        agent_name=_of_type(known.get("agent_name"), str),
        tags=_tags(known.get("tags"), state.annotations),
        user_id=_of_type(known.get("user_id"), str),
        parent_run_id=_of_type(known.get("parent_run_id"), str),
        root_run_id=_of_type(known.get("root_run_id"), str),
        created_at=state.created_at,
        updated_at=state.updated_at,
        ended_at=state.ended_at,
        duration_ms=milliseconds_between(state.created_at, state.ended_at),
        iterations=state.iteration,
        events=state.event_count,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        cache_read_input_tokens=0 if cached is UNSET else cached,
        error=state.last_error,
        is_parked=bool(state.parks),
        revision=state.revision,
        waiting_since=state.waiting_since,
        fields={name: kept for name, value in (contributed or {}).items() if (kept := _field(value)) is not None},
    )


def milliseconds_between(first: str | None, last: str | None) -> int | None:
    """Return the time between two times; None where one is missing, or no time, and 0 where the clock went back."""
    if not first or not last:
        return None
    try:
        return max(0, round((to_datetime(last) - to_datetime(first)).total_seconds() * 1000))
    except ValueError:
        return None  # a writer put no time there


def _tags(value: JSON, annotations: Annotations | None) -> tuple[str, ...]:
    """Return the tags that the run was created with, and those that it was given since."""
    own = [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
    return tuple(own if annotations is None else dict.fromkeys([*own, *annotations.tags]))


def _field(value: object) -> FieldValue | None:
    if isinstance(value, str):
        return value[:_LARGEST_TEXT]
    return value if isinstance(value, bool | int | float) else None


def _of_type(value: object, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) and not (kind is int and isinstance(value, bool)) else None
