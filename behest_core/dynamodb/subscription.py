"""A subscription to a run: what its log holds, then what comes, each event once and in order.

- A look is one small Query behind the last event, consistent, so no event is missed or met twice. The pauses between looks double
  from 0.1 s to 2 s, and begin anew with each event.
- It is over when the run is, which is what the run's status says: a terminal event ends it, RunStarted or ModelStarted begins it
  anew. As such may come right behind, one more look has to find nothing.
- Who subscribes behind some event hasn't seen which status the run has there. While nothing comes, the state says it, once it has
  come as far: one GetItem for each look until then.
- A run that isn't there yet is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.json import Decoder

from behest_core.errors import RunDeletedError
from behest_core.model.decoding import DECODE_ERRORS
from behest_core.model.events import TERMINAL_TYPES, ModelStarted, RunStarted, type_name
from behest_core.model.limits import check_run_id
from behest_core.model.packing import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.model.packing import RecordedEvent

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_BEGINS: Final = frozenset({type_name(RunStarted), type_name(ModelStarted)})


class _Typed(Struct):
    type: str


_read_type = Decoder(_Typed).decode


class Subscription:
    """A run's events behind the sequence `after`. Go through `look`, sleep for `pause` seconds, and again until `is_over`."""

    def __init__(self, log: EventLog, states: StateTable, run_id: str, after: int = 0) -> None:
        self.run_id = check_run_id(run_id)
        self.is_over = False
        self.pause = _FIRST_PAUSE
        self._log = log
        self._states = states
        self._last = max(after, 0)
        self._is_at_end = after <= 0
        self._has_ended: bool | None = False if after <= 0 else None
        """None where that isn't known yet."""

    def look(self) -> Iterator[RecordedEvent]:
        """Return what has come. Raises RunDeletedError, and MalformedEventError at a commit that can't be cut into events."""
        any_came = False
        for event in recorded(
            self._log.commits(self.run_id, self._last, refuse_deleted=True, is_at_end=self._is_at_end)
        ):
            if event.sequence > self._last:
                any_came = True
                self._note(event)
                yield event
        if any_came:
            self._is_at_end = True
            self.pause = _FIRST_PAUSE
        else:
            self._is_at_end = self._is_at_end or self._log.head(self.run_id) == self._last
            self.pause = min(self.pause * 2, _LONGEST_PAUSE)
            self.is_over = self._has_ended if self._has_ended is not None else self._ask_the_state()

    def _note(self, event: RecordedEvent) -> None:
        self._last = event.sequence
        try:
            kind = _read_type(event.raw).type
        except DECODE_ERRORS:
            return
        if kind in TERMINAL_TYPES:
            self._has_ended = True
        elif kind in _BEGINS:
            self._has_ended = False

    def _ask_the_state(self) -> bool:
        state = self._states.get(self.run_id)
        if state is not None and state.deleted_at is not None:
            raise RunDeletedError(self.run_id, state.deleted_at)
        if state is None or state.sequence < self._last:
            return False
        self._has_ended = state.status.is_terminal
        return self._has_ended and state.sequence == self._last  # behind it there may be more to come
