"""What a transcript consists of. As JSON each entry has its `kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from behest_core.model.json import JSON, JSONObject
from behest_core.model.state import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Entry(Struct, tag_field="kind", kw_only=True):
    """A part of a transcript, in the order in which they began. `alongside`: it began before the one above it had ended.

    `sequence` and `last_sequence` are the positions of the first and the last event that told of it, 0 where they are not known;
    `ended_at` is the time of the last one.
    """

    started_at: str
    alongside: bool = False
    is_over: bool = True
    ended_at: str | None = None
    sequence: int = 0
    last_sequence: int = 0


class Message(Entry, tag="message"):
    """What somebody said who is not the model: `role` is ``system``, ``user``, or a framework's word."""

    role: str
    text: str


class Earlier(Entry, tag="earlier"):
    """So many messages of before, that the run brought along."""

    count: int


class Tool(Entry, tag="tool"):
    """A tool call: what it was asked, and how it ended. `duration_ms` is the tool's own, where it ran."""

    call_id: str
    name: str
    arguments: JSON = None
    has_started: bool = False
    result: JSON = None
    error: str | None = None
    refused: str | None = None
    duration_ms: int | None = None


class Call(Entry, tag="model_call"):
    """A model call: who was asked, who answered, what it said and used, and the tools it asked for.

    `discarded` are texts that were thrown away. `nano_usd` is what it cost, where that is known. `first_token_at` is the time of
    the first event with something it wrote.
    """

    provider: str
    model: str
    model_call_id: str | None = None
    answered_by: str | None = None
    text: str = ""
    reasoning: str | None = None
    discarded: list[str] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    finish_reason: str | None = None
    error: str | None = None
    duration_ms: int | None = None
    first_token_ms: int | None = None
    first_token_at: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int | None = None


class Step(Entry, tag="step"):
    """A part of the run, with all that happened in it."""

    step_id: str
    name: str
    type: str
    entries: list[Part] = field(default_factory=list)
    error: str | None = None
    duration_ms: int | None = None


class Pause(Entry, tag="pause"):
    """The agent waits for an answer."""

    reason: str
    pending: list[str]


class Answer(Entry, tag="answer"):
    """Somebody answered a pause, of this run or of another; or another run goes on with it."""

    answers: dict[str, str]
    paused_run_id: str | None = None
    answering_run_id: str | None = None


class End(Entry, tag="end"):
    """The run ended. `because` is the finish reason, or the error."""

    status: RunStatus
    because: str | None = None


Part: TypeAlias = Message | Earlier | Tool | Call | Step | Pause | Answer | End


class Transcript(Struct, JSONObject, kw_only=True):
    """A run as a conversation.

    Tokens and `nano_usd` are those of all its calls; `unpriced_calls` of them have no known price. `ended_at` is the time of the
    last event that ended it.
    """

    run_id: str
    session_id: str | None = None
    provider: str | None = None
    model: str | None = None
    agent_name: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    status: RunStatus = RunStatus.PENDING
    input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int | None = None
    unpriced_calls: int = 0
    entries: list[Part] = field(default_factory=list)


def calls_in(entries: Iterable[Part]) -> Iterator[Call]:
    """Return the model calls among entries, those in steps included."""
    for entry in entries:
        if isinstance(entry, Call):
            yield entry
        elif isinstance(entry, Step):
            yield from calls_in(entry.entries)
