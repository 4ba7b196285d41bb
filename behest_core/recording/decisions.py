"""A person's answer to a run that waits: `agent.Resumed` in its log, with who gave it.

- What a run waits for is what its log says, read from the end back: the last `agent.Paused`, less what was answered since. A
  start, a model call, a tool or an end behind it means that the run waits no more.
- The answer is appended only if the log still ends where it was read. If it doesn't, it is read again: whoever comes second of
  two who answer the same meets the first one's answer, and gets DecidedError. Whatever else came in between doesn't matter.
- Costs one Query and one write, as a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from behest_core.errors import (
    ContentionError,
    DecidedError,
    InvalidValueError,
    NotWaitingError,
    RunNotFoundError,
    SequenceConflictError,
)
from behest_core.model.agent_events import Paused, Resumed
from behest_core.model.events import (
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    ToolExecutionStarted,
)
from behest_core.model.limits import check_run_id
from behest_core.model.packing import recorded
from behest_core.model.timestamps import now

if TYPE_CHECKING:
    from behest_core.dynamodb.event_table import EventLog

_TRIES: Final = 20
_BY: Final = 255
_REASON: Final = 2_000
_GOES_ON: Final = (RunStarted, ModelStarted, ToolExecutionStarted, RunCompleted, RunFailed, RunCancelled)


class Waits(NamedTuple):
    """What a run waits for: nothing where `paused` is None. `answers` were given since. `last` is where its log ends."""

    last: int
    paused: Paused | None
    answers: dict[str, Resumed]

    @property
    def pending(self) -> list[str]:
        """The ids that nobody has answered yet. A pause may have none."""
        return [] if self.paused is None else [each for each in self.paused.pending if each not in self.answers]


def what_waits(log: EventLog, run_id: str) -> Waits:
    """Read what a run waits for. Raises RunNotFoundError, RunDeletedError, and MalformedEventError where that can't be read."""
    last, answers = None, dict[str, Resumed]()
    for commit in log.newest_commits(run_id):
        last = commit.last if last is None else last
        for each in reversed([*recorded([commit])]):
            event = each.event
            if isinstance(event, Paused):
                return Waits(last, event, answers)
            if isinstance(event, _GOES_ON):
                return Waits(last, None, answers)
            if isinstance(event, Resumed) and event.paused_run_id is UNSET:
                answers = dict.fromkeys(event.answers, event) | answers
    if last is None:
        raise RunNotFoundError(run_id)
    return Waits(last, None, answers)


def decide(  # noqa: PLR0913 (who says what of which)
    log: EventLog, run_id: str, call_id: str, *, granted: bool, by: str, reason: str | None = None
) -> int:
    """Record the answer, see `RunStore.decide`."""
    check_run_id(run_id)
    if not 1 <= len(by) <= _BY:
        raise InvalidValueError("by", f"expected 1 to {_BY} characters")
    if reason is not None and len(reason) > _REASON:
        raise InvalidValueError("reason", f"expected {_REASON:,} characters at most")
    for _ in range(_TRIES):
        waits = what_waits(log, run_id)
        _check_open(run_id, call_id, waits)
        answer = Resumed(
            answers={call_id: "granted" if granted else "denied"},
            by=by,
            reason=UNSET if reason is None else reason,
            timestamp=now(),
        )
        try:
            return log.append(run_id, [answer], expected_sequence=waits.last)
        except SequenceConflictError:
            continue  # what came in between may have answered it
    raise ContentionError(run_id, _TRIES)


def _check_open(run_id: str, call_id: str, waits: Waits) -> None:
    """Raise unless the call waits. A pause that names nothing waits for any one answer."""
    given = waits.answers.get(call_id)
    if given is None and waits.paused is not None and not waits.paused.pending:
        given = next(iter(waits.answers.values()), None)
    if waits.paused is not None and given is not None:
        answer = given.answers.get(call_id) or next(iter(given.answers.values()), "answered")
        raise DecidedError(run_id, call_id, answer, None if given.by is UNSET else given.by)
    if waits.paused is None or (waits.paused.pending and call_id not in waits.paused.pending):
        raise NotWaitingError(run_id, call_id, waits.pending)
