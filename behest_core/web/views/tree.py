"""The page of a run's tree: the runs above and below it, with what each branch comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.web.application import Page
from behest_core.web.head import tone_of
from behest_core.web.tree import read_tree
from behest_core.web.views.run import of_run, state_of

if TYPE_CHECKING:
    from behest_core.web.application import App, Request


def page(request: Request, app: App) -> Page:
    """Show the tree that a run is in."""
    state = state_of(app, request)
    tree = read_tree(app.store, app.plugins.summary, state.run_id)
    return Page("run/tree.html", {"tree": tree, "tone_of": tone_of, **of_run(app, state, "tree")})
