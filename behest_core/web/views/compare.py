"""The page of two runs side by side: how they are, their timelines on one scale, where their conversations part, their states.

Compared is the first part of each conversation (parts.py); the page says where a run goes on behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from msgspec import Struct

from behest_core.web.application import Page
from behest_core.web.changes import as_json, rows, told
from behest_core.web.comparison import compare
from behest_core.web.head import Head, head
from behest_core.web.links import Links
from behest_core.web.parts import Part
from behest_core.web.timeline import svg, timeline
from behest_core.web.views.run import read, state_of

if TYPE_CHECKING:
    from behest_core.web.application import App, Request

_OF_THE_ITEM = ("run_id", "revision", "commit_id", "guard", "has_record", "reducer_version", "created_at", "updated_at")


class Side(Struct):
    """One of the two runs."""

    head: Head
    links: Links
    part: Part
    state: dict[str, Any]
    drawing: Markup = Markup()


def page(request: Request, app: App) -> Page:
    """Show the runs `one` and `other`; where only one is named, ask for the other."""
    sides = [_side(request, app, "one")]
    values: dict[str, Any] = {"title": "Two runs side by side", "sides": sides, "found": None, "rows": []}
    if request.get("other") is not None:
        sides.append(_side(request, app, "other"))
        _draw(sides)
        values["found"] = compare(sides[0].part.transcript.entries, sides[1].part.transcript.entries)
        values["rows"] = rows(sides[1].state, sides[0].state)
    return Page("run/compare.html", values)


def _side(request: Request, app: App, name: str) -> Side:
    state = state_of(app, request, name)
    values = {name: value for name, value in as_json(state).items() if name not in _OF_THE_ITEM}
    values["extensions"] = {name: piece["state"] for name, piece in values["extensions"].items()}
    about = head(state, app.plugins.summary(state), app.now())
    return Side(about, Links(state.run_id), read(app, state.run_id), told(values))


def _draw(sides: list[Side]) -> None:
    longest = max(timeline(side.part.transcript, side.part.until).length for side in sides)
    for side, place in zip(sides, ("first", "second"), strict=True):
        drawn = timeline(side.part.transcript, side.part.until, length=longest)
        if drawn.bars:
            side.drawing = Markup(svg(drawn, f"Timeline of the {place} run"))  # noqa: S704 (timeline.py escapes it)
