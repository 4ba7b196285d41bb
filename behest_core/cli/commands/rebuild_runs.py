"""`behest rebuild`: folds runs again from the beginning of their logs, and replaces their states.

Live traffic may go on: a state is saved only where nobody saved in between, and one that covers more is never replaced by one
that covers less. A state that is right already isn't written. So a rebuild may be repeated, and two may run at once.

All runs are worked through in the order of their ids. That is what makes it resumable: `--after` goes on behind the last id up
to which all are done, and a rebuild that is cut short names it. Runs that come meanwhile are folded by the projector, by the
same rules.
"""

from typing import Annotated

import typer

from behest_core.cli.connection import connect
from behest_core.cli.consent import Yes, ask, can_ask
from behest_core.cli.every_run import Runs, Since, named_runs, wanted_runs
from behest_core.cli.failures import CommandError
from behest_core.cli.folded_run import Folding, dispatch_of_plugins
from behest_core.cli.options import Stack
from behest_core.cli.rebuilding import Rebuild
from behest_core.cli.runs_bar import runs_bar
from behest_core.cli.verdicts import Tally, check_runs, is_on_its_way, write_verdict
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.projection.verify import Kind
from behest_core.store import RunStore
from behest_core.terminal import amount, count_text, write_text


def rebuild_runs(
    runs: Runs = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is not right and would be replaced; change nothing.")
    ] = False,
    since: Since = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Of all runs those behind this id: go on with a rebuild that was cut short."),
    ] = None,
    extension: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this extension's slice; that of a plugin which BEHEST_PLUGINS allows."),
    ] = None,
    yes: Yes = False,
    stack: Stack = None,
) -> None:
    """Fold runs again from the beginning of their logs, and replace their states.

    Live traffic may go on, and so may a rebuild that was cut short: it says what to type. Where a log no longer holds all that
    the state was folded from, the state stays. The exit code is 1 if any run could not be folded to the end of its log.
    """
    named = named_runs(runs, since=since, after=after)
    store, dispatch = connect(stack), dispatch_of_plugins()
    if extension is not None:
        _check_extension(extension, dispatch, is_dry=dry_run)
    with runs_bar() as bar:
        wanted = [run_id for run_id in wanted_runs(store, named, since, bar) if after is None or run_id > after]
    if dry_run:
        _show(store, dispatch, wanted)
        return
    if wanted and not named and not yes and can_ask():
        ask(f"Fold {amount(len(wanted), 'run')} again?")
    options = {"--stack": stack, "--since": since, "--after": after, "--extension": extension}
    rebuild = Rebuild(wanted, {name: value for name, value in options.items() if value}, are_named=bool(named))
    with runs_bar() as bar:
        rebuild.run(Folding(store, dispatch), bar)
    write_text(str(rebuild))
    if not rebuild.is_whole:
        raise typer.Exit(1)


def _check_extension(extension: str, dispatch: Dispatch, *, is_dry: bool) -> None:
    if is_dry:
        raise typer.BadParameter("--dry-run looks at all of a state: leave it out, or --extension")
    names = [each.name for each in dispatch.extensions]
    if extension not in names:
        raise CommandError(
            f"no plugin that is used here has an extension {extension}, but {', '.join(names) or 'none at all'}; "
            "install it and name its plugin in BEHEST_PLUGINS, `behest plugins` shows which there are"
        )


def _show(store: RunStore, dispatch: Dispatch, run_ids: list[str]) -> None:
    """Show what a rebuild of the runs would replace. The exit code is 1 if it would leave any as it is."""
    tally, are_older, are_hopeless = Tally(), 0, 0
    with runs_bar() as bar:
        bar.begin("checking", len(run_ids))
        for verdict in check_runs(store, dispatch, run_ids, tally, bar):
            are_older += verdict.is_right and verdict.reducer_version not in {0, REDUCER_VERSION}
            are_hopeless += verdict.kind in {Kind.UNFOLDABLE, Kind.UNKNOWN}
            if not is_on_its_way(verdict):
                write_verdict(verdict, bar.results)
    older = f", {count_text(are_older)} of them by another version of the reducer" if are_older else ""
    write_text(f"{tally}{older}; nothing was changed")
    if are_hopeless or tally.unreached:
        raise typer.Exit(1)
