"""Finding runs: which index answers what, and what is looked at beside it.

| asked for | index | order |
|---|---|---|
| a session | by_session | newest first |
| a status | by_status, that status's shards | newest first |
| parked | by_parked | latest first |
| waiting | by_waiting | the one that has waited longest first |
| stuck | by_status, the active statuses' shards | newest first |
| anything else | by_status, all shards | newest first |

A time range bounds what is read of an index. Everything else is looked at in the states that the index names, 100 of them in a
request; `look_at` bounds how many, so that a rare match costs no more than that, and the page token goes on behind them. No
table is ever scanned.
"""

from __future__ import annotations

import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import decode, encode

from behest_core.errors import InvalidValueError
from behest_core.model.state import ACTIVE_STATUSES, RunStatus
from behest_core.model.summary import Summary, milliseconds_between
from behest_core.model.timestamps import as_text, from_datetime, is_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from behest_core.dynamodb.state_table import StateTable
    from behest_core.model.state import RunState

LOOK_AT: Final = 1_000
"""How many runs a search looks at before it says how to go on: 10 requests of states."""

_PAGE: Final = 50


class Where(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What runs are asked for. All of it has to hold; what is None doesn't count.

    `since` and `until` bound when a run was created, both included (RFC 3339). `error` is a part of the error's text, in any
    case. `stuck_after` is how many seconds an active run that waits for nobody has told nothing. `min_duration` is in seconds;
    an active run's is the time since it was created. `is_waiting` asks for runs that wait for a person
    (`RunState.waiting_since`).
    """

    status: RunStatus | None = None
    session_id: str | None = None
    model: str | None = None
    agent: str | None = None
    tag: str | None = None
    user: str | None = None
    since: str | None = None
    until: str | None = None
    error: str | None = None
    is_parked: bool = False
    is_waiting: bool = False
    stuck_after: float | None = None
    min_nano_usd: int | None = None
    min_tokens: int | None = None
    min_duration: float | None = None

    def matches(self, run: Summary, now: datetime) -> bool:
        """Return whether a run is one of those asked for."""
        return (
            _is(self.status, run.status)
            and _is(self.session_id, run.session_id)
            and _is(self.model, run.model)
            and _is(self.agent, run.agent_name)
            and _is(self.user, run.user_id)
            and (self.tag is None or self.tag in run.tags)
            and (self.error is None or self.error.casefold() in (run.error or "").casefold())
            and (not self.is_parked or run.is_parked)
            and (not self.is_waiting or run.waiting_since is not None)
            and (self.stuck_after is None or self._is_stuck(run, now))
            and (self.min_nano_usd is None or (run.nano_usd or 0) >= self.min_nano_usd)
            and (self.min_tokens is None or run.total_tokens >= self.min_tokens)
            and (self.min_duration is None or _milliseconds(run, now) >= 1000 * self.min_duration)
        )

    def _is_stuck(self, run: Summary, now: datetime) -> bool:
        silent_since = now - timedelta(seconds=self.stuck_after or 0)
        return run.ended_at is None and run.waiting_since is None and is_before(run.updated_at or "", silent_since)


def _is(asked: str | None, found: str | None) -> bool:
    return asked is None or asked == found


def _milliseconds(run: Summary, now: datetime) -> int:
    if run.duration_ms is not None:
        return run.duration_ms
    return milliseconds_between(run.created_at, from_datetime(now)) or 0


class Found(NamedTuple):
    """A page of runs, how many were looked at for it, and the token that goes on behind it, None at the end."""

    runs: list[Summary]
    looked_at: int
    page_token: str | None


class _Token(Struct, array_like=True, forbid_unknown_fields=True):
    """How far a search has come: the time that the index is ordered by, and the runs of that time that were looked at.

    All of them, by a few bytes each: an index gives runs of one instant in no order, so one that is forgotten would come again.
    """

    until: str
    seen: list[str]


def search(  # noqa: PLR0913 (what to find, and how far to look)
    states: StateTable,
    summary: Callable[[RunState], Summary],
    where: Where,
    *,
    limit: int = _PAGE,
    page_token: str | None = None,
    look_at: int = LOOK_AT,
    now: datetime | None = None,
) -> Found:
    """Find a page of runs. `summary` sums up a state, such as `Plugins.summary`.

    A run that was created or changed status within the last moments may not be found yet: the indexes follow the table. Raises
    InvalidValueError for a page token that is none, a time that is none, and a limit below 1.
    """
    if limit < 1:
        raise InvalidValueError("limit", f"expected 1 or more, got {limit}")
    moment = now or datetime.now(UTC)
    token = _read(page_token) if page_token else None
    looked_at, last, seen = 0, token.until if token else "", list(token.seen) if token else []
    before = set(seen)
    runs: list[Summary] = []
    for state in _candidates(states, where, token, limit + len(seen) + 1):
        ordered_by = _ordered_by(state, where)
        name = sha256(state.run_id.encode(errors="surrogatepass")).hexdigest()[:12]
        if token is not None and ordered_by == token.until and name in before:
            continue
        if len(runs) == limit or looked_at == look_at:
            return Found(runs, looked_at, _write(last, seen))
        looked_at += 1
        if ordered_by != last:
            last, seen = ordered_by, []
        seen.append(name)
        found = summary(state)
        if where.matches(found, moment):
            runs.append(found)
    return Found(runs, looked_at, None)


def _candidates(states: StateTable, where: Where, token: _Token | None, page_size: int) -> Iterator[RunState]:
    try:
        since = as_text(where.since) if where.since else None
        until = as_text(where.until) if where.until else None
    except ValueError as error:
        raise InvalidValueError("time", str(error)) from error
    if where.is_parked or where.is_waiting:
        return (each for each in _by_another_time(states, where, token, page_size) if _was_created(each, since, until))
    if token is not None:
        until = token.until if until is None else min(until, token.until)
    bounds = {"since": since, "until": until, "page_size": page_size}
    if where.session_id is not None:
        return states.find(session_id=where.session_id, status=where.status, **bounds)  # type: ignore[arg-type]
    if where.status is None and where.stuck_after is not None:
        each = [states.find(status=status, **bounds) for status in ACTIVE_STATUSES]  # type: ignore[arg-type]
        return heapq.merge(*each, key=lambda state: state.created_at or "", reverse=True)
    return states.find(status=where.status, **bounds)  # type: ignore[arg-type]


def _by_another_time(states: StateTable, where: Where, token: _Token | None, page_size: int) -> Iterator[RunState]:
    """Return parked or waiting runs: few, and found by another time than that of their creation."""
    if where.is_waiting:
        return states.find_waiting(since=None if token is None else token.until, page_size=page_size)
    return (each for each in states.find_parked() if token is None or _ordered_by(each, where) <= token.until)


def _was_created(state: RunState, since: str | None, until: str | None) -> bool:
    created = state.created_at or ""
    return (since is None or since <= created) and (until is None or created <= until)


def _ordered_by(state: RunState, where: Where) -> str:
    if where.is_waiting:
        return state.waiting_since or ""
    if where.is_parked:
        return min((parked.parked_at for parked in state.parks.values()), default="")
    return state.created_at or ""


def _write(until: str, seen: list[str]) -> str:
    return urlsafe_b64encode(encode(_Token(until, seen))).decode().rstrip("=")


def _read(token: str) -> _Token:
    try:
        found = decode(urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=_Token)
        return _Token(as_text(found.until), found.seen)
    except (DecodeError, ValidationError, ValueError) as error:
        raise InvalidValueError("page_token", "expected a token that a page of runs gave; begin without one") from error
