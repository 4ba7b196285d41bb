"""How the stack is: what is parked, what failed lately, which plugins are here. Read from the tables alone."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.model.state import RunStatus
from behest_core.model.timestamps import from_datetime
from behest_core.search import Where
from behest_core.web.application import Page
from behest_core.web.views.panels import panels_of

if TYPE_CHECKING:
    from behest_core.web.application import App, Request

_SHOWN: Final = 20
_STUCK_AFTER: Final = timedelta(hours=1)


def page(request: Request, app: App) -> Page:  # noqa: ARG001 (a view's signature)
    """Show what is unwell."""
    day_ago = from_datetime(app.now() - timedelta(days=1))
    asked = {
        "parked": Where(is_parked=True),
        "stuck": Where(stuck_after=_STUCK_AFTER.total_seconds()),
        "failed": Where(status=RunStatus.FAILED, since=day_ago),
    }
    found = {name: app.store.search(where, summary=app.plugins.summary, limit=_SHOWN) for name, where in asked.items()}
    parked = app.store.get_states([run.run_id for run in found["parked"].runs])
    values = {
        "title": "Health",
        **found,
        "parks": {run_id: state.parks for run_id, state in parked.items()},
        "behest": version("behest-core"),
        "reducer": REDUCER_VERSION,
        "plugins": app.plugins,
        "event_table": app.store.event_log.table,
        "state_table": app.store.state_table.table,
        "stack": app.stack,
        **panels_of(app, "health"),
    }
    return Page("health.html", values)
