"""What runs wait for, and what was answered: as a person reads it. Command, page and `behest show` share it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import convert

from behest_approvals import ApprovalsState
from behest_core.plugins.panels import Command, Facts, Note, Panel, Rows, RunLink, Time
from behest_core.wording import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from behest_core.model.state import RunState
    from behest_core.plugins.panels import Block, PanelInput, RunsInput, Value


class Question(NamedTuple):
    """What a run waits for. `call_id` is None of a pause that names nothing."""

    run_id: str
    since: str
    call_id: str | None
    tool: str | None = None
    reason: str | None = None


def approvals_in(piece: Mapping[str, object]) -> ApprovalsState:
    """Return a slice's state, read from its JSON values."""
    return convert(piece, ApprovalsState)


def questions_of(run_id: str, known: ApprovalsState) -> list[Question]:
    """Return what a run waits for, the oldest first: its requests without an answer, and what it is paused for."""
    found = [Question(run_id, each.since, call, each.tool, each.reason) for call, each in known.pending.items()]
    if known.paused is not None:
        asked = [call for call in known.paused.pending if call not in known.pending]
        nameless = [] if known.paused.pending else [None]
        found += [Question(run_id, known.paused.since, call, None, known.paused.reason) for call in (*asked, *nameless)]
    return sorted(found, key=lambda each: each.since)


def waiting_in(states: Iterable[RunState]) -> list[Question]:
    """Return what runs that aren't over wait for, the oldest first."""
    found = [
        question
        for state in states
        if not state.status.is_terminal
        for question in questions_of(state.run_id, approvals_in(state.slice_of("approvals")))
    ]
    return sorted(found, key=lambda each: each.since)


def rows_of(questions: Sequence[Question]) -> list[Block]:
    """Return questions of several runs as a table; nothing where there are none."""
    if not questions:
        return []
    rows = [(RunLink(each.run_id), Time(each.since), each.call_id, each.tool, each.reason) for each in questions]
    return [Rows(("run", "since", "call", "tool", "why"), rows)]


def answers_of(known: ApprovalsState) -> list[Block]:
    """Return how often a run was answered, and by whom last; nothing where nobody was asked."""
    said: list[tuple[str, Value]] = [
        (name, count)
        for name, count in (("granted", known.granted), ("denied", known.denied), ("expired", known.expired))
        if count
    ]
    if known.last_answer_by is not None:
        said.append(("last answer by", known.last_answer_by))
    return [Facts(said)] if said else []


def _of_a_run(given: PanelInput) -> Sequence[Block]:
    run_id, known = given.state.run_id, approvals_in(given.slice)
    questions = questions_of(run_id, known)
    blocks: list[Block] = []
    if questions:
        rows = [(Time(each.since), each.call_id, each.tool, each.reason) for each in questions]
        blocks.append(Rows(("waits since", "call", "tool", "why"), rows))
    if known.unnamed:
        blocks.append(Note(f"and {amount(known.unnamed, 'request')} more, not kept by name"))
    if questions and given.state.status.is_terminal:
        blocks.append(Note("the run is over: nobody has answered this"))
    elif call := next((each.call_id for each in questions if each.call_id is not None), None):
        blocks.append(
            Facts([("to allow", _to_type("approve", run_id, call)), ("to refuse", _to_type("deny", run_id, call))])
        )
    return [*blocks, *answers_of(known)]


def _to_type(command: str, run_id: str, call_id: str) -> Command:
    looks_like_an_option = run_id.startswith("-") or call_id.startswith("-")
    return Command(shlex.join(["behest", command, *(["--"] if looks_like_an_option else []), run_id, call_id]))


def _of_runs(given: RunsInput) -> Sequence[Block]:
    return rows_of(waiting_in(given.states))


PANELS: Final = (
    Panel("Approvals", "run", _of_a_run),
    Panel("Waiting for a person", "runs", _of_runs),
    Panel("Waiting for a person", "session", _of_runs),
)
