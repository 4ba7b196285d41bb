"""What pages are made of and refer to: a rendered template, the files beside it, links to other pages."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from behest_core.web.environment import FOLDER, environment

_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A file that pages refer to."""

    text: str
    content_type: str
    version: str


@cache
def _assets() -> dict[str, Asset]:
    files = [each for each in (FOLDER / "static").iterdir() if each.suffix in _TYPES]
    texts = {each.name: each.read_text() for each in files}
    version = sha256("".join(texts[name] for name in sorted(texts)).encode()).hexdigest()[:12]
    return {each.name: Asset(texts[each.name], _TYPES[each.suffix], version) for each in files}


def asset(name: str) -> Asset | None:
    """Return a file by its name, None where there is none. What refers to it names the version of all, so it never goes stale."""
    return _assets().get(name)


def render(template: str, **values: object) -> str:
    """Return a page."""
    return environment().get_template(template).render(now=datetime.now(UTC), link=link, static=_static, **values)


def link(path: str, **query: object) -> str:
    """Return the address of a page; values that are None are left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return quote(path) + (f"?{urlencode(given)}" if given else "")


def _static(name: str) -> str:
    return f"/static/{name}?v={_assets()[name].version}"
