"""`behest approvals`, `behest approve` and `behest deny`: what runs wait for, and a person's answer."""

import getpass
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from behest_approvals import Denied, Granted
from behest_approvals.panels import answers_of, approvals_in, rows_of, waiting_in
from behest_core import RunStore
from behest_core.cli.extending import (
    AsJson,
    Run,
    Runs,
    Session,
    Since,
    Stack,
    say,
    states_of,
    store_of,
    write_blocks,
    write_json,
)
from behest_core.model.state import ACTIVE_STATUSES, RunState
from behest_core.model.timestamps import from_datetime

Call = Annotated[str, typer.Argument(metavar="CALL", help="What it waits for, as behest approvals names it.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who answers. Without it, who is logged in here.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why. The agent may read it.")]


def show_approvals(
    runs: Runs = None,
    *,
    waiting: Annotated[bool, typer.Option("--waiting", help="All runs that wait for a person.")] = False,
    session: Session = None,
    since: Since = None,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """Show what runs wait for a person to answer, the oldest first; of one run, what was answered too.

    Of runs, of a session, of all created since a time, or with --waiting of all that wait.
    """
    if waiting and (runs or session is not None or since is not None):
        raise typer.BadParameter("--waiting looks at all runs: leave out what selects some")
    store = store_of(stack)
    if waiting:
        states = list(_under_way(store))
    else:
        states = list(states_of(store, runs, session=session, since=since, extension="approvals"))
    questions = waiting_in(states)
    if as_json:
        for question in questions:
            write_json(question._asdict())
        return
    answered = answers_of(approvals_in(states[0].slice_of("approvals"))) if runs and len(states) == 1 else []
    write_blocks([*rows_of(questions), *answered])
    if not questions:
        say("nothing waits for a person")


def _under_way(store: RunStore) -> Iterator[RunState]:
    """Return the runs that aren't over, by the index of statuses: nothing else waits."""
    for status in ACTIVE_STATUSES:
        yield from store.states(status=status)


def approve(run: Run, call: Call, *, by: By = None, reason: Reason = None, stack: Stack = None) -> None:
    """Let a run do what it waits for."""
    _answer(store_of(stack), run, call, by=by or getpass.getuser(), reason=reason, granted=True)


def deny(run: Run, call: Call, *, by: By = None, reason: Reason = None, stack: Stack = None) -> None:
    """Don't let a run do what it waits for."""
    _answer(store_of(stack), run, call, by=by or getpass.getuser(), reason=reason, granted=False)


def _answer(store: RunStore, run: str, call: str, *, by: str, reason: str | None, granted: bool) -> None:
    """Answer a request of the plugin's by its own event, and what a paused run waits for as the store does it."""
    known = approvals_in(store.get_state(run).slice_of("approvals"))
    paused = known.paused.pending if known.paused is not None else []
    if call in known.pending and call not in paused:
        answer = Granted if granted else partial(Denied, reason=reason)
        store.append(run, [answer(call_id=call, by=by, timestamp=from_datetime(datetime.now(UTC)))])
    else:
        store.decide(run, call, granted=granted, by=by, reason=reason)
    say(f"{by} has {'granted' if granted else 'denied'} {call} of run {run}")
