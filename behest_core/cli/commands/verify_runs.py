"""`behest verify`: compares states with what their logs fold to."""

import random
from typing import Annotated

import typer

from behest_core.cli import aws
from behest_core.cli.arguments import AsJson, Runs, Since, Stack, named_runs
from behest_core.cli.outcomes import Check, is_on_its_way, verdict_line, write_verdict
from behest_core.cli.progress import runs_bar
from behest_core.cli.runs import wanted_runs
from behest_core.cli.used_plugins import dispatch_of_plugins
from behest_core.terminal import say, write_text


def verify_runs(
    runs: Runs = None,
    *,
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only N of them, drawn at random.")] = None,
    since: Since = None,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """Fold the logs of runs, and compare with their states, field by field.

    Shows each run that is not right: what is stored and what its log folds to, or why the log can't be folded. Each is checked
    as far as its state goes, so events that are on their way do no harm. The exit code is 1 if any run is not right.
    """
    named = named_runs(runs, since=since)
    store, dispatch = aws.connect(stack), dispatch_of_plugins()
    with runs_bar() as bar:
        wanted = wanted_runs(store, named, since, bar)
        if sample is not None and sample < len(wanted):
            wanted = sorted(random.sample(wanted, sample))
        bar.begin("checking", len(wanted))
        check = Check(store, dispatch, bar)
        try:
            for verdict in check.verdicts(wanted):
                if is_on_its_way(verdict):
                    continue
                if as_json:
                    bar.write_line(verdict_line(verdict))
                else:
                    write_verdict(verdict, bar.results)
        except BrokenPipeError:
            raise
        except BaseException:
            say(f"{check}; of {len(wanted):,}, before this", bar.messages)
            raise
    if as_json:
        say(str(check))
    else:
        write_text(str(check))
    if not check.is_fine:
        raise typer.Exit(1)
