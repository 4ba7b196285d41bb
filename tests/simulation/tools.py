"""The operator's tools on a DynamoDB in memory, where a test says what happens at which request."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace
from typer.main import get_command

from behest_core.cli.app import app
from behest_core.dynamodb import items
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.projection.catch_up import CatchUp
from behest_core.store import RunStore
from behest_core.testing import Template
from tests.builders import (
    commit,
    model_started,
    poison,
    record_commit,
    run_completed,
    run_record,
    run_started,
    text_delta,
    usage_recorded,
    whole_run,
)
from tests.cli import line
from tests.contract.fake import FakeDynamoDB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from behest_core.model.commit import Commit

TABLES = Template().tables()
EVENTS, STATES = TABLES["EventTable"], TABLES["StateTable"]

LINES = (
    line(*whole_run(), run_id="new")
    + line(run_started(), text_delta(), usage_recorded(), text_delta(), run_completed(), run_id="begun")
    + line(text_delta(), text_delta(), text_delta(), run_id="recordless", record=None)
    + line(*whole_run(), run_id="wrong")
)
"""What the tool `import` reads: a run that is new, one to go on with, one without record, and one that is there."""

COMMAND = get_command(app)
TOOLS = {
    "rebuild": ["rebuild", "--yes"],
    "rebuild --diverged": ["rebuild", "--diverged", "--yes"],
    "resume": ["resume", "--all"],
    "delete": ["delete", "--yes", "wrong", "parked", "stateless", "begun"],
    "import": ["import", "lines.jsonl"],
    "export": ["export"],
}


class Killed(BaseException):
    """The process is gone, as by kill -9."""


class Wire:
    """A process's client. At its `at`-th request, from 1, `happens` is called before the request reaches the tables."""

    def __init__(self, database: FakeDynamoDB, at: int = 0, happens: Callable[[], object] = lambda: None) -> None:
        self.requests = 0
        self.is_dead = False
        self._database = database
        self._at = at
        self.happens = happens

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._database, name)

        def request(**parameters: Any) -> Any:
            if self.is_dead:
                raise Killed
            self.requests += 1
            if self.requests == self._at:
                self.happens()
            return method(**parameters)

        return request

    def kill(self) -> None:
        """Let the process make no request any more."""
        self.is_dead = True
        raise Killed


class Ended(NamedTuple):
    """How a command ended; `exit_code` is None where it was killed."""

    exit_code: int | None
    stdout: str
    stderr: str


class World:
    """Both tables, with runs as an operator meets them, and the tools. With `is_small` there is one run, whose state is wrong."""

    def __init__(self, monkeypatch: Any, folder: Path, *, is_small: bool = False) -> None:
        self.database = FakeDynamoDB([EVENTS.create, STATES.create])
        self._wires: list[Wire] = []
        monkeypatch.setattr("behest_core.cli.aws.connect", lambda _: self.store(self._wires[-1]))
        monkeypatch.setattr("behest_core.cli.runs.WORKERS", 1)  # one run after the other: requests can be counted
        monkeypatch.setattr("behest_core.cli.commands.import_runs.EVENTS_PER_COMMIT", 2)
        monkeypatch.chdir(folder)
        (folder / "lines.jsonl").write_bytes(LINES)
        self._make_wrong_run()
        if not is_small:
            self._make_runs()

    def store(self, client: Any = None) -> RunStore:
        store = RunStore(EVENTS.name, STATES.name, client=client or self.database)
        store.state_table = StateTable(
            client or self.database, STATES.name
        )  # one request after the other, to be counted
        return store

    def _make_wrong_run(self) -> None:
        states = self.store().state_table
        self._run("wrong", commit(1, *whole_run(), run_id="wrong"))
        states.save(replace(states.get("wrong"), iteration=99))

    def _make_runs(self) -> None:
        self._run("right", commit(1, *whole_run(), run_id="right"))
        self._run("behind", commit(1, run_started(), run_id="behind"))
        self._put(commit(2, model_started(), run_id="behind"))
        self._put(record_commit(run_record("stateless")), commit(1, run_started(), run_id="stateless"))
        self._run("parked", poison(1, run_id="parked"))
        self._run("mended", poison(1, run_id="mended"))
        self._put(commit(1, text_delta(7, delta="good"), usage_recorded(8), run_completed(9), run_id="mended"))
        self._run("begun", commit(1, run_started(), text_delta(), run_id="begun"))
        self._run("diverged", commit(1, *whole_run(), run_id="diverged"))
        self._run("diverged", replace(commit(1, run_started(), text_delta(), run_id="diverged"), commit_id="another"))

    def _run(self, run_id: str, *commits: Commit) -> None:
        self._put(record_commit(run_record(run_id)), *commits)
        CatchUp(EventLog(self.database, EVENTS.name), StateTable(self.database, STATES.name)).fold(run_id)

    def _put(self, *commits: Commit) -> None:
        for each in commits:
            self.database.put_item(TableName=EVENTS.name, Item=items.commit_to_item(each))

    # ------------------------------------------------------------ using the tools

    def use(self, tool: str, wire: Wire | None = None) -> Ended:
        """Use a tool to its end; whatever the wire lets happen."""
        return self.type(*TOOLS[tool], wire=wire)

    def kill(self, tool: str, at: int) -> Ended:
        """Use a tool that is killed before its `at`-th request, which is after the one before it."""
        wire = Wire(self.database, at)
        wire.happens = wire.kill
        ended = self.use(tool, wire)
        assert ended.exit_code is None
        return ended

    def type(self, *arguments: str, wire: Wire | None = None) -> Ended:
        """Run a command."""
        self._wires.append(wire or Wire(self.database))
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
        exit_code: int | None = None
        try:
            with redirect_stdout(stdout), redirect_stderr(stderr):
                COMMAND(list(arguments))
        except SystemExit as left:
            exit_code = int(left.code or 0)
        except Killed:
            pass
        finally:
            self._wires.pop()
        return Ended(exit_code, *(shown.buffer.getvalue().decode() for shown in (stdout, stderr)))  # type: ignore[attr-defined]

    # ------------------------------------------------------------ what there is

    def content(self) -> dict[str, Any]:
        """Return what the tables hold of each run, but for ids, times, and how often something was written or tried."""
        found: dict[str, Any] = {}
        for item in self._items(EVENTS.name):
            run = found.setdefault(item["run_id"]["S"], {"log": {}, "state": None})
            sequence = int(item["sequence"]["N"])
            if "deleted_at" in item:
                run["log"][sequence] = "tombstone"
            elif sequence == 0:
                run["log"][0] = json.loads(item["record"]["S"])
            else:
                run["log"] |= enumerate(json.loads(_events_of(item)), start=sequence)
        for item in self._items(STATES.name):
            found.setdefault(item["run_id"]["S"], {"log": {}, "state": None})["state"] = _state_of(item)
        return found

    def _items(self, table: str) -> list[dict[str, Any]]:
        return [stored.item for stored in self.database.tables[table].rows()]

    def attempts(self, run_id: str) -> int:
        state = self.store().state_table.get(run_id)
        return state.parked.attempts if state is not None and state.parked is not None else 0

    def wrong_runs(self) -> set[str]:
        """Return the runs whose state isn't what their logs fold to, as far as it has come."""
        verdicts = map(json.loads, self.type("verify", "--json").stdout.splitlines())
        return {verdict["run_id"] for verdict in verdicts if verdict["differences"]}


def _events_of(item: dict[str, Any]) -> bytes:
    found = items.commit_from_item(item)
    assert found is not None
    return found.read().json


def _state_of(item: dict[str, Any]) -> Any:
    if "deleted_at" in item:
        return "tombstone"
    state = msgspec.to_builtins(replace(items.state_from_item(item), revision=0, commit_id=None))
    if state["parked"] is not None:
        state["parked"] = {name: state["parked"][name] for name in ("sequence", "error", "message")}
    return state
