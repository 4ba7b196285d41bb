"""JSON lines as commands read them: from a file or standard input, gzip's or not, one at a time, with a bar on a terminal."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from behest_core.errors import BehestError, MalformedLineError
from behest_core.interchange import numbered, read_run
from behest_core.terminal import messages, results, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from behest_core.interchange import RunLine


class Lines:
    """The lines of a file, or of standard input where it is called `-`.

    `name` is what messages call it, `size` how many bytes it has, None where that is not known.
    """

    def __init__(self, name: str, raw: IO[bytes], size: int | None) -> None:
        self.name = name
        self.size = size
        self._raw = raw
        self._read = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Return each line that isn't blank, with its number, as soon as it is there."""
        number = 0
        unpacked = gzip.GzipFile(fileobj=self._raw) if self.name.endswith(".gz") else self._raw
        try:
            for number, line in numbered(unpacked):
                self._read += len(line)
                yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise MalformedLineError(self.name, number + 1, "line", f"gzip can't unpack it: {error}") from error

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._read if self.size is None else self._raw.tell()


@contextmanager
def open_lines(file: str) -> Iterator[Lines]:
    """Open a file, or standard input where it is called `-`. Raises OSError."""
    if file == "-":
        yield Lines("standard input", sys.stdin.buffer, None)
        return
    with open(file, "rb") as raw:  # noqa: PTH123 (the name stays as the user gave it)
        yield Lines(file, raw, os.fstat(raw.fileno()).st_size if raw.seekable() else None)


class Invalid:
    """What becomes of lines that are refused: the first one ends the command, or all are reported and counted."""

    def __init__(self, console: Console, *, skip: bool) -> None:
        self.count = 0
        self._console = console
        self._skip = skip

    def met(self, error: BehestError) -> None:
        """Report the error, or raise it."""
        if not self._skip:
            raise error
        self.count += 1
        say(f"skipped: {error}", self._console)


def read_runs(lines: Lines, invalid: Invalid) -> Iterator[RunLine]:
    """Read the runs of the lines, without those that are malformed and skipped."""
    for number, line in lines:
        try:
            run = read_run(lines.name, number, line)
        except MalformedLineError as error:
            invalid.met(error)
        else:
            yield run


class Bar:
    """A progress bar on standard error, if that is a terminal; else nothing. It also counts runs and events."""

    def __init__(self, progress: Progress, size: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=size, runs=0, events=0)
        self._runs = self._events = 0
        self.console = progress.console

    def advance(self, events: int, position: int | None = None) -> None:
        """Count one more run, with so many events; `position` is how much of the file is done, in bytes."""
        self._runs += 1
        self._events += events
        self._progress.update(self._task, completed=position or 0, runs=self._runs, events=self._events)


@contextmanager
def progress_bar(size: int | None, *, results_too: bool = False) -> Iterator[Bar]:
    """Show a bar while the context lasts. With `results_too` results are written meanwhile: no bar where they would mix."""
    console = messages()
    counts = TextColumn("{task.fields[runs]:,} runs, {task.fields[events]:,} events", style="dim")
    columns = (BarColumn(), TaskProgressColumn(), counts, TimeElapsedColumn())
    hidden = not console.is_terminal or (results_too and results().is_terminal)
    with Progress(
        *columns, console=console, transient=True, disable=hidden, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        yield Bar(progress, size)
