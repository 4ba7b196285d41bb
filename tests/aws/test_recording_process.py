"""All recorders of a process: the threads that they share, the end of the process, and processes that are forked from it."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from behest_core.dynamodb.event_table import EventLog
from behest_core.recording import outbox, process
from behest_core.recording import writer as module
from behest_core.recording.recorder import RunRecorder, new_record
from behest_core.recording.writer import Writer
from tests.aws.test_projector import throttled
from tests.builders import tell
from tests.golden import ROOT


@pytest.fixture
def writer(monkeypatch):
    """Return a writer of this test's own."""
    writer = Writer()
    monkeypatch.setattr(process, "writer", writer)
    return writer


class Table:
    """A DynamoDB client that takes everything, as `take` lets it."""

    def __init__(self, take=lambda _item: None):
        self.take = take
        self.taken = Counter()

    def put_item(self, *, Item, **_):  # noqa: N803 (boto3's)
        self.take(Item)
        self.taken[Item["run_id"]["S"]] += 1

    def query(self, **_):
        return {"Items": []}


def begin(table, run_id=None, **how):
    log = EventLog(table, "events")
    return RunRecorder(log, new_record(provider="p", model="m", run_id=run_id), **{"interval": 3600, **how}).start()


# ---------------------------------------------------------------- threads


def test_all_open_runs_share_a_few_threads(writer):
    table = Table()
    runs = [begin(table) for _ in range(50)]
    for run in runs:
        run.flush()
    assert len(writer._threads) == 1 + module._REQUESTS_AT_ONCE
    assert [run.close() for run in runs] == [1] * 50


def test_one_run_has_one_thread_for_its_requests_and_one_that_watches_the_clock(writer):
    begin(Table()).close()
    assert len(writer._threads) == 2


def test_many_runs_are_finished_side_by_side(writer):
    all_at_once = threading.Barrier(module._REQUESTS_AT_ONCE)
    table = Table()
    runs = [begin(table) for _ in range(4 * module._REQUESTS_AT_ONCE)]
    for run in runs:
        run.flush()
        tell(run, "the last words")
    table.take = lambda _item: all_at_once.wait(10)
    assert writer.finish() == []
    assert {table.taken[run.run_id] for run in runs} == {3}


def test_a_run_that_has_to_wait_to_be_tried_again_holds_up_no_other(writer, monkeypatch):
    monkeypatch.setattr(module, "_REQUESTS_AT_ONCE", 1)
    monkeypatch.setattr(outbox, "_FIRST_PAUSE", 1800.0)
    refused = threading.Event()

    def take(item):
        if item["run_id"]["S"] == "throttled":
            refused.set()
            raise throttled("PutItem")

    table = Table(take)
    waiting = begin(table, "throttled", give_up_after=3600)
    assert refused.wait(10)
    assert begin(table).close(timeout=10) == 1
    table.take = lambda _item: None
    assert writer.finish() == []
    assert waiting.close() == 1


def test_runs_of_several_stores_are_appended_by_the_same_writer(writer):
    tables = [Table(), Table()]
    runs = [begin(table) for table in tables]
    assert [run.close() for run in runs] == [1, 1]
    assert [sum(table.taken.values()) for table in tables] == [2, 2]


def test_what_a_recorder_took_that_nobody_has_any_more_is_appended(writer):
    table = Table()
    run = begin(table, "r")
    run.flush()
    tell(run, "the last words")
    del run
    gc.collect()
    assert writer.finish() == []
    assert table.taken["r"] == 3


def test_a_recorder_that_nobody_has_any_more_has_no_heartbeat(writer):
    begin(Table(), heartbeat=3600).flush()
    gc.collect()
    assert list(writer._outboxes) == []


def test_a_heartbeat_is_an_event_of_the_log(stack):
    run = stack.store.recorder(provider="p", model="m", heartbeat=0.01).start()
    with run._outbox._lock:
        assert run._outbox._changed.wait_for(lambda: run._outbox.last >= 3, timeout=10)
    run.completed()
    run.close()
    types = [json.loads(each.raw)["type"] for each in stack.store.events(run.run_id)]
    assert (types[:3], types[-1]) == (["RunStarted", "agent.Heartbeat", "agent.Heartbeat"], "RunCompleted")


def test_what_the_writer_remembers_does_not_grow_with_how_often_it_is_flushed(writer):
    table = Table()
    run = begin(table)
    for _ in range(1000):
        tell(run, "Hi")
        run.flush()
    assert len(writer._timers) < 100


# ---------------------------------------------------------------- the end of the process

PROGRAM = """
import os, signal, sys
import boto3
from botocore.config import Config
from behest_core import RunStore
how, endpoint = sys.argv[1:]
client = boto3.client("dynamodb", endpoint_url=endpoint, config=Config(read_timeout=600, retries={"total_max_attempts": 1}))
store = RunStore("events", "states", client=client)
for name in "ab":
    run = store.recorder(provider="p", model="m", run_id=name, exit_wait=0.2).start()
    run.emit({"type": "TextDelta", "delta": "secret"})
if how == "killed":
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""


_NO_WORD_ON_FORKS = ("-W", "ignore::DeprecationWarning")
"""Python 3.12 and later warn of any fork beside threads; that it goes well is what the tests here are for."""


def run_program(program, environment, *arguments):
    return subprocess.run(
        [sys.executable, *_NO_WORD_ON_FORKS, "-c", program, *arguments],
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )


CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.mark.parametrize(("how", "code"), [("exits", 0), ("killed", -signal.SIGTERM)])
def test_a_table_that_does_not_answer_holds_up_the_end_for_a_while_only_and_what_is_lost_is_said(how, code):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = run_program(PROGRAM, CREDENTIALS, how, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert ended.returncode == code
    for name in "ab":
        assert f"behest lost 2 events of run {name}: the process ends, and they could not be appended" in ended.stderr
    assert "secret" not in ended.stderr


def test_all_runs_of_a_process_wait_together(writer):
    hang = threading.Event()
    table = Table(lambda _item: hang.wait(30))
    runs = [begin(table, exit_wait=0.0) for _ in range(20)]
    assert sorted((outbox.record.run_id, count) for outbox, count in writer.finish()) == sorted(
        (run.run_id, 1) for run in runs
    )
    hang.set()
    assert [run.close() for run in runs] == [1] * 20


# ---------------------------------------------------------------- forks

FORK = """
import os, sys
from behest_core import RunStore
store = RunStore(os.environ["BEHEST_EVENT_TABLE"], os.environ["BEHEST_STATE_TABLE"])
with store.recorder(provider="p", model="m", run_id="r", interval=3600) as run:
    run.flush()
    run.emit({"type": "TextDelta", "delta": "parent, before"})
    child = os.fork()
    if not child:
        run.emit({"type": "TextDelta", "delta": "child"})
        with store.recorder(provider="p", model="m", run_id="new", interval=3600) as own:
            own.emit({"type": "TextDelta", "delta": "child"})
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    run.emit({"type": "TextDelta", "delta": "parent, after"})
"""


def events(stack, run_id):
    """Return what lies in a log: the texts, and the types of what is no text."""
    raw = [json.loads(each.raw) for each in stack.store.events(run_id)]
    return [each.get("delta", each["type"]) for each in raw]


def test_a_forked_process_records_anew_and_its_parent_loses_nothing(stack):
    with stack.serving() as environment:
        ended = run_program(FORK, environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert events(stack, "r") == ["RunStarted", "child", "parent, before", "parent, after", "RunCompleted"]
    assert events(stack, "new") == ["RunStarted", "child", "RunCompleted"]


POOL = """
import multiprocessing, os
from behest_core import RunStore
store = RunStore(os.environ["BEHEST_EVENT_TABLE"], os.environ["BEHEST_STATE_TABLE"])
with store.recorder(provider="p", model="m", run_id="r", interval=3600) as run:
    run.flush()
    child = multiprocessing.get_context("fork").Process(target=run.emit, args=({"type": "TextDelta", "delta": "child"},))
    child.start()
    child.join()
    assert child.exitcode == 0
"""


def test_what_a_process_of_multiprocessing_recorded_is_appended_at_its_end(stack):
    with stack.serving() as environment:
        ended = run_program(POOL, environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert events(stack, "r") == ["RunStarted", "child", "RunCompleted"]


TOLD = """
import os
from behest_core import RunStore
store = RunStore(os.environ["BEHEST_EVENT_TABLE"], os.environ["BEHEST_STATE_TABLE"])
with store.recorder(provider="p", model="m", run_id="r", interval=3600) as run:
    run.model_call(messages=[{"role": "user", "content": "Hi"}])
    run._telling.acquire()  # by a thread that the child has not
    child = os.fork()
    if not child:
        run.model_call(messages=[{"role": "user", "content": "Hi"}])
        run.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_relies_on_nothing_that_its_parent_has_not_appended_yet(stack):
    with stack.serving() as environment:
        ended = run_program(TOLD, environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    raw = [json.loads(each.raw) for each in stack.store.events("r")]
    requests = [each for each in raw if each["type"] == "agent.ModelRequested"]
    assert [(len(each["messages"]), "follows" in each) for each in requests] == [(1, False)] * 2


BUSY = """
import os, sys, threading
from behest_core import RunStore
store = RunStore(os.environ["BEHEST_EVENT_TABLE"], os.environ["BEHEST_STATE_TABLE"])
runs = [store.recorder(provider="p", model="m", run_id=str(n), interval=0.001).start() for n in range(2)]
is_over = threading.Event()

def emit(run):
    for number in range(10_000):
        run.emit({"type": "TextDelta", "delta": f"parent {number}"})
        if number % 20 == 0:
            run.flush()
        if is_over.is_set():
            return

threads = [threading.Thread(target=emit, args=[run]) for run in runs]
for thread in threads:
    thread.start()
for number in range(4):
    child = os.fork()
    if not child:
        for run in runs:
            run.emit({"type": "TextDelta", "delta": f"child {number}"})
            run.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
is_over.set()
for thread in threads:
    thread.join()
for run in runs:
    run.completed()
    print(run.close(), run.dropped)
"""


def test_forks_beside_threads_that_record_neither_hang_nor_lose_nor_double_anything(stack):
    with stack.serving() as environment:
        ended = run_program(BUSY, environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    for run_id, line in enumerate(ended.stdout.splitlines()):
        found = events(stack, str(run_id))
        parents = [each for each in found if each.startswith("parent")]
        assert [each for each in found if each.startswith("child")] == [f"child {number}" for number in range(4)]
        assert parents == [f"parent {number}" for number in range(len(parents))]
        assert (len(found), line.split()[1]) == (int(line.split()[0]), "0")
        assert [each for each in found if each.startswith("Run")] == ["RunStarted", "RunCompleted"]


CONNECTED = """
import os, sys
import boto3
from behest_core import RunStore
store = RunStore("events", "states", client=boto3.client("dynamodb", endpoint_url=sys.argv[1]))
store.event_log.append("parent", [{"type": "my.Event", "timestamp": "2026-01-31T12:00:00Z"}])
child = os.fork()
if not child:
    store.event_log.append("child", [{"type": "my.Event", "timestamp": "2026-01-31T12:00:00Z"}])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.event_log.append("parent", [{"type": "my.Event", "timestamp": "2026-01-31T12:00:00Z"}])
"""


class KeepsConnections(BaseHTTPRequestHandler):
    """Answers any request with an empty answer, and notes which run it was about and on which connection it came."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.add(("child" if "child" in body else "parent", self.client_address[1]))
        self.send_response(200)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b'{"Items":[]}')

    def log_message(self, *_):
        pass


def test_a_forked_process_uses_no_connection_of_its_parents():
    with ThreadingHTTPServer(("127.0.0.1", 0), KeepsConnections) as server:
        server.seen = set()
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        ended = run_program(CONNECTED, CREDENTIALS, f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(who for who, _ in server.seen) == ["child", "parent"]
    assert len({connection for _, connection in server.seen}) == 2
