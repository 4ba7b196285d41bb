"""How far a command has come: with runs, or with the lines of a file.

On a terminal that is a bar; elsewhere, of many runs, a line now and then. A bar is drawn where people look, and what is written
meanwhile goes above it: so it is written to the bar's `results` and `messages`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from behest_core.terminal import messages, results, say, write_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.progress import Task

_SAY_EVERY: Final = 10_000

Found = TypeVar("Found")

# ---------------------------------------------------------------- runs


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return how many runs are done in a second."""
        is_known = task.total is not None and task.speed is not None
        return Text(f"{task.speed:,.0f} runs/s" if is_known else "", style="dim")


class RunsBar:
    """Counts runs: first those that are found, then, of those, the ones that are done: `count` of `total`."""

    def __init__(self, progress: Progress, *, is_shown: bool) -> None:
        self.count = self.total = 0
        self._progress = progress
        self._is_shown = is_shown
        self._task = progress.add_task("looking for runs", total=None)
        self.results = progress.console if is_shown and results().file is progress.console.file else results()
        self.messages = progress.console if is_shown and messages().file.isatty() else messages()

    def look(self, found: Iterable[Found]) -> Iterator[Found]:
        """Count what is found; it isn't known yet how much that will be."""
        for each in found:
            self._progress.advance(self._task)
            yield each

    def begin(self, doing: str, total: int) -> None:
        """Begin with the runs, of which there are `total`."""
        self._progress.reset(self._task, description=doing, total=total)
        self.count, self.total = 0, total

    def done(self, run_id: str) -> None:
        """Count a run that is done. Of many, a line says now and then how far it is, where nobody sees a bar."""
        self.count += 1
        self._progress.advance(self._task)
        if not self._is_shown and self.count % _SAY_EVERY == 0:
            say(f"{self.count:,} of {self.total:,} runs, the last of them {run_id}")

    def take_back(self, runs: int) -> None:
        """Count the last runs as not done after all: so many of them."""
        self.count -= runs

    def write_line(self, line: bytes) -> None:
        """Write a line of JSON as a result, above the bar where it is on the same terminal."""
        write_line(line, self.results if self.results is self._progress.console else None)


@contextmanager
def runs_bar() -> Iterator[RunsBar]:
    """Show a bar of runs while the context lasts."""
    live = _terminal()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with _progress(columns, live or messages(), is_shown=live is not None) as progress:
        yield RunsBar(progress, is_shown=live is not None)


def _terminal() -> Console | None:
    """Return the console that a bar can be drawn on: standard output's, or else standard error's, where it is a real terminal."""
    for console in (results(), messages()):
        if console.is_interactive and console.file.isatty():
            return console
    return None


def _progress(columns: tuple[ProgressColumn, ...], console: Console, *, is_shown: bool) -> Progress:
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not is_shown,
        redirect_stdout=False,
        redirect_stderr=False,
    )


# ---------------------------------------------------------------- the lines of a file


class LinesBar:
    """A bar on standard error, if that is a terminal; else nothing. It also counts runs and events."""

    def __init__(self, progress: Progress, size: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=size, runs=0, events=0)
        self._runs = self._events = 0
        self.messages = progress.console

    def advance(self, events: int, position: int) -> None:
        """Count one more run, with so many events; `position` is how much of the file is done, in bytes."""
        self._runs += 1
        self._events += events
        self._progress.update(self._task, completed=position, runs=self._runs, events=self._events)


@contextmanager
def lines_bar(size: int | None, *, results_too: bool = False) -> Iterator[LinesBar]:
    """Show a bar while the context lasts. With `results_too` results are written meanwhile: no bar where they would mix."""
    console = messages()
    counts = TextColumn("{task.fields[runs]:,} runs, {task.fields[events]:,} events", style="dim")
    columns = (BarColumn(), TaskProgressColumn(), counts, TimeElapsedColumn())
    is_shown = console.is_terminal and not (results_too and results().is_terminal)
    with _progress(columns, console, is_shown=is_shown) as progress:
        yield LinesBar(progress, size)
