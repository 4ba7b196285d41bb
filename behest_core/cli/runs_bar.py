"""How far a command has come with its runs: a bar on a terminal, with rate and time left; else a line now and then.

The bar is drawn where people look, and what is written meanwhile goes above it: so it is written to `results` and `messages`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from behest_core.terminal import messages, results, say, write_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.progress import Task

_SAY_EVERY: Final = 10_000

Found = TypeVar("Found")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return how many runs are done in a second."""
        is_known = task.total is not None and task.speed is not None
        return Text(f"{task.speed:,.0f} runs/s" if is_known else "", style="dim")


class RunsBar:
    """Counts runs: first those that are found, then, of those, the ones that are done."""

    def __init__(self, progress: Progress, *, is_shown: bool) -> None:
        self._progress = progress
        self._is_shown = is_shown
        self._task = progress.add_task("looking for runs", total=None)
        self._done = self._total = 0
        self.results = progress.console if is_shown and results().file is progress.console.file else results()
        self.messages = progress.console if is_shown and messages().file.isatty() else messages()

    def look(self, found: Iterable[Found]) -> Iterator[Found]:
        """Count what is found; it isn't known yet how much that will be."""
        for each in found:
            self._progress.advance(self._task)
            yield each

    def begin(self, doing: str, total: int) -> None:
        """Begin with the runs: there are so many."""
        self._progress.reset(self._task, description=doing, total=total)
        self._total = total

    def done(self, run_id: str) -> None:
        """Count a run that is done. Of many, a line says now and then how far it is, where nobody sees a bar."""
        self._done += 1
        self._progress.advance(self._task)
        if not self._is_shown and self._done % _SAY_EVERY == 0:
            say(f"{self._done:,} of {self._total:,} runs, the last of them {run_id}")

    def write_line(self, line: bytes) -> None:
        """Write a line of JSON as a result, above the bar where it is on the same terminal."""
        if self._is_shown and self.results is self._progress.console:
            self.results.print(Text(line.decode()), soft_wrap=True)
        else:
            write_line(line)


@contextmanager
def runs_bar() -> Iterator[RunsBar]:
    """Show a bar while the context lasts."""
    live = _terminal()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(
        *columns,
        console=live or messages(),
        transient=True,
        disable=live is None,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        yield RunsBar(progress, is_shown=live is not None)


def _terminal() -> Console | None:
    """Return the console that a bar can be drawn on: standard output's, or else standard error's, where it is a real terminal."""
    for console in (results(), messages()):
        if console.is_interactive and console.file.isatty():
            return console
    return None
