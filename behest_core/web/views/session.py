"""A session: its runs in the order in which they began, as one conversation, with tokens and cost in sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from behest_core.errors import InvalidValueError, RunNotFoundError
from behest_core.search import Where
from behest_core.web.application import Page
from behest_core.web.pages import link
from behest_core.web.views.panels import panels_of

if TYPE_CHECKING:
    from behest_core.web.application import App, Request

PAGE: Final = 100


def page(request: Request, app: App) -> Page:
    """Show a session's runs, the oldest first: the newest hundred of them, and the way to those before."""
    session = request.get("id")
    if session is None:
        raise InvalidValueError("id", "expected the id of a session, as in /session?id=...")
    found = app.store.search(
        Where(session_id=session), summary=app.plugins.summary, limit=PAGE, page_token=request.get("page")
    )
    if not found.runs:
        raise RunNotFoundError(f"of session {session}")
    costs = [run.nano_usd for run in found.runs if run.nano_usd is not None]
    values = {
        "title": f"Session {session}",
        "session": session,
        "runs": found.runs[::-1],
        "input_tokens": sum(run.input_tokens for run in found.runs),
        "output_tokens": sum(run.output_tokens for run in found.runs),
        "nano_usd": sum(costs) if costs else None,
        "before": link("/session", id=session, page=found.page_token) if found.page_token else None,
        **panels_of(app, "session", found.runs),
    }
    return Page("session.html", values)
