"""The operator's tools, killed before each of their requests in turn, and used beside each other.

The same as test_crash_matrix.py is for the projector, and as exhaustive: every tool, every request. A kill before a request is
one after the request before it. What a tool leaves has to be something that using the tool again, or another one first, brings to
where it would be had nothing happened.
"""

from __future__ import annotations

import re
import signal
import threading
from math import inf

import pytest

from behest_core.cli.outcomes import End, Folding
from behest_core.fold.dispatch import CORE
from tests.contract.fake.faults import throttled
from tests.simulation.scheduler import Task
from tests.simulation.test_crash_matrix import PausingClient, every_history
from tests.simulation.tools import TOOLS, Wire, World
from tests.simulation.versions import Release

TO_TYPE = re.compile(r"to (?:go on|try them again): behest (.+)$", re.MULTILINE)
DELETED = TOOLS["delete"][2:]
MODIFYING = [tool for tool in TOOLS if tool != "export"]


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Return what makes a world, the same each time."""
    return lambda **made: World(monkeypatch, tmp_path, **made)


def requests_of(world, tool):
    """Return how many requests a tool makes."""
    made = world()
    wire = Wire(made.database)
    made.use(tool, wire)
    assert wire.requests > 5
    return wire.requests


def after(world, *tools):
    """Return what the tables hold when tools were used one after the other."""
    made = world()
    for tool in tools:
        made.use(tool)
    return made.content()


# ---------------------------------------------------------------- kill -9


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_is_killed_is_used_again_and_all_is_as_if_nothing_had_been(world, tool):
    before, whole, whole_attempts = world().content(), after(world, tool), None
    assert (whole != before) is (tool in MODIFYING)
    for at in range(1, requests_of(world, tool) + 1):
        made = world()
        made.kill(tool, at)
        killed = made.content()
        assert {run: killed[run] for run in before if run not in whole} == {}
        for run_id, found in killed.items():
            assert_between(before.get(run_id), found, whole[run_id])
        made.use(tool)
        assert made.content() == whole
        attempts = made.attempts("parked")
        whole_attempts = whole_attempts or attempts
        assert attempts - whole_attempts in {0, 1}


def assert_between(before, found, whole):
    """Check that a state is the one before or the one of the whole use, and each position of a log, too."""
    before = before or {"log": {}, "state": None}
    assert found["state"] in (before["state"], whole["state"])
    for sequence in {*before["log"], *found["log"], *whole["log"]}:
        assert found["log"].get(sequence) in (before["log"].get(sequence), whole["log"].get(sequence))


@pytest.mark.parametrize("other", MODIFYING)
@pytest.mark.parametrize("tool", MODIFYING)
def test_another_tool_may_come_between_a_kill_and_the_next_use(world, tool, other):
    orders = [after(world, tool, other, "rebuild"), after(world, other, tool, "rebuild")]
    for at in range(1, requests_of(world, tool) + 1):
        made = world()
        made.kill(tool, at)
        made.use(other)
        assert made.wrong_runs() <= {"wrong"}
        made.use(tool)
        made.use("rebuild")
        assert made.content() in orders


def test_an_export_that_is_killed_has_written_whole_lines_and_nothing_else(world):
    lines = world().use("export").stdout.splitlines(keepends=True)
    assert len(lines) == 8
    written = set()
    for at in range(1, requests_of(world, "export") + 1):
        shown = world().kill("export", at).stdout
        assert shown.splitlines(keepends=True) == lines[: shown.count("\n")]
        written.add(shown.count("\n"))
    assert len(written) > 1


# ---------------------------------------------------------------- SIGTERM


@pytest.mark.parametrize("tool", TOOLS)
def test_sigterm_ends_a_tool_in_order_wherever_it_comes_and_the_next_use_finishes_it(world, tool):
    before, whole, main = world().content(), after(world, tool), threading.main_thread().ident
    handler = signal.getsignal(signal.SIGTERM)
    endings = set()
    for at in range(1, requests_of(world, tool) + 1):
        made = world()
        wire = Wire(made.database, at, lambda: signal.pthread_kill(main, signal.SIGTERM))
        ended = made.use(tool, wire)
        endings.add(ended.exit_code)
        assert "Traceback" not in ended.stderr
        if ended.exit_code == 143:
            assert is_told(tool, ended) or made.content() == before
        made.use(tool)
        assert made.content() == whole
    assert 143 in endings
    assert signal.getsignal(signal.SIGTERM) is handler


def is_told(tool, ended):
    """Return whether a tool that was ended says how far it came."""
    if tool == "import":
        return ended.stdout.startswith(("imported ", "nothing "))
    return "cut short with " in ended.stderr


@pytest.mark.parametrize("tool", ["rebuild", "resume", "delete"])
def test_what_a_tool_says_to_type_when_it_was_ended_finishes_it(world, tool):
    whole, main = after(world, tool), threading.main_thread().ident

    def end_it():
        signal.pthread_kill(main, signal.SIGTERM)
        raise throttled("what was being done")  # so that the run that is being worked on isn't finished

    for at in range(1, requests_of(world, tool) + 1):
        made = world()
        ended = made.use(tool, Wire(made.database, at, end_it))
        for command in TO_TYPE.findall(ended.stderr):
            made.type(*command.split())
        assert made.content() == whole or (ended.exit_code == 143 and "cut short" not in ended.stderr)


# ---------------------------------------------------------------- two at once


@pytest.mark.parametrize("other", MODIFYING)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_may_be_used_whole_between_any_two_requests_of_another(world, tool, other):
    # what is appended to a run that is just being deleted lies in its log until it is deleted once more, and verify says so
    at_last = [*(["delete"] if "delete" in {tool, other} else []), "rebuild"]
    orders = [after(world, tool, other, *at_last), after(world, other, tool, *at_last)]
    for at in range(1, requests_of(world, tool) + 1):
        made = world()
        made.use(tool, Wire(made.database, at, lambda made=made: made.use(other)))
        assert made.wrong_runs() <= {"wrong"}
        if "delete" in {tool, other}:
            content = made.content()
            assert {content[run_id]["state"] for run_id in DELETED} == {"tombstone"}
        for each in at_last:
            made.use(each)
        assert made.content() in orders


def test_two_rebuilds_of_a_run_come_to_the_same_however_their_requests_alternate_and_whichever_is_killed(world):
    """As in test_crash_matrix.py: at each request it is decided who goes on, and whether who just paused is killed there."""
    right, histories = after(world, "rebuild")["wrong"], 0

    def happen(decisions):
        made, back = world(is_small=True), threading.Lock()
        back.acquire()
        tasks = [rebuild_of(made, "wrong", back) for _ in range(2)]
        killed = let_alternate(tasks, decisions)
        if killed == len(tasks):
            made.use("rebuild")
        assert made.content()["wrong"] == right

    for _ in every_history(happen):
        histories += 1
    assert histories > 100


def rebuild_of(made, run_id, back):
    """Return a rebuild of a run that pauses before each request, and once more in the end."""
    client = PausingClient(made.database)
    folding = Folding(made.store(client), CORE)

    def body():
        assert folding.fold_again(run_id, lambda: inf).end is End.WHOLE
        client.task.pause()

    client.task = Task("rebuild", body, back, Release())
    return client.task


def let_alternate(tasks, decisions):
    """Let the tasks go on as it is decided, until all are over; return how many were killed."""
    last = None
    while alive := [task for task in tasks if not task.is_over]:
        choice = decisions.choose(len(alive) + (last in alive))
        task = alive[choice] if choice < len(alive) else last
        task.is_doomed = choice == len(alive)
        task.hand_over()
        assert task.error is None
        last = task
    return sum(task.was_killed for task in tasks)
