"""`behest resume`: lets parked runs go on, when what stopped them is mended."""

from typing import Annotated

import typer

from behest_core.cli import aws
from behest_core.cli.arguments import CommandError, Stack, named_runs, to_type
from behest_core.cli.outcomes import End, FoldedRun, Folding
from behest_core.cli.progress import RunsBar, runs_bar
from behest_core.cli.runs import FAILURES_IN_A_ROW, InARow, SideBySide, told_where_cut_short
from behest_core.cli.used_plugins import dispatch_of_plugins
from behest_core.terminal import say, write_text


def resume_runs(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Run ids.", show_default=False)] = None,
    *,
    all_parked: Annotated[bool, typer.Option("--all", help="All runs that are parked.")] = False,
    stack: Stack = None,
) -> None:
    """Fold parked runs on from where they are parked.

    Says of each whether it goes on, or where and why it is parked again. The exit code is 1 if any does not go on.
    """
    if bool(runs) == all_parked:
        raise typer.BadParameter("name runs, or pass --all")
    named = named_runs(runs)
    store = aws.connect(stack)
    folding = Folding(store, dispatch_of_plugins())
    with runs_bar() as bar:
        wanted = named
        if all_parked:
            # whatever is wrong with a state item: the run is folded again from its log
            wanted = [state.run_id for state in bar.look(store.state_table.find_parked(repair=True))]
        store.state_table.get_many(named, repair=True)  # tells what is wrong with the tables once, not run by run
        bar.begin("resuming", len(wanted))
        with told_where_cut_short(bar, lambda done: to_type("resume", {"--stack": stack}, wanted[done:])):
            go_on = _resume(folding, wanted, bar)
    if not wanted:
        say("no run is parked")
    elif len(wanted) > 1:
        write_text(f"{go_on:,} of {len(wanted):,} runs go on")
    if go_on < len(wanted):
        raise typer.Exit(1)


def _resume(folding: Folding, run_ids: list[str], bar: RunsBar) -> int:
    """Resume the runs, and count those that go on."""
    unfinished, go_on = InARow(), 0
    with SideBySide() as side:
        for run_id, result in side.map(lambda run_id: folding.resume(run_id, side.remaining), run_ids):
            run = result()
            _tell(run, bar)
            bar.done(run_id)
            go_on += run.end is End.WHOLE
            if unfinished.add(is_failure=run.end is End.UNFINISHED):
                bar.take_back(FAILURES_IN_A_ROW)
                raise CommandError(f"{FAILURES_IN_A_ROW} runs in a row could not be folded")
    return go_on


def _tell(run: FoldedRun, bar: RunsBar) -> None:
    if run.end in {End.WHOLE, End.PARKED, End.GAP}:
        write_text(run.line, bar.results)
    else:
        say(run.line, bar.messages)
