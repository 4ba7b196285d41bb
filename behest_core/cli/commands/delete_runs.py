"""`behest delete`: removes runs for good."""

from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from behest_core.cli import aws
from behest_core.cli.arguments import CommandError, Stack, Yes, ask, can_ask, named_runs, to_type
from behest_core.cli.progress import RunsBar, runs_bar
from behest_core.cli.runs import Boundary, SideBySide, told_where_cut_short
from behest_core.errors import ConfigurationError, RunDeletedError
from behest_core.model.state import RunState
from behest_core.store import RunStore
from behest_core.terminal import say, time_text, write_text
from behest_core.wording import amount, count_text


def delete_runs(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids.", show_default=False)],
    *,
    yes: Yes = False,
    stack: Stack = None,
) -> None:
    """Delete runs for good, their logs and their states.

    A tombstone is left of each, so that nothing brings it back; its id can't be used again. A deletion that was cut short can be
    repeated. The exit code is 1 if any of the runs is not there.
    """
    named = named_runs(runs)
    if not yes and not can_ask():
        raise CommandError("deleting can't be undone; pass --yes where there is nobody to ask")
    store = aws.connect(stack)
    states = store.state_table.get_many(named, repair=True)
    found = {run_id: what for run_id in named if (what := _what(store, run_id, states.get(run_id)))}
    for run_id in named:
        if run_id not in found:
            say(f"there is no run {run_id}")
    if found and not yes:
        for run_id, what in found.items():
            say(f"run {run_id}: {what}")
        ask("Delete it for good?" if len(found) == 1 else f"Delete these {count_text(len(found))} runs for good?")
    options = {"--stack": stack, "--yes": "" if yes else None}
    with runs_bar() as bar:
        bar.begin("deleting", len(found))
        with told_where_cut_short(bar, lambda done: to_type("delete", options, list(found)[done:])):
            deleted = _delete(store, found, bar)
    if deleted < len(named):
        raise typer.Exit(1)


def _what(store: RunStore, run_id: str, state: RunState | None) -> str | None:
    """Return what there is of a run, in words; None where there is nothing."""
    try:
        last = store.event_log.tail(run_id).last
        has_log, events = last > 0 or next(store.event_log.commits(run_id), None) is not None, amount(last, "event")
    except RunDeletedError as error:
        late = ", with events in its log" if next(store.event_log.commits(run_id), None) is not None else ""
        return f"already deleted at {error.deleted_at}{late}"
    except (BotoCoreError, ClientError, ConfigurationError):
        raise
    except Exception:  # noqa: BLE001 (whatever is wrong with it, the log is to be deleted)
        has_log, events = True, "a log that can't be read"
    if state is not None and state.deleted_at is not None:
        return f"already deleted at {state.deleted_at}, with events in its log"
    if state is not None and not state.is_blank:
        return f"{state.status}, {events}, created {time_text(state.created_at)}"
    return f"no state, {events}" if has_log else None


def _delete(store: RunStore, found: dict[str, str], bar: RunsBar) -> int:
    """Delete the runs, and return how many were deleted."""
    boundary = Boundary("deleted", bar)
    with SideBySide() as side:
        for run_id, _ in boundary.results(side.map(store.delete_run, found)):
            write_text(f"deleted run {run_id}: {found[run_id]}", bar.results)
    return len(found) - boundary.failures
