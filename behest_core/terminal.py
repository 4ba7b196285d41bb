"""What commands write: results to standard output, everything else to standard error.

On a terminal results are laid out for its width. In a pipe nothing is cut, wrapped or coloured.

What comes from a run must not steer the terminal of whoever looks at it, nor reorder what is read there. So text is written with
all that isn't printable escaped, by whatever way it comes to a console. JSON, which a pipe gets as it is, is written to a
terminal with JSON's own escapes: it stays the same JSON.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TextIO

from msgspec.json import encode
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from behest_core import wording
from behest_core.model.state import RunStatus
from behest_core.model.timestamps import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import ConsoleOptions, RenderableType

    from behest_core.model.json import JSON

_UNLIMITED: Final = 100_000

STYLE_OF: Final = {
    RunStatus.PENDING: "dim",
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "magenta",
}
"""How a status looks; one that isn't here is under way."""

UNDER_WAY: Final = "yellow"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the command end as any command does whose reader has gone; rich would exit with 1."""
        raise  # noqa: PLE0704 (called while the error is handled)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Escape what isn't printable in whatever is written; what rich itself does to the terminal is control, and stays."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(clean, segment.text.split("\n"))), segment.style)


def results() -> Console:
    """Return the console of standard output, as it is now: it stays this one, whoever replaces `sys.stdout` meanwhile."""
    return _console(sys.stdout)


def messages() -> Console:
    """Return the console of standard error."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    console = _Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


def write_result(console: Console, result: RenderableType) -> None:
    """Write a result for people; in a pipe without the blanks that fill up its lines."""
    if console.is_terminal:
        console.print(result)
        return
    with console.capture() as lines:
        console.print(result)
    for line in lines.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)


def write_line(line: bytes, console: Console | None = None) -> None:
    """Write a line of JSON as a result, at once: whoever reads it may wait for it. `console` is a terminal's, if one is known."""
    if console is not None or sys.stdout.isatty() or results().is_terminal:
        (console or results()).print(Text(json_line(line)), soft_wrap=True)
        return
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def json_line(line: bytes) -> str:
    r"""Return a line of JSON for a terminal: the same JSON, with all that isn't printable as ``\uXXXX``."""
    text = line.decode(errors="replace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _as_json_escape(char) for char in text)


def _as_json_escape(char: str) -> str:
    code_units = char.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{code_units[at : at + 4]}" for at in range(0, len(code_units), 4))


def say(message: str, console: Console | None = None) -> None:
    """Write one line to standard error."""
    text = Text.assemble(("behest: ", "dim"), clean(message))
    (console or messages()).print(text, soft_wrap=True)


def clean(text: str) -> str:
    """Escape what isn't printable, line breaks among it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def status_text(status: RunStatus) -> Text:
    """Return a status in its colour."""
    return Text(status, style=STYLE_OF.get(status, UNDER_WAY))


def time_text(moment: str | None) -> str:
    """Return a time in UTC without trailing zeros; as it is where it isn't RFC 3339; a dash where there is none."""
    return clean(wording.time_text(moment))


def second_text(moment: str | None) -> str:
    """Return a time in UTC to the second, as tables show it."""
    return time_text(moment)[:19].replace("T", " ").removesuffix("Z")


def age_text(moment: str, now: datetime) -> str:
    """Return how long ago a time was, in its largest whole unit; a dash where it isn't RFC 3339."""
    try:
        seconds = max(int((now - to_datetime(moment)).total_seconds()), 0)
    except ValueError:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def write_text(text: str, console: Console | None = None) -> None:
    """Write a line of text as a result."""
    (console or results()).print(Text(clean(text)), soft_wrap=True)


def json_text(value: JSON) -> str:
    """Return a JSON value on one line."""
    return clean(encode(value).decode())
