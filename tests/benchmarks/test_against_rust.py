"""behest against typed Rust: the same bytes, parsed and folded by serde_json and the Rust crate's fold, in the same process.

What Rust folds is in its memory, and gone; behest's state is ready to be saved.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
import simplejson
from msgspec.structs import replace

from behest_core import interchange
from behest_core.dynamodb import items
from behest_core.fold.rules import fold
from behest_core.projection.projector import Projector
from tests.benchmarks import seed
from tests.benchmarks.measuring import Compared, in_turns
from tests.benchmarks.test_fold_speed import runs_of_commits
from tests.builders import record_commit, run_record
from tests.golden import SEED_FOLD, airline_runs, golden_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.dynamodb.state_table import StateTable
    from behest_core.model.commit import Commit
    from behest_core.model.state import RunState

pytestmark = pytest.mark.benchmark

COMMITS_PER_BODY = 500
LONG_RUN = 200_000
AT = datetime(2026, 1, 1, tzinfo=UTC)
BEHEST = Path(sys.executable).with_name("behest")

# A process of its own, as what a process has used at most counts for the one that takes its place, too.
MEASURED = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(pid, 0)
print(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


class Unsaved:
    """A state table that has nothing and keeps nothing: a projector's work without its saves."""

    def get_many(self, run_ids: Iterable[str], *, repair: bool) -> dict[str, RunState]:  # noqa: ARG002 (as of the real one)
        return {}

    def save(self, state: RunState) -> RunState:
        return replace(state, revision=state.revision + 1)


class Used(NamedTuple):
    """What a whole process used: seconds of CPU, and megabytes at most."""

    seconds: float
    megabytes: float


def events_in(runs: Iterable[Sequence[Commit]]) -> int:
    return sum(commit.count for commits in runs for commit in commits)


def tell(what: str, found: Compared, goal: float) -> None:
    rust, behest = found.one, found.other
    print(f"\n{what}: {behest:.0f} ns per event, Rust {rust:.0f}; {found} (goal {goal:g})")


def batches_of(runs: Iterable[Sequence[Commit]]) -> Iterator[list[Commit]]:
    """Return whole runs, each with its record first, some `COMMITS_PER_BODY` commits in a batch."""
    batch: list[Commit] = []
    for commits in runs:
        batch += [record_commit(run_record(run_id=commits[0].run_id)), *commits]
        if len(batch) >= COMMITS_PER_BODY:
            yield batch
            batch = []
    if batch:
        yield batch


def body_of(commits: Sequence[Commit], *, as_text: bool) -> bytes:
    """Return the body of a projector's call, as Lambda writes it."""
    return json.dumps({"Records": [record_of(commit, as_text=as_text) for commit in commits]}).encode()


def record_of(commit: Commit, *, as_text: bool) -> dict[str, Any]:
    item = items.commit_to_item(replace(commit, committed_at="2026-01-01T00:00:00.000000Z", commit_id="0" * 32))
    if as_text and not commit.is_record:
        item["events"] = {"S": commit.read().json.decode()}
    image = {
        name: {kind: base64.b64encode(value).decode() if kind == "B" else value}
        for name, attribute in item.items()
        for kind, value in attribute.items()
    }
    return {
        "eventID": "0" * 32,
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": AT.timestamp(),
            "Keys": {"run_id": image["run_id"], "sequence": image["sequence"]},
            "NewImage": image,
            "SequenceNumber": f"{commit.sequence:021}",
            "SizeBytes": 1000,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/events/stream/2026-01-01T00:00:00.000",
    }


def project(body: bytes) -> None:
    projector = Projector(cast("EventLog", None), cast("StateTable", Unsaved()), now=lambda: AT)
    report = projector.project(simplejson.loads(body)["Records"])
    assert report.first_unfinished is None
    assert not report.troubles


def used_by(*command: str | Path) -> Used:
    """Run a program, its output thrown away."""
    answer = subprocess.run(
        [sys.executable, "-S", "-c", MEASURED, *map(str, command)], check=True, capture_output=True, text=True
    )
    status, seconds, kilobytes = answer.stdout.split()
    assert status == "0", answer.stderr
    return Used(float(seconds), float(kilobytes) / 1024)


def test_packed_commits():
    runs = runs_of_commits()
    pieces = [(b"\n".join(commit.read().json for commit in commits), commits) for commits in runs]
    found = in_turns(pieces, events_in(runs), seed.call("fold_commits"), lambda commits: fold(None, commits))
    tell("packed commits of 20, decoded and folded", found, 0.45)


@pytest.mark.parametrize(("as_text", "goal"), [(False, 0.8), (True, 1.3)], ids=["as the codec writes them", "as text"])
def test_the_body_of_a_call(*, as_text: bool, goal: float):
    runs = runs_of_commits()
    bodies = [body_of(commits, as_text=as_text) for commits in batches_of(runs)]
    found = in_turns([(body, body) for body in bodies], events_in(runs), seed.call("fold_body"), project, rounds=5)
    what = "as text" if as_text else "as the codec writes it"
    tell(f"a call's body {what}, parsed and projected, not saved", found, goal)


def test_lines_in_the_rust_crates_json():
    lines = list(golden_lines(airline_runs() or SEED_FOLD))
    fold_lines = seed.call("fold_lines")
    events = fold_lines(b"".join(lines))

    def read_and_fold(line: bytes) -> None:
        interchange.write_state(interchange.fold_line("golden", 1, line))

    found = in_turns([(line, line) for line in lines], events, fold_lines, read_and_fold, rounds=3)
    tell("lines in the Rust crate's JSON, read and folded", found, 1.0)


def test_short_runs():
    runs = runs_of_commits(SEED_FOLD)
    events = events_in(runs)
    pieces = [(b"\n".join(commit.read().json for commit in commits), commits) for commits in runs]
    found = in_turns(pieces, events, seed.call("fold_commits"), lambda commits: fold(None, commits), repeats=10)
    a_run = events / len(runs) / 1000
    print(
        f"\nruns of {events / len(runs):.0f} events: {found.other * a_run:.1f} µs a run, Rust {found.one * a_run:.1f}; "
        f"{found} (goal 4 µs a run)"
    )


def test_fold_of_a_file(tmp_path: Path):
    source = airline_runs()
    if source is None:
        pytest.skip("the 48 MB of airline_runs.jsonl.gz are not on this machine; BEHEST_GOLDEN names their folder")
    file = tmp_path / "runs.jsonl"
    file.write_bytes(gzip.decompress(source.read_bytes()))
    rust, behest = fold_in_turns(file)
    print(
        f"\nbehest fold, {file.stat().st_size / 1e6:.0f} MB, the whole process: {behest.seconds:.2f} s of CPU, "
        f"Rust {rust.seconds:.2f}; {behest.seconds / rust.seconds:.1f} times as long (goal 1.5)"
    )


def test_memory_of_a_long_run(tmp_path: Path):
    file = tmp_path / "long.jsonl"
    file.write_text(long_line(LONG_RUN))
    rust, behest = fold_in_turns(file)
    print(
        f"\nbehest fold of one run of {LONG_RUN:,} events: {behest.megabytes:.0f} MB at most, Rust {rust.megabytes:.0f}; "
        f"{behest.megabytes / rust.megabytes:.1f} times as much (goal 1.2)"
    )


def fold_in_turns(file: Path) -> tuple[Used, Used]:
    program = seed.built() / "seed-fold"
    rounds = [(used_by(program, file), used_by(BEHEST, "fold", file)) for _ in range(3)]
    rust, behest = zip(*rounds, strict=True)
    return min(rust), min(behest)


def long_line(count: int) -> str:
    """Return a run of so many deltas, with a start and an end, as a line of the Rust crate's JSON."""
    run_id, at = "4f8e1f3a-0000-4000-8000-000000000001", "2026-01-01T00:00:00Z"
    of_run = {"run_id": run_id, "timestamp": at}
    record = {"id": run_id, "session_id": run_id, "status": "Pending", "provider": "openai", "model": "gpt-4o"}
    record |= {"metadata": None, "client_request_id": None, "created_at": at, "updated_at": at}
    started = {"RunStarted": {**of_run, "session_id": run_id, "provider": "openai", "model": "gpt-4o"}}
    ended = {"RunCompleted": {**of_run, "finish_reason": "stop", "iterations": 1}}
    deltas = [{"TextDelta": {**of_run, "delta": f"word {number} "}} for number in range(count - 2)]
    events = [
        {"sequence": number, "run_id": run_id, "event": event, "timestamp": at}
        for number, event in enumerate([started, *deltas, ended])
    ]
    return json.dumps({"record": record, "events": events}) + os.linesep
