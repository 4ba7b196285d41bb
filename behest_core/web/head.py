"""What stands above a run: how it is, since when, why it failed, what it used, and what belongs to it. Pure."""

from __future__ import annotations

from datetime import UTC
from shlex import quote
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from msgspec import UNSET, Struct, field

from behest_core.fold.rules import is_parked_as_diverged
from behest_core.model.state import CORE_FOLD, RunStatus, UnknownFinishReason
from behest_core.model.summary import milliseconds_between
from behest_core.model.timestamps import from_datetime
from behest_core.web.tree import parent_of
from behest_core.wording import age_text, amount, count_text, duration_text, time_text, usd_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from behest_core.model.state import RunState, TokenUsage
    from behest_core.model.summary import Summary

Tone: TypeAlias = Literal["good", "bad", "still", "busy"]

_TONES: Final[dict[RunStatus, tuple[Tone, str]]] = {
    RunStatus.COMPLETED: ("good", "✓"),
    RunStatus.FAILED: ("bad", "✕"),
    RunStatus.CANCELLED: ("still", "⊘"),
    RunStatus.PENDING: ("still", "○"),
}
"""How a status looks, and its sign; one that isn't here is under way."""


class Fact(Struct, frozen=True):
    """A value with its name. `more` is what it consists of, `exact` a time in full.

    `run_id` or `session_id` is what it leads to, where it does.
    """

    label: str
    text: str
    more: str = ""
    exact: str = ""
    run_id: str | None = None
    session_id: str | None = None


class Notice(Struct, frozen=True):
    """What somebody has to know, in full, and the command that helps, where there is one."""

    tone: Literal["bad", "warn", "note"]
    title: str
    text: str
    command: str | None = None


class Head(Struct, frozen=True):
    """All of it. `title` is the agent's name, or the run's id where the agent has none."""

    run_id: str
    title: str
    status: str
    sign: str
    tone: Tone
    is_over: bool
    revision: int
    last: int
    notices: list[Notice] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    tags: tuple[str, ...] = ()


def head(state: RunState, summary: Summary, now: datetime) -> Head:
    """Return the head of a run's page, as of now."""
    tone, sign = tone_of(state.status)
    return Head(
        run_id=state.run_id,
        title=summary.agent_name or state.run_id,
        status=str(state.status),
        sign=sign,
        tone=tone,
        is_over=state.status.is_terminal,
        revision=state.revision,
        last=state.sequence,
        notices=[*_failure(state), *_parks(state), *_waiting(state, summary, now)],
        facts=list(_facts(state, summary, now)),
        tags=summary.tags,
    )


def tone_of(status: RunStatus) -> tuple[Tone, str]:
    """Return how a status looks, and the sign that says so without colour."""
    return _TONES.get(status, ("busy", "●"))


def _failure(state: RunState) -> Iterator[Notice]:
    if state.last_error is not None:
        title = "Failed" if state.status is RunStatus.FAILED else "Failed before"
        yield Notice("bad", title, state.last_error or "No reason was given.")


def _parks(state: RunState) -> Iterator[Notice]:
    for name, parked in state.parks.items():
        what = "The fold" if name == CORE_FOLD else f"Extension {name}"
        since = f", since {time_text(parked.parked_at)}" if parked.parked_at else ""
        tried = f", tried {amount(parked.attempts, 'time')}" if parked.attempts > 1 else ""
        repair = "rebuild" if name == CORE_FOLD and is_parked_as_diverged(state) else "resume"
        yield Notice(
            "warn",
            f"{what} is parked at event {count_text(parked.sequence)}{since}{tried}",
            f"{parked.error}: {parked.message}. What follows in the log is kept, and not folded.",
            command=f"behest {repair} {quote(state.run_id)}",
        )


def _waiting(state: RunState, summary: Summary, now: datetime) -> Iterator[Notice]:
    if summary.waiting_since is not None and not state.status.is_terminal:
        since = f"{time_text(summary.waiting_since)}, {age_text(summary.waiting_since, now)}"
        yield Notice("note", "Waits for a person", f"Since {since}.")


def _facts(state: RunState, summary: Summary, now: datetime) -> Iterator[Fact]:
    if summary.agent_name:
        yield Fact("Run", state.run_id)
    yield Fact("Model", state.model or "-", state.provider or "")
    if summary.duration_ms is not None:
        yield Fact("Duration", duration_text(summary.duration_ms))
    else:
        so_far = milliseconds_between(state.created_at, from_datetime(now.astimezone(UTC)))
        yield Fact("Under way for", "-" if so_far is None else duration_text(so_far))
    yield Fact("Tokens", count_text(summary.total_tokens), _tokens(state.total_usage))
    if summary.nano_usd is not None:
        unpriced = summary.fields.get("unpriced_calls")
        more = f"{amount(unpriced, 'call')} without a price" if isinstance(unpriced, int) and unpriced else ""
        yield Fact("Cost", usd_text(summary.nano_usd), more)
    yield Fact("Model calls", count_text(state.iteration), _finish(state))
    yield Fact("Events", count_text(state.event_count), f"folded up to {count_text(state.sequence)}")
    yield Fact("Created", age_text(state.created_at, now), *_moment(state.created_at))
    yield Fact(
        "Ended" if state.status.is_terminal else "Last event",
        age_text(state.updated_at, now),
        *_moment(state.updated_at),
    )
    if state.session_id:
        yield Fact("Session", state.session_id, session_id=state.session_id)
    parent = parent_of(summary)
    if parent is not None:
        yield Fact("Parent", parent, run_id=parent)
    if summary.user_id:
        yield Fact("User", summary.user_id)


def _moment(time: str | None) -> tuple[str, str]:
    """Return a time to the second, and in full."""
    exact = time_text(time)
    return (f"{exact[:10]} {exact[11:19]} UTC" if exact.endswith("Z") else exact), exact


def _tokens(usage: TokenUsage) -> str:
    """Return what the tokens consist of; those read from the cache or written to it are a part of those that went in."""
    cached = {"cached": usage.cache_read_input_tokens, "to the cache": usage.cache_creation_input_tokens}
    parts = [f"{count_text(count)} {what}" for what, count in cached.items() if count is not UNSET and count]
    of_those = f" ({', '.join(parts)})" if parts else ""
    return f"{count_text(usage.input_tokens)} in{of_those}, {count_text(usage.output_tokens)} out"


def _finish(state: RunState) -> str:
    finish = state.last_finish
    if finish is None:
        return ""
    return f"finish: {finish.unknown if isinstance(finish, UnknownFinishReason) else finish}"
