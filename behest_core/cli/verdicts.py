"""Checks runs against their logs side by side, shows what is not right, and counts: for `verify` and for `rebuild --dry-run`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from msgspec.json import encode
from rich.text import Text

from behest_core.cli.failures import explain
from behest_core.cli.side_by_side import InARow, SideBySide
from behest_core.projection.verify import Kind, Verdict, verify
from behest_core.terminal import amount, clean, count_text, json_text, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from behest_core.cli.runs_bar import RunsBar
    from behest_core.fold.dispatch import Dispatch
    from behest_core.store import RunStore

_WORDS: Final = {
    Kind.RIGHT: "right",
    Kind.UNSTORED: "behind",
    Kind.WRONG: "wrong",
    Kind.PARKED: "parked",
    Kind.UNFOLDABLE: "can't be folded",
    Kind.UNKNOWN: "not there",
}
_UNREACHED: Final = "not checked"
_ORDER: Final = ("right", "behind", "wrong", "parked", "can't be folded", "not there", _UNREACHED)


class Tally:
    """How many runs there are of each kind. One that is `behind` is right as far as it has come."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, verdict: Verdict) -> None:
        """Count a run that was checked."""
        is_behind = verdict.kind is Kind.RIGHT and verdict.behind
        self._counts["behind" if is_behind else _WORDS[verdict.kind]] += 1

    def add_unreached(self) -> None:
        """Count a run that could not be checked now."""
        self._counts[_UNREACHED] += 1

    @property
    def unreached(self) -> int:
        """How many runs could not be checked now."""
        return self._counts[_UNREACHED]

    @property
    def is_fine(self) -> bool:
        """Whether all runs are right, or on their way to be."""
        return self._counts.keys() <= {"right", "behind"}

    def __str__(self) -> str:
        found = ", ".join(f"{count_text(self._counts[word])} {word}" for word in _ORDER if self._counts[word])
        return f"checked {amount(self._counts.total(), 'run')}" + (f": {found}" if found else "")


def check_runs(
    store: RunStore, dispatch: Dispatch, run_ids: Iterable[str], tally: Tally, bar: RunsBar
) -> Iterator[Verdict]:
    """Check runs, count them, and give the verdicts, in order.

    One that can't be checked now is told and counted; raises botocore's error where that happens time after time.
    """
    unreached = InARow()
    with SideBySide() as side:
        for run_id, result in side.map(
            lambda run_id: verify(store.event_log, store.state_table, run_id, dispatch), run_ids
        ):
            try:
                verdict = result()
            except (ClientError, BotoCoreError) as error:
                tally.add_unreached()
                say(f"run {run_id} could not be checked now: {explain(error)}", bar.messages)
                if unreached.add(is_failure=True):
                    raise
            else:
                unreached.add(is_failure=False)
                tally.add(verdict)
                yield verdict
            bar.done(run_id)


def is_on_its_way(verdict: Verdict) -> bool:
    """Return whether there is nothing to tell about the run: it is right, or the projector hasn't got to it yet."""
    return verdict.kind in {Kind.RIGHT, Kind.UNSTORED}


def verdict_line(verdict: Verdict) -> bytes:
    """Return a verdict as JSON."""
    return encode(verdict)


def write_verdict(verdict: Verdict, console: Console) -> None:
    """Write what is not right about a run: a line for its problem, and one for each field that differs."""
    run = Text(clean(verdict.run_id), style="bold")
    if verdict.problem is not None:
        style = "yellow" if verdict.kind is Kind.PARKED else "red"
        console.print(Text.assemble(run, "  ", (clean(verdict.problem), style)), soft_wrap=True)
    for difference in verdict.differences:
        stored, folded = json_text(difference.stored), json_text(difference.folded)
        row = Text.assemble(
            run, "  ", (difference.name, "red"), (": stored ", "dim"), stored, (", folded ", "dim"), folded
        )
        console.print(row, soft_wrap=True)
