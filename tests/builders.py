"""What tests are made of: events, commits and run records, with what a test doesn't care about filled in."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from behest_core.dynamodb import items
from behest_core.model import events as e
from behest_core.model.commit import Commit
from behest_core.model.decoding import encode_event
from behest_core.model.record import RunRecord, encode_record
from behest_core.model.state import TokenUsage

if TYPE_CHECKING:
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON

RUN = "run-1"
SESSION = "session-1"


def at(second: int) -> str:
    """Return a time, `second` seconds after the run was created."""
    return f"2026-01-31T12:{second // 60:02}:{second % 60:02}Z"


def run_record(
    run_id: str = RUN, *, session_id: str = SESSION, metadata: JSON = None, created_at: str = at(0)
) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        session_id=session_id,
        provider="openai",
        model="gpt-4o",
        metadata=metadata,
        created_at=created_at,
    )


def run_started(second: int = 1, provider: str = "openai", model: str = "gpt-4o") -> e.RunStarted:
    return e.RunStarted(session_id=SESSION, provider=provider, model=model, timestamp=at(second))


def model_started(second: int = 2, iteration: int = 1) -> e.ModelStarted:
    return e.ModelStarted(provider="other", model="other", iteration=iteration, timestamp=at(second))


def text_delta(second: int = 3, delta: str = "Hi") -> e.TextDelta:
    return e.TextDelta(delta=delta, timestamp=at(second))


def usage_recorded(second: int = 4, input_tokens: int = 10, output_tokens: int = 5, **cached: int) -> e.UsageRecorded:
    return e.UsageRecorded(usage=TokenUsage(input_tokens, output_tokens, **cached), timestamp=at(second))


def run_completed(second: int = 5, finish_reason: str = "stop") -> e.RunCompleted:
    return e.RunCompleted(finish_reason=finish_reason, iterations=1, timestamp=at(second))


def run_failed(second: int = 5, error: str = "boom") -> e.RunFailed:
    return e.RunFailed(error=error, timestamp=at(second))


def custom(second: int = 3, type_: str = "approvals.Requested") -> dict[str, JSON]:
    return {"type": type_, "timestamp": at(second), "call_id": "call-1"}


def whole_run() -> list[NewEvent]:
    """Return the events of a run that went well."""
    return [run_started(1), model_started(2), text_delta(3), usage_recorded(4), run_completed(5)]


def record_commit(record: RunRecord | None = None) -> Commit:
    record = record or run_record()
    return Commit(run_id=record.run_id, sequence=0, payload=encode_record(record), committed_at=at(0))


def commit(sequence: int, *events: NewEvent, run_id: str = RUN) -> Commit:
    return raw_commit(sequence, len(events), b"[" + b",".join(map(encode_event, events)) + b"]", run_id=run_id)


def raw_commit(sequence: int, count: int, payload: bytes, run_id: str = RUN) -> Commit:
    return Commit(
        run_id=run_id,
        sequence=sequence,
        count=count,
        payload=payload,
        commit_id=f"commit-{sequence}",
        committed_at=at(0),
    )


def record_of(commit: Commit) -> dict[str, Any]:
    """Return the stream record of a commit, each with another sequence number."""
    item = items.commit_to_item(commit)
    keys = {name: item[name] for name in ("run_id", "sequence")}
    number = str(next(_sequence_numbers))
    return {"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": item, "SequenceNumber": number}}


_sequence_numbers = count(100)


def poison(sequence: int, run_id: str = RUN) -> Commit:
    """Return a commit whose second event of three is malformed for the core."""
    return raw_commit(
        sequence,
        3,
        b'[{"type":"TextDelta","timestamp":"2026-01-31T12:00:07Z","delta":"good"},'
        b'{"type":"UsageRecorded","timestamp":"2026-01-31T12:00:08Z","usage":"secret"},'
        b'{"type":"TextDelta","timestamp":"2026-01-31T12:00:09Z","delta":"unreached"}]',
        run_id=run_id,
    )
