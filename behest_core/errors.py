"""Every error behest raises on purpose.

    BehestError
    ├── InvalidValueError (ValueError)     what the caller passed can't be stored
    │   ├── InvalidRunIdError
    │   └── EventTooLargeError
    ├── MalformedError (ValueError)        what was stored, or sent to us, isn't what it should be
    │   ├── MalformedEventError            one event; carries its run and sequence
    │   ├── MalformedRecordError           a run record
    │   ├── MalformedStateError            a state item
    │   └── MalformedLineError             a line of a JSON lines file; carries its number and field
    ├── StateTooLargeError                 a fold's result would not fit its item
    ├── IncompleteLogError                 a log lacks events, so it can't be folded from its beginning
    ├── ConflictError                      somebody else was there first
    │   ├── SequenceConflictError          the log has grown past `expected_sequence`
    │   ├── RevisionConflictError          the state item has been saved by somebody else (dynamodb/state_table.py)
    │   ├── ContentionError                somebody else was first however often it was tried
    │   ├── RunExistsError                 the run has another run record
    │   ├── DecidedError                   somebody has answered already what the run waited for
    │   └── RunDiffersError                the run is there, with another event or record than the one to import
    ├── RunNotFoundError (LookupError)
    │   └── RunDeletedError                it was deleted on request
    ├── StateNotFoundError (LookupError)   the run never was at the sequence, or at the time, that was asked for
    ├── LogTruncatedError                  the log no longer reaches back as far as the state does
    ├── LogDivergedError                   the log has another history than the one that the state was folded from
    ├── NotWaitingError                    an answer to what the run doesn't wait for
    ├── AlreadyRecordedError               another recorder of the process has the run
    ├── RunEndedError                      an event after a terminal one, in a recorder
    ├── RecordingError                     a recorder can't append
    ├── RunParkedError                     waiting for a run that is parked
    ├── WaitTimeoutError (TimeoutError)
    ├── PluginError                        a plugin, or a part of one, won't do
    └── ConfigurationError                 no table, stack, region or credentials

Errors of AWS itself (throttling, network, permissions) are botocore's and pass through unchanged: they are for retrying,
these are not.
"""

from __future__ import annotations


class BehestError(Exception):
    """The root of all errors that behest raises on purpose."""


class InvalidValueError(BehestError, ValueError):
    """A value can't be stored. `path` says where it sits, such as ``metadata.limits[2]``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class InvalidRunIdError(InvalidValueError):
    """A run id is not a string of 1 to 255 characters."""

    def __init__(self, run_id: object) -> None:
        shown = run_id if not isinstance(run_id, str) else f"{len(run_id)} characters"
        super().__init__("run_id", f"expected a string of 1 to 255 characters, got {shown!r}")
        self.run_id = run_id


class EventTooLargeError(InvalidValueError):
    """A single event is larger than an item of the event table can be. Sizes are bytes of JSON."""

    def __init__(self, run_id: str, event_type: str, size: int, limit: int) -> None:
        super().__init__(
            "event",
            f"run {run_id}: one {event_type} is {size:,} bytes, at most {limit:,} fit an item of the event table; "
            "store the payload elsewhere (S3, say) and record where",
        )
        self.run_id = run_id
        self.event_type = event_type
        self.expected = limit
        self.actual = size


class MalformedError(BehestError, ValueError):
    """Something that was read is not what it should be. Messages carry paths and types, never payload."""


class MalformedEventError(MalformedError):
    """An event can't be folded. `sequence` is its position in the run."""

    def __init__(self, run_id: str, sequence: int, reason: str) -> None:
        super().__init__(f"run {run_id}, sequence {sequence}: {reason}")
        self.run_id = run_id
        self.sequence = sequence
        self.reason = reason


class MalformedRecordError(MalformedError):
    """A run record can't be read."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"run {run_id}, run record: {reason}")
        self.run_id = run_id
        self.reason = reason


class MalformedStateError(MalformedError):
    """A state item can't be read: something other than behest wrote to the state table."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"run {run_id}, state item: {reason}; fold it again from its log")
        self.run_id = run_id
        self.reason = reason


class MalformedLineError(MalformedError):
    """A line of a JSON lines file can't be read. `number` counts from 1, `field` is a path such as ``events[3].event``."""

    def __init__(self, source: str, number: int, field: str, expected: str) -> None:
        super().__init__(f"{source}:{number}: {field}: {expected}")
        self.source = source
        self.number = number
        self.field = field
        self.expected = expected


class StateTooLargeError(BehestError):
    """A state would be larger than its share of a DynamoDB item. Sizes are DynamoDB's, in bytes."""

    def __init__(self, run_id: str, size: int, limit: int) -> None:
        super().__init__(f"run {run_id}: the state would be {size:,} bytes, at most {limit:,} are kept")
        self.run_id = run_id
        self.expected = limit
        self.actual = size


class IncompleteLogError(BehestError):
    """A run's log lacks events: `expected` is the first position that isn't there, `actual` the one that follows."""

    def __init__(self, run_id: str, expected: int, actual: int) -> None:
        super().__init__(
            f"run {run_id}: its log lacks the events from sequence {expected} to {actual - 1}; "
            "they have expired, or were deleted"
        )
        self.run_id = run_id
        self.expected = expected
        self.actual = actual


class ConflictError(BehestError):
    """Somebody else was there first."""


class SequenceConflictError(ConflictError):
    """The log is not where the caller expected it to be.

    `appended` counts the events of this call that are in the log all the same: more than one item's worth of events is
    appended item by item, and another writer may come in between.
    """

    def __init__(self, run_id: str, expected: int, actual: int, appended: int = 0) -> None:
        partly = f" ({appended} of the events were appended before that)" if appended else ""
        super().__init__(
            f"run {run_id}: expected sequence {expected}, the log is at {actual}{partly}; "
            f"read on from {expected} and decide again"
        )
        self.run_id = run_id
        self.expected = expected
        self.actual = actual
        self.appended = appended


class ContentionError(ConflictError):
    """Another writer of the run was first, `tries` times in a row. Nothing was written."""

    def __init__(self, run_id: str, tries: int) -> None:
        super().__init__(
            f"run {run_id}: another writer was first {tries} times in a row, and nothing was written; try again later, "
            "or write to a run from fewer processes"
        )
        self.run_id = run_id
        self.tries = tries


class RunExistsError(ConflictError):
    """The run already has a run record, and it is another one: `fields` are those in which it differs."""

    def __init__(self, run_id: str, fields: list[str]) -> None:
        super().__init__(
            f"run {run_id} already exists, with another {' and '.join(filter(None, [', '.join(fields[:-1]), fields[-1]]))}; "
            "choose another run_id, or create it with a client_request_id, which returns the first run"
        )
        self.run_id = run_id
        self.fields = fields


class DecidedError(ConflictError):
    """Somebody has answered already: `answer` is ``granted``, ``denied`` or another word, `by` who, where that is known."""

    def __init__(self, run_id: str, call_id: str, answer: str, by: str | None) -> None:
        super().__init__(
            f"run {run_id}: {call_id} is answered already: {answer}" + ("" if by is None else f", by {by}")
        )
        self.run_id = run_id
        self.call_id = call_id
        self.answer = answer
        self.by = by


class RunDiffersError(ConflictError):
    """A run that is to be imported is there, but holds something else at `sequence`; 0 is the run record."""

    def __init__(self, run_id: str, sequence: int) -> None:
        what = "another run record (sequence 0)" if sequence == 0 else f"another event at sequence {sequence}"
        super().__init__(
            f"run {run_id} is there already, with {what}; import it under another id, with --as, or into other tables"
        )
        self.run_id = run_id
        self.sequence = sequence


class RunNotFoundError(BehestError, LookupError):
    """There is no such run. `advice` ends the message."""

    def __init__(self, run_id: str, advice: str = "") -> None:
        super().__init__(f"there is no run {run_id}{advice}")
        self.run_id = run_id


class RunDeletedError(RunNotFoundError):
    """The run was deleted on request. Its id can't be used again."""

    def __init__(self, run_id: str, deleted_at: str) -> None:
        super().__init__(run_id)
        self.args = (f"run {run_id} was deleted at {deleted_at}; choose another run_id",)
        self.deleted_at = deleted_at


class StateNotFoundError(BehestError, LookupError):
    """The run had no state at the sequence, or at the time, that was asked for."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"run {run_id} {reason}")
        self.run_id = run_id


class LogTruncatedError(BehestError):
    """The log no longer holds all that the state was folded from. The state stays as it is."""

    def __init__(self, run_id: str, covered: int) -> None:
        super().__init__(
            f"run {run_id}: its log no longer reaches from 1 to {covered}, which its state covers (expired, or deleted); "
            "the state stays as it is"
        )
        self.run_id = run_id
        self.covered = covered


class LogDivergedError(BehestError):
    """The log holds other commits than those that the state was folded from: one of the tables was restored."""

    def __init__(self, run_id: str, covered: int) -> None:
        super().__init__(
            f"run {run_id}: its log has another history than its state, which covers {covered}; one of the tables was restored? "
            "`behest rebuild --diverged` takes what the log has"
        )
        self.run_id = run_id
        self.covered = covered


class NotWaitingError(BehestError):
    """The run doesn't wait for that, or no more: its agent went on, or it has ended. `pending` is what it waits for."""

    def __init__(self, run_id: str, call_id: str, pending: list[str]) -> None:
        what = f"it waits for {', '.join(pending)}" if pending else "it waits for nobody"
        super().__init__(f"run {run_id} doesn't wait for {call_id}; {what}")
        self.run_id = run_id
        self.call_id = call_id
        self.pending = pending


class AlreadyRecordedError(BehestError):
    """Another recorder of this process has the run open: two would write everything twice."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is recorded by another recorder of this process; close that one first")
        self.run_id = run_id


class RunEndedError(BehestError):
    """A recorder was given an event after a terminal one. RunStarted begins the run anew."""

    def __init__(self, run_id: str, event_type: str) -> None:
        super().__init__(f"run {run_id} has ended: {event_type} is not recorded; emit RunStarted to begin it anew")
        self.run_id = run_id
        self.event_type = event_type


class RecordingError(BehestError):
    """A recorder could not append in the time it had. The cause is the last error; `waiting` events are in its buffer."""

    def __init__(self, run_id: str, waiting: int) -> None:
        super().__init__(
            f"run {run_id}: {waiting} events could not be appended; on_error='warn' would drop and count them"
        )
        self.run_id = run_id
        self.waiting = waiting


class RunParkedError(BehestError):
    """The run is parked before the sequence that was waited for."""

    def __init__(self, run_id: str, expected: int, actual: int, error: str) -> None:
        super().__init__(
            f"run {run_id} is parked at sequence {actual} ({error}) and will not reach {expected} until it is resumed"
        )
        self.run_id = run_id
        self.expected = expected
        self.actual = actual


class WaitTimeoutError(BehestError, TimeoutError):
    """The state has not reached the sequence in time. `timeout` is in seconds."""

    def __init__(self, run_id: str, expected: int, actual: int, timeout: float) -> None:
        super().__init__(
            f"run {run_id}: its state is at sequence {actual}, not yet {expected}, after {timeout:g} s; "
            "is the projector running, and has its iterator age grown?"
        )
        self.run_id = run_id
        self.expected = expected
        self.actual = actual
        self.timeout = timeout


class PluginError(BehestError):
    """A plugin can't be used as it is. The message names it, what is wrong, and what to change."""


class ConfigurationError(BehestError):
    """behest doesn't know, or can't reach, the tables it is to use. The message says what to set."""
