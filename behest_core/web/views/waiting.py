"""What waits for a person, the oldest first, with what to type to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from behest_core.search import Where
from behest_core.web.application import Page
from behest_core.web.pages import link

if TYPE_CHECKING:
    from behest_core.web.application import App, Request

PAGE: Final = 200


def page(request: Request, app: App) -> Page:
    """Show the runs that wait."""
    found = app.store.search(
        Where(is_waiting=True), summary=app.plugins.summary, limit=PAGE, page_token=request.get("page")
    )
    values = {
        "title": "Waiting",
        "runs": found.runs,
        "next": link("/waiting", page=found.page_token) if found.page_token else None,
    }
    return Page("waiting.html", values)
