"""`behest rebuild`: folds runs again from the beginning of their logs, and replaces their states.

Live traffic may go on: a state is saved only where nobody saved in between, and one that covers more is never replaced by one
that covers less. A state that is right already isn't written. So a rebuild may be repeated, and two may run at once.

All runs are worked through in the order of their ids. That is what makes it resumable: `--after` goes on behind the last id up
to which all are done, and a rebuild that is cut short names it. Runs that come meanwhile are folded by the projector, by the
same rules.

Where a log holds another history than its state, the state stays as well, unless `--diverged` says to take what the log has.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Final

import typer

from behest_core.cli import aws
from behest_core.cli.arguments import CommandError, Runs, Since, Stack, Yes, ask, can_ask, named_runs, to_type
from behest_core.cli.outcomes import (
    Check,
    End,
    FoldedRun,
    Folding,
    is_on_its_way,
    write_verdict,
)
from behest_core.cli.progress import RunsBar, runs_bar
from behest_core.cli.runs import FAILURES_IN_A_ROW, InARow, SideBySide, told_where_cut_short, wanted_runs
from behest_core.cli.used_plugins import dispatch_of_plugins
from behest_core.fold.dispatch import Dispatch
from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.fold.rules import is_parked_as_diverged
from behest_core.projection.verify import Kind
from behest_core.store import RunStore
from behest_core.terminal import say, write_text
from behest_core.wording import amount, count_text

_CHANGED, _RIGHT = "changed", "right already"
_WORDS: Final = {
    End.PARKED: "parked",
    End.GAP: "with a gap in the log",
    End.REFUSED: "refused",
    End.DIVERGED: "diverged",
    End.UNKNOWN: "not there",
    End.DELETED: "deleted",
    End.UNFINISHED: "not reached",
}


def rebuild_runs(
    runs: Runs = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is not right and would be replaced; change nothing.")
    ] = False,
    since: Since = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Of all runs, only those after this id: to go on with a rebuild that was cut short."
        ),
    ] = None,
    extension: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Fold only this extension's slice; its plugin has to be named in BEHEST_PLUGINS."
        ),
    ] = None,
    diverged: Annotated[
        bool,
        typer.Option(
            "--diverged",
            help="Take what the log has where that is another history than the state's, even if it is less: one of the tables "
            "was restored. Without run ids, of the runs that are parked for that, and no others.",
        ),
    ] = False,
    yes: Yes = False,
    stack: Stack = None,
) -> None:
    """Fold runs again from the beginning of their logs, and replace their states.

    Live traffic may go on, and so may a rebuild that was cut short: it says what to type. Where a log no longer holds all that
    the state was folded from, or holds another history, the state stays. The exit code is 1 if any run could not be folded to
    the end of its log.
    """
    named = named_runs(runs, since=since, after=after)
    if diverged and (since, after, extension) != (None, None, None):
        raise typer.BadParameter(
            "--diverged is of runs that are parked, as a whole: leave out --since, --after and --extension"
        )
    store, dispatch = aws.connect(stack), dispatch_of_plugins()
    if extension is not None:
        _check_extension(extension, dispatch, is_dry=dry_run)
    with runs_bar() as bar:
        if diverged and not named:
            wanted = _diverged_runs(store, bar)
        else:
            wanted = [run_id for run_id in wanted_runs(store, named, since, bar) if after is None or run_id > after]
    if dry_run:
        _show(store, dispatch, wanted, diverged=diverged)
        return
    if wanted and not named and not yes and can_ask():
        what = ", and take what the log has" if diverged else ""
        ask(f"Fold {amount(len(wanted), 'run')} again{what}?")
    options = {
        "--stack": stack,
        "--since": since,
        "--after": after,
        "--extension": extension,
        "--diverged": "" if diverged else None,
    }
    rebuild = Rebuild(wanted, options, are_named=bool(named))
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
            f"no plugin in use has an extension {extension}; there is {', '.join(names) or 'none'}; "
            "install the plugin that has it, and name it in BEHEST_PLUGINS; `behest plugins` lists those that are installed"
        )


def _diverged_runs(store: RunStore, bar: RunsBar) -> list[str]:
    """List the runs that are parked as their logs hold another history, in the order of their ids."""
    # one whose item can't be read is not known to be one of them; whoever folds it next finds out
    parked = bar.look(store.state_table.find_parked(repair=True))
    return sorted(state.run_id for state in parked if is_parked_as_diverged(state))


def _show(store: RunStore, dispatch: Dispatch, run_ids: list[str], *, diverged: bool) -> None:
    """Show what a rebuild of the runs would replace. The exit code is 1 if it would leave any as it is."""
    are_older, are_hopeless = 0, 0
    hopeless = {Kind.UNFOLDABLE, Kind.UNKNOWN} | (set() if diverged else {Kind.DIVERGED})
    with runs_bar() as bar:
        bar.begin("checking", len(run_ids))
        check = Check(store, dispatch, bar)
        for verdict in check.verdicts(run_ids):
            are_older += verdict.is_right and verdict.reducer_version not in {0, REDUCER_VERSION}
            are_hopeless += verdict.kind in hopeless
            if not is_on_its_way(verdict):
                write_verdict(verdict, bar.results)
    older = f", {count_text(are_older)} of them by another version of the reducer" if are_older else ""
    write_text(f"{check}{older}; nothing was changed")
    if are_hopeless or check.unreached:
        raise typer.Exit(1)


class Rebuild:
    """The rebuild of some runs, in the order given.

    `options` are those that the command was given, to be repeated by whoever goes on. Of runs that were not named, the ones that
    have gone meanwhile are passed over.
    """

    def __init__(self, run_ids: list[str], options: Mapping[str, str | None], *, are_named: bool) -> None:
        self._run_ids = run_ids
        self._options = options
        self._are_named = are_named
        self._unreached: list[str] = []
        self._diverged: list[str] = []
        self._counts: Counter[str] = Counter()

    @property
    def is_whole(self) -> bool:
        """Whether every run is folded to the end of its log."""
        return self._counts.keys() <= {_CHANGED, _RIGHT}

    def __str__(self) -> str:
        words = [word for word in (_CHANGED, _RIGHT, *_WORDS.values()) if self._counts[word]]
        counts = ", ".join(f"{count_text(self._counts[word])} {word}" for word in words)
        return f"folded {amount(self._counts.total(), 'run')} again" + (f": {counts}" if counts else "")

    def run(self, folding: Folding, bar: RunsBar) -> None:
        """Fold the runs. If that is cut short, say what to type to go on.

        Raises CommandError where one run after the other can't be folded.
        """
        bar.begin("folding again", len(self._run_ids))
        try:
            with told_where_cut_short(bar, self._go_on):
                self._fold(folding, bar)
        finally:
            if self._unreached:
                count, again = amount(len(self._unreached), "run"), self._command({}, self._unreached)
                say(f"{count} could not be folded now; to try them again: {again}", bar.messages)
            if self._diverged:
                count, stack = amount(len(self._diverged), "run"), self._options["--stack"]
                take = to_type("rebuild", {"--stack": stack, "--diverged": ""}, self._diverged)
                say(f"{count} diverged; to take what the log has: {take}", bar.messages)

    def _fold(self, folding: Folding, bar: RunsBar) -> None:
        in_a_row, extension = InARow(), self._options["--extension"]
        diverged = self._options["--diverged"] is not None
        with SideBySide() as side:
            begun = side.map(
                lambda run_id: folding.fold_again(run_id, side.remaining, extension, diverged=diverged), self._run_ids
            )
            for run_id, result in begun:
                run = result()
                self._add(run, bar)
                bar.done(run_id)
                if in_a_row.add(is_failure=run.end is End.UNFINISHED):
                    bar.take_back(FAILURES_IN_A_ROW)
                    del self._unreached[-FAILURES_IN_A_ROW:]
                    raise CommandError(f"{FAILURES_IN_A_ROW} runs in a row could not be folded")

    def _add(self, run: FoldedRun, bar: RunsBar) -> None:
        if run.end is End.WHOLE:
            self._counts[_CHANGED if run.is_changed else _RIGHT] += 1
            if run.is_taken:
                write_text(run.line, bar.results)
        elif self._are_named or run.end not in {End.UNKNOWN, End.DELETED}:
            self._counts[_WORDS[run.end]] += 1
            say(run.line, bar.messages)
            if run.holds_up is not None:
                resume = to_type("resume", {"--stack": self._options["--stack"]}, [run.run_id])
                again = self._command({}, [run.run_id])
                say(
                    f"so its extension {run.holds_up} was not folded; once that is mended: {resume} && {again}",
                    bar.messages,
                )
        if run.end is End.UNFINISHED:
            self._unreached.append(run.run_id)
        if run.end is End.DIVERGED:
            self._diverged.append(run.run_id)

    def _go_on(self, done: int) -> str:
        """Return the command that folds what isn't done."""
        if self._are_named:
            return self._command({}, self._run_ids[done:])
        if self._options["--diverged"] is not None:
            return self._command({}, [])  # those that are done are not parked any more
        after = self._run_ids[done - 1] if done else self._options["--after"]
        return self._command({"--since": self._options["--since"], "--after": after}, [])

    def _command(self, options: Mapping[str, str | None], run_ids: list[str]) -> str:
        kept = {name: self._options[name] for name in ("--stack", "--extension", "--diverged")}
        return to_type("rebuild", {**kept, **options}, run_ids)
