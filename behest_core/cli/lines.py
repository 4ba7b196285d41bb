"""JSON lines as commands read them: from a file or standard input, gzip's or not, one at a time."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TypeVar

from behest_core.errors import BehestError, MalformedLineError
from behest_core.interchange import numbered
from behest_core.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


Read = TypeVar("Read")


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


def read_runs(lines: Lines, invalid: Invalid, read: Callable[[str, int, bytes], Read]) -> Iterator[Read]:
    """Read each line with `read`, which gets its place and its bytes; those that are malformed are skipped."""
    for number, line in lines:
        try:
            run = read(lines.name, number, line)
        except MalformedLineError as error:
            invalid.met(error)
        else:
            yield run
