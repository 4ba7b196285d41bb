"""One run as one HTML file that stands by itself: to mail, or to attach to a report. It loads nothing and needs no script.

`redacted` gives the run as a recorder with ``content=False`` would have written it: its shape, names, counts and times, and
nothing of what was said. The state is folded anew from the events without content, so that no slice keeps it either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from markupsafe import Markup
from msgspec.structs import replace

from behest_core.errors import MalformedEventError, RunNotFoundError
from behest_core.fold.rules import fold
from behest_core.model.packing import array_of, cut
from behest_core.model.timestamps import from_datetime
from behest_core.recording.content import without_content
from behest_core.web.changes import as_json, rows, told
from behest_core.web.environment import FOLDER, environment
from behest_core.web.head import head
from behest_core.web.parts import read_part
from behest_core.web.timeline import svg, timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from behest_core.model.commit import Commit
    from behest_core.model.state import RunState
    from behest_core.plugins.loading import Plugins

_EVENTS, _BYTES = 20_000, 20_000_000
"""How much of a run a file holds."""

_STYLES: Final = ("colours.css", "document.css", "run.css")


def document(
    state: RunState, log: Iterable[Commit], plugins: Plugins, now: datetime, *, is_redacted: bool = False
) -> str:
    """Return the HTML of a run, given its state and its whole log, which is without content where `is_redacted` says so."""
    price = plugins.price if any(plugin.prices for plugin in plugins.used) else None
    part = read_part(state.run_id, log, price=price, most_events=_EVENTS, most_bytes=_BYTES)
    drawn = timeline(part.transcript, part.until)
    return (
        environment()
        .get_template("run/document.html")
        .render(
            head=head(state, plugins.summary(state), now),
            part=part,
            drawn=drawn,
            drawing=Markup(svg(drawn)),  # noqa: S704 (timeline.py escapes what is in it)
            rows=rows(told(as_json(state))),
            style=Markup("\n".join((FOLDER / "static" / name).read_text() for name in _STYLES)),  # noqa: S704 (our own)
            made_at=from_datetime(now),
            is_redacted=is_redacted,
        )
    )


def redacted_document(run_id: str, read_log: Callable[[], Iterable[Commit]], plugins: Plugins, now: datetime) -> str:
    """Return the HTML of a run without content. Its whole log is read twice. Raises RunNotFoundError where that is empty."""
    state = fold(None, _redacted(read_log()), plugins.dispatch).state
    if state is None:
        raise RunNotFoundError(run_id)
    return document(state, _redacted(read_log()), plugins, now, is_redacted=True)


def _redacted(log: Iterable[Commit]) -> Iterator[Commit]:
    """Return a log without content, up to a commit that can't be taken apart: nobody knows what is in that one."""
    for commit in log:
        if commit.is_record:
            yield commit
            continue
        try:
            events = [msgspec.json.encode(without_content(msgspec.json.decode(event))) for event in cut(commit)]
        except (MalformedEventError, msgspec.DecodeError):
            return
        yield replace(commit, text=None, packed=None, payload=array_of(events))
