"""Answered pauses: how the log of a run that waited and the log of the run that goes on say that they belong together.

- The run that goes on has `Resumed` with the id of the one that waited; that one has `Resumed` with the id of the one that goes
  on, and then its end: RunCompleted, with the finish reason ``paused``. So nothing waits for ever. Where the same run goes on,
  `Resumed` is in it once.
- Where a framework doesn't know which run had waited, it is looked for among the session's latest runs: the newest that is not
  over and waits, or did until a person decided, for one of the answered ids, or says none. One of the same agent comes first:
  where agents work in each other, all of them wait for the same.
- What a person decided (decisions.py) is in the log of the run that waited already, and isn't told there again.
- One word answers all that waited, for a framework that doesn't say what that was. Where nothing waits, there is no answer.
- All that needs the tables is done beside the agent, and waits for nothing of it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from behest_core.errors import MalformedEventError, RunNotFoundError
from behest_core.model.agent_events import Paused, Resumed
from behest_core.model.events import RunCompleted
from behest_core.model.state import UnknownFinishReason
from behest_core.model.timestamps import now
from behest_core.recording.decisions import what_waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from behest_core.model.json import JSON
    from behest_core.model.record import RunRecord
    from behest_core.recording.adapter import Store
    from behest_core.recording.recorder import RunRecorder

_LOOKED_AT: Final = 20
"""How many runs of the session, the newest ones, may be the one that waits."""

_PAUSED: Final = UnknownFinishReason("paused")

_logger = logging.getLogger("behest_core")


def answer(store: Store, run: RunRecorder, answers: Mapping[str, str] | str, paused_run_id: str | None = None) -> None:
    """Tell both logs that `run` goes on with what another run waited for, in the background where a table has to be read."""
    if paused_run_id is not None and not isinstance(answers, str):
        itself = paused_run_id == run.run_id
        run.emit(_resumed(answers, paused_run_id=None if itself else paused_run_id))
        if itself:
            return
    name = f"behest-answer-{run.run_id}"
    threading.Thread(target=_tell, args=(store, run, answers, paused_run_id), name=name, daemon=True).start()


def _tell(store: Store, run: RunRecorder, answers: Mapping[str, str] | str, paused_run_id: str | None) -> None:
    try:
        if isinstance(answers, str):
            waited = find(store, run.record)
            if waited is None:
                return
            paused_run_id, paused = waited
            answers = dict.fromkeys(paused.pending, answers)
            _say(store, run, _resumed(answers, paused_run_id=paused_run_id))
        elif paused_run_id is None:
            waited = find(store, run.record, answers)
            paused_run_id = None if waited is None else waited[0]
            _say(store, run, _resumed(answers, paused_run_id=paused_run_id))
        if paused_run_id is not None:
            ended = RunCompleted(finish_reason=_PAUSED, iterations=0, timestamp=now())
            untold = _untold(store, paused_run_id, answers)
            store.event_log.append(paused_run_id, [_resumed(untold, answering_run_id=run.run_id), ended])
    except Exception:
        _logger.exception("behest could not record that run %s answers a paused one", run.run_id)


def _untold(store: Store, run_id: str, answers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the answers that the log of the run that waited doesn't have yet, as a person's decision."""
    try:
        told = what_waits(store.event_log, run_id).answers
    except (MalformedEventError, RunNotFoundError):
        return answers
    return {call_id: answer for call_id, answer in answers.items() if call_id not in told}


def _say(store: Store, run: RunRecorder, event: Resumed) -> None:
    if not run.emit_unless_over(event):
        run.flush()
        store.event_log.append(run.run_id, [event])


def _resumed(
    answers: Mapping[str, str], *, paused_run_id: str | None = None, answering_run_id: str | None = None
) -> Resumed:
    return Resumed(
        answers=dict(answers),
        paused_run_id=UNSET if paused_run_id is None else paused_run_id,
        answering_run_id=UNSET if answering_run_id is None else answering_run_id,
        timestamp=now(),
    )


def find(store: Store, answering: RunRecord, answered: Iterable[str] = ()) -> tuple[str, Paused] | None:
    """Return the run of the same session that waits for one of these answers, and its pause; None where none does.

    Without ids it is the newest that waits.
    """
    ids, of_another = set(answered), None
    for state in store.state_table.find(session_id=answering.session_id, limit=_LOOKED_AT):
        if state.run_id != answering.run_id and not state.status.is_terminal:
            paused = _last_pause(store, state.run_id)
            if paused is not None and (not paused.pending or not ids or ids & set(paused.pending)):
                if _agent(state.metadata) == _agent(answering.metadata):
                    return state.run_id, paused
                of_another = of_another or (state.run_id, paused)
    return of_another


def _agent(metadata: JSON) -> JSON:
    return metadata.get("agent_name") if isinstance(metadata, dict) else None


def _last_pause(store: Store, run_id: str) -> Paused | None:
    """Return the pause that a run is in: what persons decided lies behind it, nothing else until the agent goes on."""
    try:
        waits = what_waits(store.event_log, run_id)
    except (MalformedEventError, RunNotFoundError):
        return None
    gone_on = any(answer.answering_run_id is not UNSET or answer.by is UNSET for answer in waits.answers.values())
    return None if gone_on else waits.paused
