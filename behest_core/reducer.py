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

Without a record, RunStarted alone says session, provider and model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from msgspec import UNSET, UnsetType

from behest_core.events import Event, ModelStarted, RunCancelled, RunCompleted, RunFailed, RunStarted, UsageRecorded
from behest_core.state import FinishReason, RunState, RunStatus, TokenUsage, UnknownFinishReason
from behest_core.storable import JSON, check_core_size

REDUCER_VERSION: Final = 1
"""Raised whenever a change here gives another state for the same log; stored states are then folded again."""

Handler: TypeAlias = Callable[[RunState, Any], None]

_U64_MAX: Final = 2**64 - 1


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
    _check_u64("iteration", event.iteration)
    state.iteration = event.iteration
    state.status = RunStatus.CALLING_MODEL


def usage_recorded(state: RunState, event: UsageRecorded) -> None:
    """Tokens are added up."""
    total, usage = state.total_usage, event.usage
    added = TokenUsage(
        total.input_tokens + usage.input_tokens,
        total.output_tokens + usage.output_tokens,
        total.input_tokens + usage.input_tokens + total.output_tokens + usage.output_tokens,
        _add(total.cache_creation_input_tokens, usage.cache_creation_input_tokens),
        _add(total.cache_read_input_tokens, usage.cache_read_input_tokens),
        _add(total.cached_input_tokens, usage.cached_input_tokens),
    )
    _check_u64("total_usage", added.total_tokens)
    for cached in (added.cache_creation_input_tokens, added.cache_read_input_tokens, added.cached_input_tokens):
        _check_u64("total_usage", cached or 0)
    state.total_usage = added


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


def run_cancelled(state: RunState, event: RunCancelled) -> None:  # noqa: ARG001 (a handler's signature)
    """Cancelled."""
    state.status = RunStatus.CANCELLED


REDUCER: Final[Mapping[type[Event], Handler]] = MappingProxyType(
    {
        RunStarted: run_started,
        ModelStarted: model_started,
        UsageRecorded: usage_recorded,
        RunCompleted: run_completed,
        RunFailed: run_failed,
        RunCancelled: run_cancelled,
    }
)


def _finish_reason(reason: str | UnknownFinishReason) -> FinishReason | UnknownFinishReason:
    if isinstance(reason, UnknownFinishReason):
        return reason
    try:
        return FinishReason(reason)
    except ValueError:
        return UnknownFinishReason(reason)


def _add(total: int | UnsetType, more: int | UnsetType) -> int | UnsetType:
    if more is UNSET:
        return total
    return more if total is UNSET else total + more


def _check_u64(name: str, count: int) -> None:
    if count > _U64_MAX:
        raise OverflowError(f"{name} does not fit 64 bits")


def _check_size(
    state: RunState,
    provider: JSON,
    model: JSON,
    finish: FinishReason | UnknownFinishReason | None,
    error: JSON,
) -> None:
    reason = finish.unknown if isinstance(finish, UnknownFinishReason) else finish
    check_core_size(state.run_id, state.metadata, provider, model, reason, error)
