"""The templates, and what they are filled with: everything is escaped, and what can't be seen in a text is written out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from behest_core.transcript.messages import as_text
from behest_core.web import markdown
from behest_core.web.changes import rows
from behest_core.web.drawings import bars, line
from behest_core.web.text import visible
from behest_core.wording import age_text, amount, count_text, duration_text, time_text, usd_text

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER: Final = Path(__file__).parent
LONGEST: Final = 20_000
"""How many characters of a value are shown."""


@cache
def environment() -> Environment:
    """Return the environment of the templates."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "amount": amount,
        "age": age_text,
        "bars": bars,
        "count": _or_dash(count_text),
        "duration": _or_dash(duration_text),
        "json": pretty,
        "line": one_line,
        "line_chart": line,
        "markdown": _markdown,
        "python": repr,
        "quoted": quote,
        "rows": rows,
        "time": time_text,
        "told": _or_dash(str),
        "usd": _or_dash(usd_text),
    }
    made.tests["cut"] = is_cut
    return made


def _seen(value: Any) -> Any:  # noqa: ANN401 (whatever a template shows)
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _or_dash(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return the filter that gives a dash where there is nothing."""
    return lambda value: "-" if value is None else text(value)


def _markdown(text: str) -> Markup:
    return Markup(markdown.render(text))  # noqa: S704 (it makes nothing but safe HTML)


def pretty(value: Any) -> str:  # noqa: ANN401 (JSON)
    """Return a value for reading: text as it is, all else as JSON on several lines; of a long one the beginning."""
    text = value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def is_cut(value: Any) -> bool:  # noqa: ANN401 (JSON)
    """Return whether a value is too long to be shown whole."""
    return len(value if isinstance(value, str) else msgspec.json.encode(value)) > LONGEST


def one_line(value: Any, most: int = 120) -> str:  # noqa: ANN401 (JSON)
    """Return the beginning of a value on one line."""
    text = " ".join(as_text(value).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
