"""The same as JSON, for other front ends; `/openapi.json` describes it, and a test holds it to the routes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from msgspec import Raw

from behest_core.errors import InvalidValueError
from behest_core.model.limits import check_run_id
from behest_core.web.application import Json
from behest_core.web.filters import where_of
from behest_core.web.openapi import DOCUMENT

if TYPE_CHECKING:
    from behest_core.web.application import App, Request

_PAGE: Final = 50
_MOST_RUNS: Final = 200
_MOST_EVENTS: Final = 1_000


def runs(request: Request, app: App) -> Json:
    """List runs, filtered as the page's list."""
    found = app.store.search(
        where_of(request, app.now()),
        summary=app.plugins.summary,
        limit=_limit(request, _PAGE, _MOST_RUNS),
        page_token=request.get("page"),
    )
    return Json({"runs": found.runs, "looked_at": found.looked_at, "page": found.page_token})


def run(request: Request, app: App) -> Json:
    """Return a run's state, which is one GetItem."""
    state = app.store.get_state(_run_id(request))
    return Json(state, etag=str(state.revision))


def events(request: Request, app: App) -> Json:
    """Return a run's events behind `after`, as they lie in the log."""
    run_id, limit = _run_id(request), _limit(request, 200, _MOST_EVENTS)
    after = request.number("after") or 0
    found = list(islice(app.store.events(run_id, after=after, limit=limit + 1), limit + 1))
    if not found and not app.store.event_log.head(run_id):
        app.store.get_record(run_id)
    shown = [
        {"sequence": each.sequence, "committed_at": each.committed_at, "event": Raw(each.raw)} for each in found[:limit]
    ]
    return Json({"events": shown, "after": found[limit - 1].sequence if len(found) > limit else None})


def transcript(request: Request, app: App) -> Json:
    """Return a run as a conversation."""
    return Json(app.store.transcript(_run_id(request), price=app.plugins.price))


def state(request: Request, app: App) -> Json:
    """Return a run's state as it was at a sequence, or up to a time."""
    at = request.get("at")
    if at is None:
        raise InvalidValueError("at", "expected a sequence such as 40, or a time")
    run_id, dispatch = _run_id(request), app.plugins.dispatch
    if at.isdecimal() and at.isascii():
        return Json(app.store.state_at(run_id, sequence=request.number("at") or 0, dispatch=dispatch))
    try:
        return Json(app.store.state_at(run_id, time=at, dispatch=dispatch))
    except ValueError as error:
        raise InvalidValueError("at", f"expected a sequence such as 40, or a time: {error}") from error


def document(request: Request, app: App) -> Json:  # noqa: ARG001 (a view's signature)
    """Return the OpenAPI document."""
    return Json(DOCUMENT)


def _run_id(request: Request) -> str:
    return check_run_id(unquote(request.parameters["run_id"]))


def _limit(request: Request, default: int, most: int) -> int:
    limit: Any = request.number("limit", least=1) or default
    return int(min(limit, most))
