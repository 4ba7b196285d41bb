"""The page as an application: which view answers which path, and what becomes of whatever it raises.

The same routes run behind `behest ui` (server.py) and in a Lambda function: both are Powertools' resolvers. A view is a function
of a request and of the application; it returns a page to render, JSON, or that nothing changed. It only reads.

What goes wrong is a page that says what to do, or a JSON object with `error`: a run that isn't there is 404, a value that is none
400, AWS's refusal 502. A bug is 500, told in the log, without a traceback in what is sent. Every answer has the headers of
security.py, whatever it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aws_lambda_powertools.event_handler import Response
from botocore.exceptions import BotoCoreError, ClientError
from msgspec.json import encode

from behest_core.errors import (
    BehestError,
    InvalidRunIdError,
    InvalidValueError,
    RunDeletedError,
    RunNotFoundError,
    StateNotFoundError,
)
from behest_core.plugins.loading import Plugins
from behest_core.web.pages import asset, render
from behest_core.web.security import HEADERS

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import ApiGatewayResolver

    from behest_core.store import RunStore

_logger = logging.getLogger("behest_core")

LONGEST_QUERY: Final = 16 * 1024
"""How many characters of a query are read."""


@dataclass(frozen=True)
class Request:
    """What was asked for. `query` has the last value of each name; an empty one counts as none."""

    path: str
    query: Mapping[str, str]
    etag: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """Return a value of the query; None where it is missing or blank."""
        return self.query.get(name, "").strip() or None

    def knows(self, etag: str) -> bool:
        """Return whether whoever asks has the page of this ETag already."""
        return self.etag is not None and self.etag.removeprefix("W/") == f'"{etag}"'

    def number(self, name: str, least: int = 0) -> int | None:
        """Return a whole number of the query. Raises InvalidValueError."""
        text = self.get(name)
        if text is None:
            return None
        if not (text.isdecimal() and text.isascii() and len(text) <= 16 and int(text) >= least):
            raise InvalidValueError(name, f"expected a whole number from {least} on, got {text[:50]!r}")
        return int(text)


@dataclass(frozen=True)
class Page:
    """A page to render. With an `etag`, whoever has the page already is told that it is the same."""

    template: str
    values: dict[str, Any]
    status: int = 200
    etag: str | None = None


@dataclass(frozen=True)
class Json:
    """A JSON answer."""

    value: object
    status: int = 200
    etag: str | None = None


@dataclass(frozen=True)
class Unchanged:
    """Whoever asks has the page already: it wasn't made again."""

    etag: str


Answer: TypeAlias = Page | Json | Unchanged


@dataclass(frozen=True)
class App:
    """What views read from: the runs, the installed plugins, and the name of the stack where it has one."""

    store: RunStore
    plugins: Plugins = field(default_factory=Plugins)
    stack: str | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


View: TypeAlias = Callable[[Request, App], Answer]

VIEWS: Final[Mapping[str, str]] = {
    "/": "runs:page",
    "/run": "run:page",
    "/run/events": "run:events",
    "/run/at": "run:at",
    "/run/slices": "run:slices",
    "/run/tree": "tree:page",
    "/compare": "compare:page",
    "/session": "session:page",
    "/waiting": "waiting:page",
    "/health": "health:page",
    "/api/runs": "api:runs",
    "/api/runs/<run_id>": "api:run",
    "/api/runs/<run_id>/events": "api:events",
    "/api/runs/<run_id>/transcript": "api:transcript",
    "/api/runs/<run_id>/state": "api:state",
    "/openapi.json": "api:document",
}
"""Which view answers which path: a module of `views`, and a function of it. Pages name runs in the query, where any id fits."""

_STATUS: Final[Mapping[type[BehestError], int]] = {
    RunNotFoundError: 404,
    StateNotFoundError: 404,
    RunDeletedError: 410,
    InvalidValueError: 400,
    InvalidRunIdError: 400,
}


def add_routes(resolver: ApiGatewayResolver, app: App) -> None:
    """Let a resolver answer with the page's views."""
    for path, place in VIEWS.items():
        module, _, name = place.partition(":")
        view: View = getattr(import_module(f"behest_core.web.views.{module}"), name)
        resolver.get(path)(_answering(resolver, app, view))
    resolver.get("/static/<name>")(_asset)
    resolver.not_found(lambda _: _respond(_failed(_is_api(resolver), 404, "there is no such page; begin at /")))


def _answering(resolver: ApiGatewayResolver, app: App, view: View) -> Callable[..., Response[str]]:
    def answer(**parameters: str) -> Response[str]:
        event = resolver.current_event
        headers = {name.lower(): value for name, value in (event.headers or {}).items()}
        request = Request(event.path, event.query_string_parameters or {}, headers.get("if-none-match"), parameters)
        try:
            return _respond(_answer(view, request, app), request)
        except Exception:
            _logger.exception("a view of the page raised")
            return _respond(_failed(_is_api(resolver), 500, "this is a bug of behest; its log says more"))

    return answer


def _answer(view: View, request: Request, app: App) -> Answer:
    is_api = request.path.startswith("/api/")
    if sum(len(name) + len(value) for name, value in request.query.items()) > LONGEST_QUERY:
        return _failed(is_api, 414, "the address is too long; ask for less at once")
    try:
        return view(request, app)
    except BehestError as error:
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 409)
        return _failed(is_api, status, str(error))
    except (ClientError, BotoCoreError) as error:
        _logger.warning("the page could not read from AWS: %s", error)
        return _failed(is_api, 502, f"AWS did not answer as it should: {error}. Try again in a moment.")


def _failed(is_api: bool, status: int, reason: str) -> Answer:  # noqa: FBT001 (which kind of answer)
    if is_api:
        return Json({"error": reason}, status)
    return Page("error.html", {"title": f"{status}", "reason": reason}, status)


def _is_api(resolver: ApiGatewayResolver) -> bool:
    return str(resolver.current_event.path).startswith("/api/")


def _respond(answer: Answer, request: Request | None = None) -> Response[str]:
    headers = dict(HEADERS)
    if isinstance(answer, Unchanged):
        return Response(304, headers={**headers, "ETag": f'"{answer.etag}"'}, body="")
    if answer.etag is not None:
        headers["ETag"] = f'"{answer.etag}"'
        if request is not None and request.knows(answer.etag):
            return Response(304, headers=headers, body="")
    if isinstance(answer, Json):
        return Response(answer.status, "application/json", encode(answer.value).decode(), headers)
    return Response(answer.status, "text/html; charset=utf-8", render(answer.template, **answer.values), headers)


def _asset(name: str) -> Response[str]:
    found = asset(name)
    if found is None:
        return _respond(_failed(False, 404, "there is no such file"))  # noqa: FBT003
    headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(200, found.content_type, found.text, headers)
