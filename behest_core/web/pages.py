"""Templates and files of the page. Whatever a template is given is escaped, unless it is Markup that this package made.

What comes from a run may hold anything. So beside Jinja's escaping, the filter `told` shows what isn't printable or turns a text
round as visible escapes (text.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from behest_core.web.text import visible
from behest_core.wording import age_text, count_text, duration_text, time_text, usd_text

_HERE: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A file that pages refer to."""

    text: str
    content_type: str
    version: str


@cache
def _assets() -> dict[str, Asset]:
    files = [each for each in (_HERE / "static").iterdir() if each.suffix in _TYPES]
    texts = {each.name: each.read_text() for each in files}
    version = sha256("".join(texts[name] for name in sorted(texts)).encode()).hexdigest()[:12]
    return {each.name: Asset(texts[each.name], _TYPES[each.suffix], version) for each in files}


def asset(name: str) -> Asset | None:
    """Return a file by its name, None where there is none. What refers to it names the version of all, so it never goes stale."""
    return _assets().get(name)


def render(template: str, **values: object) -> str:
    """Return a page."""
    return _environment().get_template(template).render(now=datetime.now(UTC), **values)


def link(path: str, **query: object) -> str:
    """Return the address of a page; values that are None are left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return quote(path) + (f"?{urlencode(given)}" if given else "")


def _static(name: str) -> str:
    return f"/static/{name}?v={_assets()[name].version}"


def _told(value: object) -> str:
    return "-" if value is None else visible(str(value))


def _or_dash(text: Any) -> Any:  # noqa: ANN401 (a filter of a filter)
    return lambda value: "-" if value is None else text(value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(link=link, static=_static)
    environment.filters.update(
        told=_told,
        count=_or_dash(count_text),
        usd=_or_dash(usd_text),
        duration=_or_dash(duration_text),
        age=age_text,
        time=time_text,
    )
    return environment
