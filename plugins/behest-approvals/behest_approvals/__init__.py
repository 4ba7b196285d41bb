"""Human approvals in agent runs: who waits for a person, since when, for what, and what the answers were.

- An agent, or whatever asks people on its behalf, appends `approvals.Requested`, and later one of `approvals.Granted`,
  `approvals.Denied` and `approvals.Expired` with the same `call_id`.
- A request is pending until its first answer. `waiting` is how many are.
- A request for a call that is pending already, and an answer to one that is not, are counted (`repeated`, `unmatched`) and
  change nothing else. So nothing is ever negative, and a redelivered answer counts once as an answer.
- A call that was answered may be asked for again.
- The end of the run answers nothing: what was pending then stays so. A query that looks for people to ask filters by status too.
- A run that its framework has stopped to wait (`agent.Paused`, which the adapters record) is `paused` until it is answered
  (`agent.Resumed`), goes on or ends. The answers are counted with the others, in the run that waited: not again in another one
  that the answer begins.
- `waits_for_person_since` is the earliest time of what is pending and of the pause: by it the core finds the run among those that
  wait.
- 32 pending requests are kept by call id. One beyond them, or with a call id that is empty or longer than 128 characters, counts
  in `waiting` and in `unnamed`. While there are unnamed ones, an answer to an unknown call is taken as an answer to one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import UNSET, Meta, Struct, field

from behest_core.model.agent_events import Paused, Resumed
from behest_core.model.events import (
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    ToolExecutionStarted,
)
from behest_core.model.timestamps import canonical
from behest_core.plugins import Event, Extension, ExtensionState, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

    from behest_core.model.state import RunState
    from behest_core.plugins import RunView
    from behest_core.plugins.panels import Panel

PENDING: Final = 32
"""How many pending requests of a run are kept by call id."""

CALL_ID: Final = 128
"""The longest call id that is kept, in characters."""

_TOOL: Final = 64
_ANSWERER: Final = 255
_REASON: Final = 200  # characters
_TIME: Final = 64

Answerer = Annotated[str, Meta(max_length=255)]


class Requested(Event, tag="approvals.Requested"):
    """An agent asks for a person's approval of a call. `reason` is for the person; 200 characters of it are kept."""

    call_id: str
    tool_name: str | None = None
    reason: str | None = None


class Granted(Event, tag="approvals.Granted"):
    """A person approved the call."""

    call_id: str
    by: Answerer | None = None


class Denied(Event, tag="approvals.Denied"):
    """A person refused the call."""

    call_id: str
    by: Answerer | None = None
    reason: str | None = None


class Expired(Event, tag="approvals.Expired"):
    """Nobody answered in time."""

    call_id: str


class Pending(Struct, omit_defaults=True, gc=False):
    """A request without an answer. `since` is the request's time as written."""

    since: str = ""
    tool: str | None = None
    reason: str | None = None


class Pause(Struct):
    """What a paused run waits for. `since` is the event's time as written, `pending` are the ids of what it waits for."""

    since: str = ""
    reason: str = ""
    pending: list[str] = field(default_factory=list)


class ApprovalsState(ExtensionState):
    """The slice. `last_answer_by` is who granted or denied last, where the event says. `paused` is None while the run goes on.

    `decided` are the calls of the latest pause that a person has decided: the agent may tell the same answers when it goes on.
    """

    waiting: int = 0
    pending: dict[str, Pending] = field(default_factory=dict)
    unnamed: int = 0
    requested: int = 0
    granted: int = 0
    denied: int = 0
    expired: int = 0
    repeated: int = 0
    unmatched: int = 0
    last_answer_by: str | None = None
    decided: list[str] = field(default_factory=list)
    paused: Pause | None = None
    waits_for_person_since: str | None = None


approvals: Final = Extension("approvals", ApprovalsState, version=3)


def _note(state: ApprovalsState) -> None:
    """Note how many wait, and since when."""
    state.waiting = len(state.pending) + state.unnamed
    since = [each.since for each in state.pending.values()] + ([] if state.paused is None else [state.paused.since])
    state.waits_for_person_since = min(filter(None, map(_sortable, since)), default=None)


def _sortable(time: str) -> str | None:
    try:
        return canonical(time)
    except ValueError:
        return None  # a writer put no time there


@approvals.on(Requested)
def request(state: ApprovalsState, event: Requested, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Let the call wait for a person, unless it does."""
    if event.call_id in state.pending:
        state.repeated += 1
        return
    state.requested += 1
    if 1 <= len(event.call_id) <= CALL_ID and len(state.pending) < PENDING:
        state.pending[event.call_id] = Pending(
            since=event.timestamp[:_TIME], tool=_cut(event.tool_name, _TOOL), reason=_cut(event.reason, _REASON)
        )
    else:
        state.unnamed += 1
    _note(state)


def _cut(text: str | None, longest: int) -> str | None:
    return text if text is None else text[:longest]


@approvals.on(Granted)
def grant(state: ApprovalsState, event: Granted, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Count the approval."""
    if _answers(state, event.call_id):
        state.granted += 1
        state.last_answer_by = event.by


@approvals.on(Denied)
def deny(state: ApprovalsState, event: Denied, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Count the refusal."""
    if _answers(state, event.call_id):
        state.denied += 1
        state.last_answer_by = event.by


@approvals.on(Expired)
def expire(state: ApprovalsState, event: Expired, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Count the request that nobody answered."""
    if _answers(state, event.call_id):
        state.expired += 1


@approvals.on(Paused)
def pause(state: ApprovalsState, event: Paused, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Keep what the run waits for: as much of it as of requests."""
    pending = [each[:CALL_ID] for each in event.pending[:PENDING]]
    state.decided = []
    state.paused = Pause(event.timestamp[:_TIME], event.reason[:_REASON], pending)
    _note(state)


def is_paused(state: ApprovalsState) -> bool:
    """Return whether the run is paused."""
    return state.paused is not None


@approvals.on(Resumed)
def resume(state: ApprovalsState, event: Resumed, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Count the answers to a pause, each once; it is over, unless a person decided a part of it only."""
    left = [] if state.paused is None else [each for each in state.paused.pending if each not in event.answers]
    if event.by is UNSET or not left:
        state.paused = None
    elif state.paused is not None:
        state.paused.pending = left
    _note(state)
    if event.paused_run_id is not UNSET:
        return
    answers = [answer for call_id, answer in event.answers.items() if call_id[:CALL_ID] not in state.decided]
    if event.by is not UNSET:
        state.last_answer_by = event.by[:_ANSWERER]
        state.decided = [*state.decided, *(call_id[:CALL_ID] for call_id in event.answers)][-PENDING:]
    state.granted += answers.count("granted")
    state.denied += answers.count("denied")
    state.expired += answers.count("expired")
    for call_id in event.answers:
        state.pending.pop(call_id, None)
    _note(state)


@approvals.on(RunStarted, ModelStarted, ToolExecutionStarted, RunCompleted, RunFailed, RunCancelled, when=is_paused)
def go_on(state: ApprovalsState, event: Event, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Forget the pause: the run goes on, or is over."""
    state.paused = None
    _note(state)


def _answers(state: ApprovalsState, call_id: str) -> bool:
    """Return whether this is the first answer to a request, which then waits no more."""
    if state.pending.pop(call_id, None) is None:
        if not state.unnamed:
            state.unmatched += 1
            return False
        state.unnamed -= 1
    _note(state)
    return True


@hookimpl
def behest_summary(state: RunState) -> dict[str, int]:
    """Return for how many answers the run waits; nothing where it doesn't."""
    waiting = state.slice_of("approvals").get("waiting")
    if not isinstance(waiting, int) or state.status.is_terminal:
        return {}
    return {"waiting_for": waiting} if waiting else {}


@hookimpl
def behest_event_types() -> Sequence[type[Event]]:
    """Return the four event types."""
    return [Requested, Granted, Denied, Expired]


@hookimpl
def behest_extensions() -> Sequence[Extension]:
    """Return the extension `approvals`."""
    return [approvals]


@hookimpl
def behest_panels() -> Sequence[Panel]:
    """Return what is shown of a run, of a list of runs, and of a session."""
    from behest_approvals.panels import PANELS  # noqa: PLC0415 (it imports this module)

    return PANELS


@hookimpl
def behest_commands(app: typer.Typer) -> None:
    """Add `behest approvals`, `behest approve` and `behest deny`."""
    from behest_approvals import command  # noqa: PLC0415 (typer and rich are there only with the command)

    app.command(name="approvals")(command.show_approvals)
    app.command(name="approve")(command.approve)
    app.command(name="deny")(command.deny)
