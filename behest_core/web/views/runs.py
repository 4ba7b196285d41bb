"""The list of runs: newest first, filtered by its address, endless; and how the runs of the last day ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from behest_core.model.state import RunStatus
from behest_core.model.timestamps import from_datetime, to_datetime
from behest_core.search import Where
from behest_core.web.application import Page
from behest_core.web.filters import TEXTS, command_of, where_of
from behest_core.web.pages import link
from behest_core.web.views.panels import panels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from behest_core.model.summary import Summary
    from behest_core.web.application import App, Request

PAGE: Final = 50
_HOURS: Final = 24
_LOOKED_AT: Final = 1_000

COLUMNS: Final = (
    "model",
    "agent",
    "session",
    "tags",
    "user",
    "tokens",
    "cost",
    "duration",
    "events",
    "started",
    "error",
)
DEFAULT_COLUMNS: Final = ("model", "tokens", "cost", "duration", "started", "error")


GROUPS: Final = ("failed", "cancelled", "active", "completed")


class Hour(Struct):
    """The runs that began in one hour, by how they stand. `parts` are heights of a bar in per cent, from below."""

    label: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GROUPS, 0))
    parts: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many runs began in it."""
        return sum(self.counts.values())


_GROUP: Final = {RunStatus.FAILED: "failed", RunStatus.CANCELLED: "cancelled", RunStatus.COMPLETED: "completed"}


class LastDay(Struct):
    """What the runs of the last day come to: by hour, and in sum. Durations are in milliseconds."""

    hours: list[Hour]
    runs: int
    failed: int
    nano_usd: int | None
    median_ms: int | None
    p95_ms: int | None
    is_whole: bool


def page(request: Request, app: App) -> Page:
    """Show the runs that the address asks for."""
    now = app.now()
    where = where_of(request, now)
    found = app.store.search(where, summary=app.plugins.summary, limit=PAGE, page_token=request.get("page"))
    given = {name: value for name, value in request.query.items() if value and name != "page"}
    columns = _columns(request)
    values = {
        "title": "Runs",
        "runs": found.runs,
        "columns": columns,
        "all_columns": COLUMNS,
        "given": given,
        "statuses": [each.value for each in RunStatus],
        "texts": TEXTS,
        "filters": {name: value for name, value in given.items() if name != "columns"},
        "next": link("/", **given, page=found.page_token) if found.page_token else None,
        "is_first": request.get("page") is None,
        "looked_at": found.looked_at,
        "command": command_of(request, app.stack),
        "last_day": None if given or request.get("page") else last_day(app, now),
        **panels_of(app, "runs", found.runs),
    }
    return Page("runs.html", values, etag=_etag(found.runs, columns))


def _columns(request: Request) -> tuple[str, ...]:
    asked = (request.get("columns") or "").split(",")
    return tuple(name for name in COLUMNS if name in asked) or DEFAULT_COLUMNS


def _etag(runs: Iterable[Summary], columns: Iterable[str]) -> str:
    """Return what changes when a row does: a state's revision grows with each write."""
    told = ",".join([*columns, *(f"{run.run_id}:{run.revision}" for run in runs)])
    return sha256(told.encode(errors="surrogatepass")).hexdigest()[:20]


def last_day(app: App, now: datetime) -> LastDay:
    """Sum up the runs that began in the last day: the newest 1,000 of them, which is 10 requests of states."""
    since = (now - timedelta(hours=_HOURS - 1)).replace(minute=0, second=0, microsecond=0)
    where = Where(since=from_datetime(since))
    found = app.store.search(where, summary=app.plugins.summary, limit=_LOOKED_AT, look_at=_LOOKED_AT)
    hours = [Hour(f"{(since + timedelta(hours=n)):%H}:00") for n in range(_HOURS)]
    for run in found.runs:
        place = int((to_datetime(run.created_at or "") - since.astimezone(UTC)).total_seconds() // 3600)
        if 0 <= place < _HOURS:
            hours[place].counts[_GROUP.get(run.status, "active")] += 1
    _lay_out(hours)
    durations = sorted(run.duration_ms for run in found.runs if run.duration_ms is not None)
    costs = [run.nano_usd for run in found.runs if run.nano_usd is not None]
    return LastDay(
        hours=hours,
        runs=len(found.runs),
        failed=sum(run.status == RunStatus.FAILED for run in found.runs),
        nano_usd=sum(costs) if costs else None,
        median_ms=_quantile(durations, 0.5),
        p95_ms=_quantile(durations, 0.95),
        is_whole=found.page_token is None,
    )


def _lay_out(hours: Sequence[Hour]) -> None:
    most = max((hour.total for hour in hours), default=0)
    for hour in hours:
        top = 100.0
        for group in GROUPS:
            height = 100 * hour.counts[group] / most if most else 0.0
            top -= height
            if height:
                hour.parts.append((group, round(top, 2), round(height, 2)))


def _quantile(ordered: Sequence[int], share: float) -> int | None:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None
