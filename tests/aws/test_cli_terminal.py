"""What a run holds does not steer the terminal of whoever looks at it; a pipe gets JSON as it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from msgspec.structs import replace

from tests.builders import poison, record_commit, run_failed, run_record, run_started, text_delta
from tests.cli import behest, line
from tests.operating import fold, put

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command

HOSTILE = "a\x1b[2J\x9b31m\x7f\u202e\u2066\x07\u2028\r\U000e0041z"
"""Control characters of both sets, marks that turn the direction of text, a line break, and a tag beyond 16 bits."""

RUN = f"run{HOSTILE}"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
EVENTS = [
    run_started(),
    text_delta(delta=HOSTILE),
    {"type": f"x.{HOSTILE}", HOSTILE: [HOSTILE], "timestamp": "2026-01-31T12:00:03Z"},
    run_failed(error=HOSTILE),
]
AS_JSON = [["runs", "--json"], ["show", "--json", RUN], ["events", "--json", RUN], ["export"], ["verify", "--json"]]
AS_TEXT = [
    ["runs"],
    ["runs", "--parked"],
    ["show", RUN],
    ["show", RUN, "--at-sequence", "2"],
    ["events", RUN],
    ["verify"],
    ["rebuild", "--dry-run"],
    ["rebuild", "--yes"],
    ["resume", "--all"],
    ["delete", "--yes", RUN, HOSTILE],
    ["show", HOSTILE],
    ["fold", HOSTILE],
]


def record_of(run_id):
    record = run_record(run_id, session_id=HOSTILE, metadata={HOSTILE: HOSTILE})
    return replace(record, provider=HOSTILE, model=HOSTILE)


@pytest.fixture(autouse=True)
def hostile(stack):
    """Return the stack with a run whose state is wrong, and one that is parked, each hostile in all its fields."""
    stack.store.event_log.create(record_of(RUN))
    stack.store.append(RUN, EVENTS)
    fold(stack, RUN)
    state = stack.store.get_state(RUN)
    state.last_error = f"{HOSTILE}, and more"
    stack.store.state_table.save(state)
    put(stack, record_commit(record_of(f"parked{HOSTILE}")), poison(1, run_id=f"parked{HOSTILE}"))
    fold(stack, f"parked{HOSTILE}")
    return stack


def on_a_terminal(*arguments, stdin=b""):
    result = behest(*arguments, stdin=stdin, TTY_COMPATIBLE="1", COLUMNS="200")
    return _COLOURS.sub("", result.stdout), _COLOURS.sub("", result.stderr)


@pytest.mark.parametrize("command", [*AS_JSON, *AS_TEXT], ids=lambda command: " ".join(command[:2]).split("a\x1b")[0])
def test_a_terminal_is_shown_nothing_that_is_not_printable(command):
    stdout, stderr = on_a_terminal(*command)
    assert stdout or stderr
    assert [char for char in stdout + stderr if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize("command", AS_JSON, ids=lambda command: command[0])
def test_json_is_the_same_on_a_terminal_and_raw_in_a_pipe(command):
    in_a_pipe = behest(*command).stdout
    assert "\u202e" in in_a_pipe
    shown = on_a_terminal(*command)[0].splitlines()
    assert [json.loads(text) for text in shown] == [json.loads(text) for text in in_a_pipe.split("\n")[:-1]]


def test_folded_lines_are_escaped_on_a_terminal_too():
    data = line(*EVENTS, run_id=RUN)
    raw, (shown, _) = behest("fold", "-", stdin=data).stdout, on_a_terminal("fold", "-", stdin=data)
    assert "\u202e" in raw
    assert shown.strip().isprintable()
    assert json.loads(shown) == json.loads(raw)


def test_a_terminal_is_known_for_one_also_where_it_says_that_it_shows_no_colours():
    theirs, ours = os.openpty()
    command = [sys.executable, "-m", "behest_core.cli", "fold", "-"]
    environment = os.environ | {"TERM": "dumb", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=ours, env=environment) as folding:
        folding.communicate(line(*EVENTS, run_id=RUN))
    os.close(ours)
    with os.fdopen(theirs, "rb") as shown:
        text = shown.readline().decode().removesuffix("\r\n")
    assert text.isprintable()
    assert json.loads(text)["last_error"] == HOSTILE
