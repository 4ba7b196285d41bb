"""What the core's tests are made of: `behest_core.testing.builders`, stream records, and events that are odd."""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import Start, fold_batch
from behest_core.model.events import ToolCall, ToolCallCompleted
from behest_core.testing.builders import (
    RUN,
    SESSION,
    at,
    commit,
    model_started,
    raw_commit,
    record_commit,
    run_completed,
    run_failed,
    run_record,
    run_started,
    text_delta,
    usage_recorded,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.model.commit import Commit
    from behest_core.model.events import NewEvent
    from behest_core.model.json import JSON
    from behest_core.model.state import RunState
    from behest_core.recording.recorder import RunRecorder

__all__ = [
    "RUN",
    "SESSION",
    "at",
    "commit",
    "custom",
    "model_started",
    "poison",
    "raw_commit",
    "record_commit",
    "record_of",
    "run_completed",
    "run_failed",
    "run_record",
    "run_started",
    "text_delta",
    "usage_recorded",
    "whole_run",
]


def custom(second: int = 3, type_: str = "approvals.Requested") -> dict[str, JSON]:
    return {"type": type_, "timestamp": at(second), "call_id": "call-1"}


def whole_run() -> list[NewEvent]:
    """Return the events of a run that went well."""
    return [run_started(1), model_started(2), text_delta(3), usage_recorded(4), run_completed(5)]


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


def deploy_reducer(monkeypatch: Any, version: int) -> None:
    """Let everything that folds do so as another version of the reducer would."""
    for name, module in list(sys.modules.items()):
        if name.startswith("behest_core.") and hasattr(module, "REDUCER_VERSION"):
            monkeypatch.setattr(module, "REDUCER_VERSION", version)


def step(state: RunState | None, commits: Sequence[Commit], dispatch: Dispatch = CORE) -> str | tuple[str, int]:
    """Return what a batch gives: "fold" or "nothing", or "read" with the position behind which the log has to be read."""
    if state is not None:  # which folding would change
        slices = {name: replace(piece) for name, piece in state.extensions.items()}
        state = replace(state, total_usage=replace(state.total_usage), extensions=slices)
    found = fold_batch(state, commits, dispatch)
    if isinstance(found, Start):
        return "read", found.after
    return "fold" if found.changed else "nothing"


def tell(run: RunRecorder, text: object) -> None:
    """Record a piece of text of no particular model call."""
    run.emit({"type": "TextDelta", "delta": text})  # type: ignore[dict-item]  # tests say what no text is, too


def ask(run: RunRecorder, call_id: str, name: str, arguments: JSON) -> None:
    """Record that a model asked for a tool, of no particular call."""
    run.emit(ToolCallCompleted(call=ToolCall(call_id, name, arguments), timestamp=at(2)))
