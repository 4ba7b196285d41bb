"""The pages of one run: its timeline and conversation, its events, the state as of an event, and what plugins show.

What a page costs: the run's own page one GetItem and the next part of the log; a look at whether it has changed one GetItem, as
the ETag is the state's revision. Events are read page by page. The state as of an event is folded from the log up to it, each
time: for event 20,000 that reads a log of 20,000 events, some hundred KB where it is packed; nothing is kept between two looks.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup
from msgspec import Struct, json

from behest_core.errors import InvalidValueError, RunNotFoundError
from behest_core.fold.history import states_around
from behest_core.model.limits import check_run_id
from behest_core.plugins.panels import PanelInput
from behest_core.web.application import Page, Unchanged
from behest_core.web.changes import as_json, rows, told
from behest_core.web.head import head
from behest_core.web.links import Links
from behest_core.web.parts import Part, read_part
from behest_core.web.timeline import svg, timeline

if TYPE_CHECKING:
    from behest_core.model.packing import RecordedEvent
    from behest_core.model.state import RunState
    from behest_core.web.application import App, Request

EVENTS: Final = 100
"""How many events a page shows."""

LOOK_AT: Final = 2_000
"""How many events are looked at for those of one type."""

_SHOWN: Final = 2_000  # characters of an event among others
_TABS: Final = (
    ("", "Conversation"),
    ("events", "Events"),
    ("at", "Time travel"),
    ("slices", "State and plugins"),
    ("tree", "Tree"),
)


def page(request: Request, app: App) -> Page | Unchanged:
    """Show how a run is, its timeline, and its conversation from `after` on."""
    state = state_of(app, request)
    etag = str(state.revision)
    if request.knows(etag):
        return Unchanged(etag)
    part = read(app, state.run_id, request.number("after") or 0)
    drawn = timeline(part.transcript, part.until)
    values = {
        "part": part,
        "drawn": drawn,
        "drawing": Markup(svg(drawn)),  # noqa: S704 (timeline.py escapes what is in it)
        **of_run(app, state, ""),
    }
    return Page("run/conversation.html", values, etag=etag)


def of_run(app: App, state: RunState, tab: str) -> dict[str, Any]:
    """Return what every page of a run shows: its head, and the way to its other pages."""
    links = Links(state.run_id)
    about = head(state, app.plugins.summary(state), app.now())
    return {
        "title": f"{about.title}: {about.status}",
        "head": about,
        "links": links,
        "tabs": [(links.page(each), title, each == tab) for each, title in _TABS],
    }


def state_of(app: App, request: Request, name: str = "id") -> RunState:
    """Return the state of the run that the query names; where it isn't folded yet, that of its log's beginning."""
    run_id = request.get(name)
    if run_id is None:
        raise InvalidValueError(name, "expected the id of a run")
    check_run_id(run_id)
    try:
        return app.store.get_state(run_id)
    except RunNotFoundError:
        return app.store.state_at(run_id, sequence=0)  # the projector is on its way to it; raises where there is no run


def read(app: App, run_id: str, after: int = 0) -> Part:
    """Read a part of a run's conversation."""
    price = app.plugins.price if any(plugin.prices for plugin in app.plugins.used) else None
    commits = app.store.event_log.commits(run_id, after or -1, refuse_deleted=True)
    return read_part(run_id, commits, after, price=price)


# ---------------------------------------------------------------- events


class ShownEvent(Struct, frozen=True):
    """An event of the list. `text` is its JSON, `is_cut` whether that is its beginning only."""

    sequence: int
    type: str
    timestamp: str
    committed_at: str
    text: str
    is_cut: bool


class _About(Struct, gc=False):
    type: str = "?"
    timestamp: str = ""


def events(request: Request, app: App) -> Page:
    """Show a page of the run's events behind `after`: all, those of one `type`, or of a family, such as ``agent.``."""
    state = state_of(app, request)
    after, limit, wanted = request.number("after") or 0, request.number("limit", 1) or EVENTS, request.get("type") or ""
    limit = min(limit, EVENTS)
    found: list[ShownEvent] = []
    looked_at, is_end = after, True
    for each in islice(app.store.events(state.run_id, after=after, limit=LOOK_AT + 1), LOOK_AT + 1):
        if len(found) == limit or each.sequence > after + LOOK_AT:
            is_end = False
            break
        looked_at = each.sequence
        about = json.decode(each.raw, type=_About)
        if about.type.startswith(wanted) if wanted.endswith(".") or not wanted else about.type == wanted:
            found.append(_shown(each, about, whole=limit == 1))
    values = {
        "events": found,
        "after": after,
        "wanted": wanted,
        "types": sorted({each.type for each in found}),
        "next_after": None if is_end else looked_at,
        "looked_at": looked_at,
        **of_run(app, state, "events"),
    }
    return Page("run/events.html", values)


def _shown(event: RecordedEvent, about: _About, *, whole: bool) -> ShownEvent:
    text = json.format(event.raw, indent=2).decode()
    is_cut = len(text) > _SHOWN and not whole
    text = text[:_SHOWN] if is_cut else text
    return ShownEvent(event.sequence, about.type, about.timestamp, event.committed_at, text, is_cut)


# ---------------------------------------------------------------- time travel


def at(request: Request, app: App) -> Page:
    """Show the state as of event `at`, the last where none is named, with what that event changed."""
    state = state_of(app, request)
    run_id, asked = state.run_id, request.number("at")
    last = max(state.sequence, asked or 0)
    sequence = last if asked is None else asked
    around = states_around(
        run_id, app.store.event_log.whole_commits(run_id, up_to=sequence), sequence, app.plugins.dispatch
    )
    behind = app.store.events(run_id, after=sequence - 1, limit=1) if sequence else ()
    event = next(iter(behind), None)
    values = {
        "at": sequence,
        "last": last,
        "event": None if event is None else _shown(event, json.decode(event.raw, type=_About), whole=False),
        "rows": rows(told(_of_the_run(around.after)), told(_of_the_run(around.before))),
        "parked": around.after.parked,
        **of_run(app, state, "at"),
    }
    return Page("run/at.html", values)


_OF_THE_ITEM: Final = (
    "sequence",
    "event_count",
    "updated_at",
    "revision",
    "reducer_version",
    "has_record",
    "commit_id",
    "guard",
    "deleted_at",
)
"""What every event changes, and what is of the stored item rather than of the run."""


def _of_the_run(state: RunState | None) -> dict[str, Any]:
    values = {name: value for name, value in as_json(state).items() if name not in _OF_THE_ITEM}
    if values:
        values["extensions"] = {name: piece["state"] for name, piece in values["extensions"].items()}
    return values


# ---------------------------------------------------------------- slices


def slices(request: Request, app: App) -> Page:
    """Show what plugins know of the run, and its state as it is stored."""
    state = state_of(app, request)
    given = PanelInput(
        state=state, summary=app.plugins.summary(state), events=lambda: iter(app.store.events(state.run_id))
    )
    values = {
        "panels": app.plugins.panels("run", given),
        "rows": rows(told(as_json(state))),
        **of_run(app, state, "slices"),
    }
    return Page("run/slices.html", values)
