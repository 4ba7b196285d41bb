"""How each event type changes a run's state. Everything that does is in this module.

The rules are the seed's (`RunState::apply` of behest 0.3.3), for every log, legal or not:

- Every event counts, and sets `updated_at` to its own time; the fold does that, for all types alike (fold.py).
- The types in `REDUCER`, and no others, change more than that.
- Nothing is refused: a ModelStarted after a terminal event sets CallingModel again, and `last_finish` and `last_error` stay.
- BuildingContext, WaitingForTools and Persisting are never set.
- UsageRecorded adds input and output; the total is their sum, whatever the event's own total says. Cache counts are added
  where they are present (0.5.9).

What the seed can't hold, the fold can't either, and raises: counts beyond 64 bits. And what a state item can't hold: text beyond
the core's share of it. A handler that raises has changed nothing.

Beside the seed's, `agent.Resumed` counts decisions.

Without a record, RunStarted alone says session, provider and model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET, UnsetType

from behest_core.model.agent_events import Resumed
from behest_core.model.events import (
    Event,
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    UsageRecorded,
)
from behest_core.model.limits import check_text_size
from behest_core.model.state import FinishReason, RunState, RunStatus, TokenUsage, UnknownFinishReason

REDUCER_VERSION: Final = 1
"""Raised whenever a change here gives another state for the same log; stored states are then folded again."""

Handler: TypeAlias = Callable[[RunState, Any], None]


class Change(NamedTuple):
    """What an event type does to the state, and the fields it looks at: an event is malformed if one of those is."""

    handler: Handler
    reads: tuple[str, ...]


_U64_MAX: Final = 2**64 - 1
_CALLING_MODEL: Final = (
    RunStatus.CALLING_MODEL
)  # of an enum, looking a member up costs as much as the rest of the handler


def run_started(state: RunState, event: RunStarted) -> None:
    """SessionLoaded; provider and model are the event's; the session only where there was no record."""
    _check_size(state, event.provider, event.model, state.last_finish, state.last_error)
    if state.session_id is None:
        state.session_id = event.session_id
    state.status = RunStatus.SESSION_LOADED
    state.provider = event.provider
    state.model = event.model


def model_started(state: RunState, event: ModelStarted) -> None:
    """CallingModel; the iteration is the event's, its provider and model are not taken."""
    if event.iteration > _U64_MAX:
        raise OverflowError("iteration does not fit 64 bits")
    state.iteration = event.iteration
    state.status = _CALLING_MODEL


def usage_recorded(state: RunState, event: UsageRecorded) -> None:
    """Tokens are added up."""
    total, usage = state.total_usage, event.usage
    input_tokens = total.input_tokens + usage.input_tokens
    output_tokens = total.output_tokens + usage.output_tokens
    if input_tokens + output_tokens > _U64_MAX:
        raise OverflowError("total_usage does not fit 64 bits")
    _add_cached(total, usage)
    total.input_tokens = input_tokens
    total.output_tokens = output_tokens
    total.total_tokens = input_tokens + output_tokens


def _add_cached(total: TokenUsage, usage: TokenUsage) -> None:
    """Add the cache counts that are present."""
    created, read, cached = (
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
        usage.cached_input_tokens,
    )
    if created is UNSET and read is UNSET and cached is UNSET:
        return
    created = _sum(total.cache_creation_input_tokens, created)
    read = _sum(total.cache_read_input_tokens, read)
    cached = _sum(total.cached_input_tokens, cached)
    total.cache_creation_input_tokens = created
    total.cache_read_input_tokens = read
    total.cached_input_tokens = cached


def run_completed(state: RunState, event: RunCompleted) -> None:
    """Completed, with the finish reason."""
    finish = _finish_reason(event.finish_reason)
    _check_size(state, state.provider, state.model, finish, state.last_error)
    state.status = RunStatus.COMPLETED
    state.last_finish = finish


def run_failed(state: RunState, event: RunFailed) -> None:
    """Failed, with the error."""
    _check_size(state, state.provider, state.model, state.last_finish, event.error)
    state.status = RunStatus.FAILED
    state.last_error = event.error


def resumed(state: RunState, event: Resumed) -> None:
    """A person's decision is counted: the notifier tells it where the count grows."""
    if event.by is not UNSET:
        state.decisions += 1


def run_cancelled(state: RunState, event: RunCancelled) -> None:  # noqa: ARG001 (a handler's signature)
    """Cancelled."""
    state.status = RunStatus.CANCELLED


REDUCER: Final[Mapping[type[Event], Change]] = MappingProxyType(
    {
        RunStarted: Change(run_started, reads=("session_id", "provider", "model")),
        ModelStarted: Change(model_started, reads=("iteration",)),
        UsageRecorded: Change(usage_recorded, reads=("usage",)),
        RunCompleted: Change(run_completed, reads=("finish_reason",)),
        RunFailed: Change(run_failed, reads=("error",)),
        RunCancelled: Change(run_cancelled, reads=()),
        Resumed: Change(resumed, reads=("by",)),
    }
)


def _finish_reason(reason: str | UnknownFinishReason) -> FinishReason | UnknownFinishReason:
    if isinstance(reason, UnknownFinishReason):
        return reason
    try:
        return FinishReason(reason)
    except ValueError:
        return UnknownFinishReason(reason)


def _sum(total: int | UnsetType, more: int | UnsetType) -> int | UnsetType:
    if more is UNSET:
        return total
    added = more if total is UNSET else total + more
    if added > _U64_MAX:
        raise OverflowError("total_usage does not fit 64 bits")
    return added


def _check_size(
    state: RunState,
    provider: str | None,
    model: str | None,
    finish: FinishReason | UnknownFinishReason | None,
    error: str | None,
) -> None:
    reason = finish.unknown if isinstance(finish, UnknownFinishReason) else finish
    check_text_size(state.run_id, provider, model, reason, error)
