"""What plugins show of several runs: of a list, of a session, and on the page of health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from behest_core.plugins.panels import RunsInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.model.summary import Summary
    from behest_core.plugins.panels import Place
    from behest_core.web.application import App


def panels_of(app: App, where: Place, runs: Sequence[Summary] = ()) -> dict[str, Any]:
    """Return the values that a template draws panels from. States are read, in one request for 100, only where a panel asks."""
    if not any(panel.where == where for plugin in app.plugins.used for panel in plugin.panels):
        return {"panels": []}
    states = app.store.get_states([run.run_id for run in runs]) if runs else {}
    given = RunsInput(states=[*states.values()], summaries=runs)
    return {"panels": app.plugins.panels(where, given)}
