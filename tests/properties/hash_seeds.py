"""Writes what behest would store of the logs that tests have, for a test that compares two processes."""

from __future__ import annotations

import sys
from hashlib import sha256

from behest_core.dynamodb import items
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.decoding import encode_event
from behest_core.model.record import encode_record
from tests.golden import SEED_FOLD, golden_runs
from tests.wire import encoded_events_of, record_of

if __name__ == "__main__":
    digest = sha256()
    for line in golden_runs(SEED_FOLD):
        record, events = record_of(line), encoded_events_of(line)
        commits = [
            Commit(run_id=record.run_id, sequence=0, payload=encode_record(record)),
            Commit(
                run_id=record.run_id,
                sequence=1,
                count=len(events),
                payload=b"[" + b",".join(events) + b"]",
            ),
        ]
        for item in [*map(items.commit_to_item, commits), items.state_to_item(fold(None, commits).state)]:
            digest.update(repr(item).encode())
        digest.update(
            encode_event({"type": "x.Y", "timestamp": "2026-01-31T12:00:00Z", "b": 1, "a": [{"z": 1, "y": 2}]})
        )
    sys.stdout.write(digest.hexdigest())
