"""How each event type changes a run's state. Everything that does is in this module.

The rules are the seed's (`RunState::apply` of behest 0.3.3), for every log, legal or not:

- Every event counts, and sets `updated_at` to its own time; the fold does that, for all types alike (fold.py).
- The types in `REDUCER`, and no others, change more than that.
- Nothing is refused: a ModelStarted after a terminal event sets CallingModel again, and `last_finish` and `last_error` stay.
- BuildingContext, WaitingForTools and Persisting are never set.
- UsageRecorded adds input and output; the total is their sum, whatever the event's own total says. Cache counts are added
  where they are present (0.5.9).

Beside the seed's fields it keeps two facts. `ended_at` is the time of the event that ended the run, until the run goes on.
`waiting` is the agent.Paused of an active run, until agent.Resumed answers it or anything else shows that the run goes on or is
over; what says nothing of that (a gap in the recording, a heartbeat, a late message) leaves it.

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
from msgspec.structs import replace

from behest_core.errors import InvalidValueError
from behest_core.model.agent_events import Annotated, Paused, Resumed
from behest_core.model.events import (
    Event,
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    Timed,
    ToolExecutionStarted,
    UsageRecorded,
)
from behest_core.model.json import check_storable
from behest_core.model.limits import (
    ANNOTATIONS_BYTES,
    PENDING_ID_BYTES,
    PENDING_IDS,
    REASON_BYTES,
    beginning,
    check_text_size,
    stored_size,
)
from behest_core.model.state import (
    Annotations,
    FinishReason,
    RunState,
    RunStatus,
    TokenUsage,
    UnknownFinishReason,
    Waiting,
)
from behest_core.model.timestamps import canonical

REDUCER_VERSION: Final = 2
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
    state.waiting = state.ended_at = None
    state.provider = event.provider
    state.model = event.model


def model_started(state: RunState, event: ModelStarted) -> None:
    """CallingModel; the iteration is the event's, its provider and model are not taken."""
    if event.iteration > _U64_MAX:
        raise OverflowError("iteration does not fit 64 bits")
    state.iteration = event.iteration
    state.status = _CALLING_MODEL
    state.waiting = state.ended_at = None


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
    _end(state, RunStatus.COMPLETED, event)
    state.last_finish = finish


def run_failed(state: RunState, event: RunFailed) -> None:
    """Failed, with the error."""
    _check_size(state, state.provider, state.model, state.last_finish, event.error)
    _end(state, RunStatus.FAILED, event)
    state.last_error = event.error


def annotated(state: RunState, event: Annotated) -> None:
    """Tags are added, metadata is set by key; null takes a key away. An event that makes them too many is left out."""
    before = state.annotations or Annotations()
    given = {} if event.metadata is UNSET else event.metadata
    try:
        check_storable(given, "metadata")
    except InvalidValueError as error:  # whose path names keys, which are payload
        raise ValueError(f"metadata: {error.reason}") from error
    tags = [*dict.fromkeys([*before.tags, *([] if event.tags is UNSET else event.tags)])]
    metadata = {key: value for key, value in {**before.metadata, **given}.items() if value is not None}
    if stored_size([*tags]) + stored_size(metadata) <= ANNOTATIONS_BYTES:
        state.annotations = Annotations(tags=tags, metadata=metadata) if tags or metadata else None


def resumed(state: RunState, event: Resumed) -> None:
    """The run waits no more, unless a person has decided a part only of what it waits for.

    A person's decision is counted: the notifier tells it where the count grows.
    """
    left: list[str] = []
    if event.by is not UNSET:
        state.decisions += 1
        left = [] if state.waiting is None else [each for each in state.waiting.pending if each not in event.answers]
    state.waiting = replace(state.waiting, pending=left) if left and state.waiting is not None else None


def run_cancelled(state: RunState, event: RunCancelled) -> None:
    """Cancelled."""
    _end(state, RunStatus.CANCELLED, event)


def _end(state: RunState, status: RunStatus, event: Timed) -> None:
    state.status = status
    state.ended_at = _moment(state, event)
    state.waiting = None


def paused(state: RunState, event: Paused) -> None:
    """The run waits, unless it is over."""
    if not state.status.is_terminal:
        pending = [
            each for each in event.pending[:PENDING_IDS] if len(each.encode(errors="replace")) <= PENDING_ID_BYTES
        ]
        state.waiting = Waiting(
            since=_moment(state, event), reason=beginning(event.reason, REASON_BYTES), pending=pending
        )


def goes_on(state: RunState, event: Timed) -> None:  # noqa: ARG001 (a handler's signature)
    """The run waits no more."""
    state.waiting = None


def _moment(state: RunState, event: Timed) -> str:
    """Return an event's time as it sorts. A writer may have put none there: then it is the run's beginning."""
    try:
        return canonical(event.timestamp)
    except ValueError:
        return state.created_at or ""


REDUCER: Final[Mapping[type[Event], Change]] = MappingProxyType(
    {
        RunStarted: Change(run_started, reads=("session_id", "provider", "model")),
        ModelStarted: Change(model_started, reads=("iteration",)),
        UsageRecorded: Change(usage_recorded, reads=("usage",)),
        RunCompleted: Change(run_completed, reads=("finish_reason",)),
        RunFailed: Change(run_failed, reads=("error",)),
        RunCancelled: Change(run_cancelled, reads=()),
        Annotated: Change(annotated, reads=("tags", "metadata")),
        Paused: Change(paused, reads=("reason", "pending")),
        Resumed: Change(resumed, reads=("answers", "by")),
        ToolExecutionStarted: Change(goes_on, reads=()),
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
