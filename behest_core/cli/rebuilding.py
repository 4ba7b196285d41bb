"""A rebuild as it goes: what became of the runs, how far it has come, and what to type to go on from there."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Final

from behest_core.cli.failures import CommandError
from behest_core.cli.folded_run import End
from behest_core.cli.side_by_side import FAILURES_IN_A_ROW, InARow, SideBySide
from behest_core.terminal import amount, count_text, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from behest_core.cli.folded_run import FoldedRun, Folding
    from behest_core.cli.runs_bar import RunsBar

_CHANGED, _RIGHT = "changed", "right already"
_WORDS: Final = {
    End.PARKED: "parked",
    End.GAP: "with a gap in the log",
    End.REFUSED: "refused",
    End.UNKNOWN: "not there",
    End.DELETED: "deleted",
    End.UNFINISHED: "not reached",
}


class Rebuild:
    """The rebuild of some runs, in the order given.

    `options` are those that the command was given, to be repeated by whoever goes on. Of runs that were not named, the ones that
    have gone meanwhile are passed over.
    """

    def __init__(self, run_ids: list[str], options: Mapping[str, str], *, are_named: bool) -> None:
        self._run_ids = run_ids
        self._options = options
        self._are_named = are_named
        self._position = 0
        self._unreached: list[str] = []
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
        """Fold the runs. Where it is cut short, by whatever, say what to type to go on.

        Raises CommandError where one run after the other can't be folded.
        """
        bar.begin("folding again", len(self._run_ids))
        try:
            self._fold(folding, bar)
        except BaseException:
            done, total = count_text(self._position), count_text(len(self._run_ids))
            say(f"cut short with {done} of {total} runs done; to go on: {self._go_on()}", bar.messages)
            raise
        finally:
            if self._unreached:
                count, again = amount(len(self._unreached), "run"), self._command({}, self._unreached)
                say(f"{count} could not be folded now; to try them again: {again}", bar.messages)

    def _fold(self, folding: Folding, bar: RunsBar) -> None:
        in_a_row, extension = InARow(), self._options.get("--extension")
        with SideBySide() as side:
            begun = side.map(lambda run_id: folding.fold_again(run_id, side.remaining, extension), self._run_ids)
            for run_id, result in begun:
                run = result()
                self._add(run, bar)
                bar.done(run_id)
                if in_a_row.add(is_failure=run.end is End.UNFINISHED):
                    self._position -= FAILURES_IN_A_ROW
                    del self._unreached[-FAILURES_IN_A_ROW:]
                    raise CommandError(f"{FAILURES_IN_A_ROW} runs in a row could not be folded")

    def _add(self, run: FoldedRun, bar: RunsBar) -> None:
        if run.end is End.WHOLE:
            self._counts[_CHANGED if run.is_changed else _RIGHT] += 1
        elif self._are_named or run.end not in {End.UNKNOWN, End.DELETED}:
            self._counts[_WORDS[run.end]] += 1
            say(run.line, bar.messages)
        if run.end is End.UNFINISHED:
            self._unreached.append(run.run_id)
        self._position += 1

    def _go_on(self) -> str:
        """Return the command that folds what isn't done."""
        if self._are_named:
            return self._command({}, self._run_ids[self._position :])
        options = {name: self._options[name] for name in ("--since", "--after") if name in self._options}
        if self._position:
            options["--after"] = self._run_ids[self._position - 1]
        return self._command(options, [])

    def _command(self, options: Mapping[str, str], run_ids: list[str]) -> str:
        kept = {name: self._options[name] for name in ("--stack", "--extension") if name in self._options}
        words = [f"{name}={value}" for name, value in {**kept, **options}.items()]
        if any(run_id.startswith("-") for run_id in run_ids):
            words.append("--")
        return shlex.join(["behest", "rebuild", *words, *run_ids])
