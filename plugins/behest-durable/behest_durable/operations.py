"""What a durable execution's checkpoint says happened, as events.

- Each operation is a step. Its id is the operation's, which is the same in each invocation; that of a function's second attempt
  is ``<operation>/2``, and so on. The step that an operation belongs to is the one around it.
- The checkpoint is the truth: a step has ended when its operation has, there, and an attempt has when the next is scheduled.
- Of an attempt that others followed the checkpoint keeps no time and no error.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from aws_durable_execution_sdk_python.lambda_service import Operation, OperationStatus, OperationSubType, OperationType
from msgspec import UNSET

from behest_core.model.agent_events import StepFinished, StepStarted
from behest_core.model.timestamps import from_datetime, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aws_durable_execution_sdk_python.lambda_service import ErrorObject
    from msgspec import UnsetType

    from behest_core.plugins import Event

_KINDS: Final[Mapping[str, str]] = {
    OperationSubType.STEP: "step",
    OperationSubType.WAIT: "wait",
    OperationSubType.CALLBACK: "callback",
    OperationSubType.RUN_IN_CHILD_CONTEXT: "context",
    OperationSubType.MAP: "map",
    OperationSubType.MAP_ITERATION: "iteration",
    OperationSubType.PARALLEL: "parallel",
    OperationSubType.PARALLEL_BRANCH: "branch",
    OperationSubType.WAIT_FOR_CALLBACK: "wait_for_callback",
    OperationSubType.WAIT_FOR_CONDITION: "condition",
    OperationSubType.CHAINED_INVOKE: "invoke",
}

TERMINAL: Final = frozenset(
    {
        OperationStatus.SUCCEEDED,
        OperationStatus.FAILED,
        OperationStatus.CANCELLED,
        OperationStatus.TIMED_OUT,
        OperationStatus.STOPPED,
    }
)

_WITHOUT_WORDS: Final[Mapping[OperationStatus, str]] = {
    OperationStatus.FAILED: "failed",
    OperationStatus.CANCELLED: "cancelled",
    OperationStatus.TIMED_OUT: "timed out",
    OperationStatus.STOPPED: "stopped",
}

_TRIED_AGAIN: Final = "failed, and was tried again"


class Named(Protocol):
    """What the SDK's several objects of an operation have alike."""

    @property
    def name(self) -> str | None: ...  # noqa: D102
    @property
    def sub_type(self) -> str | None: ...  # noqa: D102
    @property
    def parent_id(self) -> str | None: ...  # noqa: D102


def attempt_id(operation_id: str, attempt: int) -> str:
    """Return the step id of the n-th attempt at an operation, counted from 1."""
    return operation_id if attempt == 1 else f"{operation_id}/{attempt}"


def began(step_id: str, operation_type: str, of: Named, at: datetime | None) -> StepStarted:
    """Return the event that a step of an operation began."""
    kind = _KINDS.get(of.sub_type or "", operation_type.lower())  # a subtype may be of the user's own
    return StepStarted(
        step_id=step_id,
        name=of.name or kind,
        kind=kind,
        parent_step_id=of.parent_id or UNSET,
        timestamp=moment(at),
    )


def ended(
    step_id: str, error: str | None = None, *, since: datetime | None = None, at: datetime | None = None
) -> StepFinished:
    """Return the event that a step ended, by an error or well."""
    return StepFinished(
        step_id=step_id,
        error=UNSET if error is None else error,
        duration_ms=_milliseconds(since, at),
        timestamp=moment(at),
    )


def error_of(status: OperationStatus, error: ErrorObject | None) -> str | None:
    """Return what an operation ended by; None where it went well."""
    if status not in _WITHOUT_WORDS:
        return None
    if error is None or not (error.type or error.message):
        return _WITHOUT_WORDS[status]
    return ": ".join(part for part in (error.type, error.message) if part)


def events_of(operations: Iterable[Operation], begun: Mapping[str, int]) -> list[Event]:
    """Return the beginnings and ends of all steps that a checkpoint tells of, in the order of their time.

    `begun` is how many attempts at an operation are known to have begun.
    """
    told: list[Event] = []
    for operation in operations:
        if operation.operation_type is OperationType.STEP:
            told += _attempts(operation, begun.get(operation.operation_id, 1))
        elif operation.operation_type is not OperationType.EXECUTION:
            told += _whole(operation)
    return sorted(told, key=lambda event: event.timestamp)


def _whole(operation: Operation) -> list[Event]:
    events: list[Event] = [_began(operation, operation.operation_id)]
    if operation.status in TERMINAL:
        events.append(_ended(operation, operation.operation_id))
    return events


def _attempts(operation: Operation, begun: int) -> list[Event]:
    events: list[Event] = []
    counted = operation.step_details.attempt if operation.step_details else 0
    finished = max(counted, begun) if operation.status in TERMINAL else counted
    for attempt in range(1, finished + 1):
        step_id = attempt_id(operation.operation_id, attempt)
        events.append(_began(operation, step_id))
        if attempt == finished and operation.status in TERMINAL:
            events.append(_ended(operation, step_id))
        else:
            error = _retried(operation, is_last=attempt == finished)
            events.append(ended(step_id, error, at=operation.start_timestamp))
    if operation.status is OperationStatus.STARTED:
        events.append(_began(operation, attempt_id(operation.operation_id, finished + 1)))
    return events


def _retried(operation: Operation, *, is_last: bool) -> str | None:
    """Return what an attempt ended by that another follows; None where it only found a condition not met yet."""
    if operation.sub_type == OperationSubType.WAIT_FOR_CONDITION:
        return None
    error = operation.step_details.error if operation.step_details and is_last else None
    return _TRIED_AGAIN if error is None else error_of(OperationStatus.FAILED, error)


def _began(operation: Operation, step_id: str) -> StepStarted:
    return began(step_id, operation.operation_type.value, operation, operation.start_timestamp)


def _ended(operation: Operation, step_id: str) -> StepFinished:
    return ended(
        step_id,
        error_of(operation.status, _error(operation)),
        since=operation.start_timestamp,
        at=operation.end_timestamp,
    )


def _error(operation: Operation) -> ErrorObject | None:
    for details in (
        operation.step_details,
        operation.callback_details,
        operation.chained_invoke_details,
        operation.context_details,
    ):
        if details is not None and details.error is not None:
            return details.error
    return None


def moment(at: datetime | None) -> str:
    """Return a time as events have it; now where none is known."""
    return now() if at is None else from_datetime(at.astimezone(UTC))


def _milliseconds(since: datetime | None, until: datetime | None) -> int | UnsetType:
    if since is None or until is None:
        return UNSET
    return max(0, round(1000 * (until - since).total_seconds()))
