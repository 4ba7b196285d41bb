"""What tests are made of: events, commits and run records, with what a test doesn't care about filled in.

Times are whole seconds after the run was created, see `at`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from behest_core.model import events as e
from behest_core.model.commit import Commit
from behest_core.model.decoding import encode_event
from behest_core.model.record import RunRecord, encode_record
from behest_core.model.state import TokenUsage

if TYPE_CHECKING:
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON

RUN: Final = "run-1"
SESSION: Final = "session-1"


def at(second: int) -> str:
    """Return a time, `second` seconds after the run was created."""
    return f"2026-01-31T12:{second // 60:02}:{second % 60:02}Z"


# ---------------------------------------------------------------- events


def run_started(second: int = 1, provider: str = "openai", model: str = "gpt-4o") -> e.RunStarted:
    """Return the event that begins a run."""
    return e.RunStarted(session_id=SESSION, provider=provider, model=model, timestamp=at(second))


def model_started(second: int = 2, iteration: int = 1) -> e.ModelStarted:
    """Return a call of a model that isn't the run's."""
    return e.ModelStarted(provider="other", model="other", iteration=iteration, timestamp=at(second))


def text_delta(second: int = 3, delta: str = "Hi") -> e.TextDelta:
    """Return a piece of text."""
    return e.TextDelta(delta=delta, timestamp=at(second))


def usage_recorded(second: int = 4, input_tokens: int = 10, output_tokens: int = 5, **cached: int) -> e.UsageRecorded:
    """Return the tokens of a model call; `cached` are the optional fields of `TokenUsage`."""
    return e.UsageRecorded(usage=TokenUsage(input_tokens, output_tokens, **cached), timestamp=at(second))


def run_completed(second: int = 5, finish_reason: str = "stop") -> e.RunCompleted:
    """Return the event that ends a run well."""
    return e.RunCompleted(finish_reason=finish_reason, iterations=1, timestamp=at(second))


def run_failed(second: int = 5, error: str = "boom") -> e.RunFailed:
    """Return the event that ends a run badly."""
    return e.RunFailed(error=error, timestamp=at(second))


# ---------------------------------------------------------------- record and commits


def run_record(
    run_id: str = RUN, *, session_id: str = SESSION, metadata: JSON = None, created_at: str = at(0)
) -> RunRecord:
    """Return a run record."""
    return RunRecord(
        run_id=run_id,
        session_id=session_id,
        provider="openai",
        model="gpt-4o",
        metadata=metadata,
        created_at=created_at,
    )


def record_commit(record: RunRecord | None = None) -> Commit:
    """Return the commit at sequence 0, which holds the run record."""
    record = record or run_record()
    return Commit(run_id=record.run_id, sequence=0, payload=encode_record(record), committed_at=at(0))


def commit(sequence: int, *events: NewEvent, run_id: str = RUN) -> Commit:
    """Return a commit of these events, the first of which is at `sequence`."""
    return raw_commit(sequence, len(events), b"[" + b",".join(map(encode_event, events)) + b"]", run_id=run_id)


def raw_commit(sequence: int, count: int, payload: bytes, run_id: str = RUN) -> Commit:
    """Return a commit that says it has `count` events, whatever its payload has."""
    return Commit(
        run_id=run_id,
        sequence=sequence,
        count=count,
        payload=payload,
        commit_id=f"commit-{sequence}",
        committed_at=at(0),
    )
