"""One invocation of a durable execution, as the SDK tells its plugins of it, written into the execution's log.

- What has happened is taken from the checkpoint: all of it when the handler begins and when it ends, and each operation as it
  ends. The journal keeps out what is told already. So nothing depends on what an earlier invocation managed to write.
- What a step's function does is written beside it, and waited for before its result is checkpointed: a step that is not done
  again has all that its models gave in the log.
- An attempt that a crash ended before its result was kept is done again by the SDK as the same attempt: it is the same step. What
  its models gave before the crash stays in it; calls that had no end get one.
- A pause is written when an invocation ends with callbacks that nobody has completed. Each callback that was completed is
  answered.
- Nothing here raises into the execution, and all its waiting for the table together takes twice END_WAIT at most.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from aws_durable_execution_sdk_python.lambda_service import OperationStatus, OperationSubType, OperationType
from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationStatus,
    UserFunctionOutcome,
)
from aws_durable_execution_sdk_python.plugin import OperationType as HookedType

from behest_core.model.agent_events import ModelFailed, Paused, Resumed, StepFinished, StepStarted
from behest_core.model.events import ToolExecutionFinished, ToolExecutionResult
from behest_core.model.timestamps import now
from behest_core.recording.adapter import END_WAIT, Surroundings, start, surroundings, unobtrusive
from behest_durable import operations
from behest_durable.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextvars import Token

    from aws_durable_execution_sdk_python.lambda_service import Operation
    from aws_durable_execution_sdk_python.plugin import (
        InvocationEndInfo,
        OperationEndInfo,
        OperationStartInfo,
        UserFunctionEndInfo,
        UserFunctionStartInfo,
    )
    from aws_durable_execution_sdk_python.state import ExecutionState

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.model.record import RunRecord
    from behest_core.recording.adapter import RecorderSettings
    from behest_core.recording.recorder import RunRecorder

_INTERRUPTED: Final = "Interrupted"
_BROKE_OFF: Final = "the invocation ended before the call did"
_RUN_ENDED: Final = "the run ended before the step did"

_WORDS: Final = {
    OperationStatus.FAILED: "denied",
    OperationStatus.TIMED_OUT: "expired",
    OperationStatus.CANCELLED: "expired",
    OperationStatus.STOPPED: "expired",
}
"""What the end of a callback is as an answer, where nobody completed it well."""


class Invocation(DurableInstrumentationPlugin):
    """Records one invocation. `answer_of` returns the word for what a callback was completed with, see `recorded`."""

    def __init__(
        self,
        log: EventLog,
        record: RunRecord,
        settings: RecorderSettings,
        answer_of: Callable[[str | None], str],
    ) -> None:
        self._answer_of = answer_of
        self._journal = Journal(log)
        self._lock = threading.Lock()
        self._started: set[str] = set()
        self._finished: set[str] = set()
        self._answered: set[str] = set()
        self._attempts: dict[str, int] = {}
        self._ends: dict[str, UserFunctionEndInfo] = {}
        self._entered: dict[str, Token[Surroundings | None]] = {}
        self._state: ExecutionState | None = None
        self._patience = END_WAIT
        self.run: RunRecorder = start(self._journal, record, settings)

    # ------------------------------------------------------------ the invocation

    @unobtrusive()
    def handler_begins(self, state: ExecutionState) -> None:
        """Write what happened since the last invocation, and what that one did not get to write."""
        self._state = state
        self._wait()
        told = self._journal.told
        self.run.iterations = told.iterations
        for step_id in told.started:
            self._note_attempt(step_id)
        self._end_calls()
        self._catch_up(state)

    @unobtrusive()
    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Write that the execution waits, or how it ended."""
        try:
            if self._state is not None:
                self._catch_up(self._state)
                self._end(info, self._state)
        finally:
            self.run.close(END_WAIT)

    def _end(self, info: InvocationEndInfo, state: ExecutionState) -> None:
        if info.status is InvocationStatus.PENDING:
            self._pause(state.operations)
        elif info.status is InvocationStatus.SUCCEEDED:
            self._end_what_is_left()
            self.run.completed()
        elif info.status is InvocationStatus.FAILED:
            self._end_what_is_left()
            self.run.failed(operations.error_of(OperationStatus.FAILED, info.error) or "")

    def _end_what_is_left(self) -> None:
        """Let what has no end, such as the slower branches of a race, end with the run."""
        self._wait()  # by then the journal knows what others have written meanwhile
        self._end_calls()
        for step_id in [*self._journal.told.started, *self._started]:
            self._finish(operations.ended(step_id, _RUN_ENDED))

    def _end_calls(self) -> None:
        """Let the calls end that an invocation broke off."""
        told = self._journal.told
        for call in [*told.models.values()]:
            if call.model_call_id:
                self.run.emit(
                    ModelFailed(
                        model_call_id=call.model_call_id,
                        error_type=_INTERRUPTED,
                        error=f"{_INTERRUPTED}: {_BROKE_OFF}",
                        step_id=call.step_id,
                        timestamp=now(),
                    )
                )
        for tool in [*told.tools.values()]:
            result = ToolExecutionResult.failed(f"{_INTERRUPTED}: {_BROKE_OFF}")
            self.run.emit(
                ToolExecutionFinished(
                    call_id=tool.call_id, tool_name=tool.tool_name, result=result, duration_ms=0, timestamp=now()
                )
            )

    def _wait(self) -> None:
        """Wait until all is in the log, but not again where the table was away for so long."""
        began = time.monotonic()
        self.run.flush(self._patience)
        if time.monotonic() - began >= self._patience:
            self._patience = 0.0

    # ------------------------------------------------------------ operations

    @unobtrusive()
    def on_operation_start(self, info: OperationStartInfo) -> None:
        """Write that a step begins; of one with a function, each attempt is told by itself."""
        if info.operation_type not in {HookedType.EXECUTION, HookedType.STEP}:
            self._begin_step(info, info.operation_id)

    @unobtrusive()
    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Write that an operation ended, as its checkpoint is there."""
        if info.operation_id not in self._started:
            return  # a context that is never checkpointed: its steps belong to the one around it
        attempt = self._attempts.get(info.operation_id, 1)
        self._finish_attempt(info.operation_id, attempt, info, operations.error_of(info.status, info.error))
        if info.operation_type is HookedType.CALLBACK and self._state is not None:
            self._answer(self._state.operations[info.operation_id])

    @unobtrusive()
    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        """Write that an attempt at a step begins, and let what its function does belong to it."""
        if info.operation_type is not HookedType.STEP:
            return
        attempt = info.attempt or 1
        step_id = operations.attempt_id(info.operation_id, attempt)
        if attempt > 1:  # as it has begun, the one before is checkpointed
            self._end_retried(info.operation_id, attempt - 1)
        self._begin_step(info, step_id)
        self._entered[info.operation_id] = surroundings.set(Surroundings(self.run, step_id))

    @unobtrusive()
    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        """Wait for what the function did, before its result is checkpointed."""
        entered = self._entered.pop(info.operation_id, None)
        if entered is not None:
            surroundings.reset(entered)
            self._ends[operations.attempt_id(info.operation_id, info.attempt or 1)] = info
            self._wait()

    def _end_retried(self, operation_id: str, attempt: int) -> None:
        end = self._ends.get(operations.attempt_id(operation_id, attempt))
        if end is not None:
            self._finish_attempt(operation_id, attempt, end, _error_of(end))

    def _begin_step(self, info: OperationStartInfo | UserFunctionStartInfo, step_id: str) -> None:
        kind = info.operation_type.value
        self._begin(operations.began(step_id, kind, info, info.start_time))

    def _finish_attempt(
        self, operation_id: str, attempt: int, info: OperationEndInfo | UserFunctionEndInfo, error: str | None
    ) -> None:
        step_id = operations.attempt_id(operation_id, attempt)
        times = self._ends.get(step_id, info)
        self._finish(operations.ended(step_id, error, since=times.start_time, at=times.end_time))

    # ------------------------------------------------------------ what the checkpoint says

    def _catch_up(self, state: ExecutionState) -> None:
        found = state.operations
        for operation in found.values():
            if operation.status is OperationStatus.PENDING and operation.step_details is not None:
                self._end_retried(operation.operation_id, operation.step_details.attempt)
        for event in operations.events_of(found.values(), self._attempts):
            if isinstance(event, StepStarted):
                self._begin(event)
            elif isinstance(event, StepFinished):
                self._finish(event)
        for operation in found.values():
            if operation.operation_type is OperationType.CALLBACK and operation.status in operations.TERMINAL:
                self._pause_before_answer(operation, found)
                self._answer(operation)

    def _begin(self, event: StepStarted) -> None:
        with self._lock:
            is_new = event.step_id not in self._started
            self._started.add(event.step_id)
        self._note_attempt(event.step_id)
        if is_new and event.step_id not in self._journal.told.started:
            self.run.emit(event)

    def _note_attempt(self, step_id: str) -> None:
        operation_id, _, attempt = step_id.partition("/")
        with self._lock:
            if attempt.isdecimal():
                self._attempts[operation_id] = max(self._attempts.get(operation_id, 1), int(attempt))

    def _finish(self, event: StepFinished) -> None:
        with self._lock:
            is_new = event.step_id not in self._finished
            self._finished.add(event.step_id)
        if is_new and event.step_id not in self._journal.told.finished:
            self.run.emit(event)

    # ------------------------------------------------------------ callbacks

    def _pause(self, found: Mapping[str, Operation]) -> None:
        waiting = [
            operation
            for operation in found.values()
            if operation.operation_type is OperationType.CALLBACK and operation.status is OperationStatus.STARTED
        ]
        if waiting:
            self._emit_pause(waiting, found, now())

    def _pause_before_answer(self, operation: Operation, found: Mapping[str, Operation]) -> None:
        """Write the pause that an invocation did not get to write, before its answer."""
        told = self._journal.told
        callback_id = _callback_id(operation)
        known = told.paused | told.answered | self._answered
        if self._journal.is_read and callback_id not in known:
            self._emit_pause([operation], found, operations.moment(operation.start_timestamp))

    def _emit_pause(self, waiting: Sequence[Operation], found: Mapping[str, Operation], at: str) -> None:
        names = ", ".join(_name_of(operation, found) for operation in waiting)
        pending = [_callback_id(operation) for operation in waiting]
        self.run.emit(Paused(reason=f"waits for {names}", pending=pending, timestamp=at))

    def _answer(self, operation: Operation) -> None:
        callback_id = _callback_id(operation)
        with self._lock:
            is_new = callback_id not in self._answered
            self._answered.add(callback_id)
        if not is_new or callback_id in self._journal.told.answered:
            return
        word = _WORDS.get(operation.status, "answered")
        if operation.status is OperationStatus.SUCCEEDED and operation.callback_details is not None:
            with unobtrusive():
                word = self._answer_of(operation.callback_details.result)
        self.run.emit(Resumed(answers={callback_id: word}, timestamp=operations.moment(operation.end_timestamp)))


def _callback_id(operation: Operation) -> str:
    return operation.callback_details.callback_id if operation.callback_details else operation.operation_id


def _name_of(operation: Operation, found: Mapping[str, Operation]) -> str:
    """Return the name that the handler gave to what it waits for."""
    around: Any = found.get(operation.parent_id or "")
    if around is not None and around.sub_type == OperationSubType.WAIT_FOR_CALLBACK:
        operation = around
    return operation.name or "a callback"


def _error_of(end: UserFunctionEndInfo) -> str | None:
    if end.outcome is UserFunctionOutcome.SUCCEEDED:
        return None
    return operations.error_of(OperationStatus.FAILED, end.error)
