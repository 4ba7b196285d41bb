"""`behest verify`: compares states with what their logs fold to."""

import random
from typing import Annotated

import typer

from behest_core.cli.connection import connect
from behest_core.cli.every_run import Runs, Since, named_runs, wanted_runs
from behest_core.cli.folded_run import dispatch_of_plugins
from behest_core.cli.options import AsJson, Stack
from behest_core.cli.runs_bar import runs_bar
from behest_core.cli.verdicts import Tally, check_runs, is_on_its_way, verdict_line, write_verdict
from behest_core.terminal import say, write_text


def verify_runs(
    runs: Runs = None,
    *,
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only so many, drawn at random.")] = None,
    since: Since = None,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """Fold the logs of runs, and compare with their states, field by field.

    Shows each run that is not right: what is stored and what its log folds to, or why the log can't be folded. Each is checked
    as far as its state goes, so events that are on their way do no harm. The exit code is 1 if any run is not right.
    """
    named = named_runs(runs, since=since)
    store, dispatch = connect(stack), dispatch_of_plugins()
    tally = Tally()
    with runs_bar() as bar:
        wanted = wanted_runs(store, named, since, bar)
        if sample is not None and sample < len(wanted):
            wanted = sorted(random.sample(wanted, sample))
        bar.begin("checking", len(wanted))
        try:
            for verdict in check_runs(store, dispatch, wanted, tally, bar):
                if is_on_its_way(verdict):
                    continue
                if as_json:
                    bar.write_line(verdict_line(verdict))
                else:
                    write_verdict(verdict, bar.results)
        except BrokenPipeError:
            raise
        except BaseException:
            say(f"{tally}; of {len(wanted):,}, before this", bar.messages)
            raise
    if as_json:
        say(str(tally))
    else:
        write_text(str(tally))
    if not tally.is_fine:
        raise typer.Exit(1)
