"""When an outbox has what done: with a schedule that the test moves on, and a log that is a list."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from botocore.exceptions import ConnectionError as UnreachableError

from behest_core.model.agent_events import Paused
from behest_core.model.decoding import encode
from behest_core.model.events import TextDelta
from behest_core.recording.outbox import Outbox
from tests.builders import at, run_completed, run_record, run_started


class Log:
    """A log that says what was appended to it, and can be away."""

    def __init__(self):
        self.commits = []
        self.is_away = False

    def create(self, record):
        self._answer()
        return record

    def append_pending(self, pending):
        self._answer()
        self.commits.append([json.loads(each.raw)["type"] for each in pending.events])
        return sum(map(len, self.commits))

    def _answer(self):
        if self.is_away:
            raise UnreachableError(error="away")


class Schedule:
    """A writer without threads. `due` is when the outbox wants to be called."""

    def __init__(self):
        self.moment = 100.0
        self.due = None

    def now(self):
        return self.moment

    def open(self, _outbox):
        pass

    def wake(self, _outbox, at):
        if at is not None and (self.due is None or at < self.due):
            self.due = at

    def stepped(self, _outbox, at):
        self.due = at


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def schedule():
    return Schedule()


@pytest.fixture
def begun(log, schedule):
    """Return an outbox whose run is created and started."""

    def begin(**how):
        defaults = {"interval": 0.5, "give_up_after": 60.0, "on_error": "raise", "exit_wait": 5.0, "heartbeat": None}
        outbox = Outbox(log, run_record(), schedule, **defaults | how)
        outbox.start()
        put(outbox, run_started())
        run_until(schedule, outbox, schedule.moment)
        return outbox

    return begin


def put(outbox, event):
    outbox.put(encode(event))


def text():
    return TextDelta(delta="Hi", timestamp=at(1))


def run_until(schedule, outbox, moment):
    """Let time pass, and do on the way what the outbox wants to have done."""
    while schedule.due is not None and schedule.due <= moment:
        schedule.moment = max(schedule.due, schedule.moment)
        schedule.due = None
        outbox.step()
    schedule.moment = moment


def test_events_are_gathered_for_the_interval_from_the_first_on(log, schedule, begun):
    outbox = begun()
    for moment in (101.0, 101.4):
        run_until(schedule, outbox, moment)
        put(outbox, text())
    assert (schedule.due, log.commits) == (101.5, [["RunStarted"]])
    run_until(schedule, outbox, 101.5)
    assert log.commits == [["RunStarted"], ["TextDelta", "TextDelta"]]
    assert schedule.due is None


def test_the_end_goes_at_once(log, schedule, begun):
    outbox = begun()
    put(outbox, text())
    put(outbox, run_completed())
    assert schedule.due <= schedule.moment
    run_until(schedule, outbox, schedule.moment)
    assert log.commits[1:] == [["TextDelta", "RunCompleted"]]


def test_what_fails_is_due_again_after_longer_and_longer_pauses(log, schedule, begun):
    outbox = begun()
    log.is_away = True
    put(outbox, run_completed())
    pauses = []
    for _ in range(8):
        before = schedule.moment
        run_until(schedule, outbox, max(schedule.due, before))
        pauses.append(round(schedule.due - schedule.moment, 3))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    log.is_away = False
    run_until(schedule, outbox, schedule.moment + 5)
    assert (log.commits[1:], outbox.error, schedule.due) == ([["RunCompleted"]], None, None)


def test_it_gives_up_when_it_was_tried_for_long_enough(log, schedule, begun):
    outbox = begun(give_up_after=10.0)
    log.is_away = True
    put(outbox, run_completed())
    run_until(schedule, outbox, 200.0)
    assert isinstance(outbox.error, UnreachableError)
    assert schedule.due is None


def test_whoever_is_in_a_hurry_does_not_wait_for_a_pause(log, schedule, begun):
    outbox = begun()
    log.is_away = True
    put(outbox, run_completed())
    run_until(schedule, outbox, 110.0)
    log.is_away = False
    assert schedule.due > schedule.moment
    outbox.hurry()
    run_until(schedule, outbox, schedule.moment)
    assert outbox.left_at(schedule.moment) == 0


def test_what_is_not_appended_in_time_is_counted(log, schedule, begun):
    outbox = begun()
    log.is_away = True
    for _ in range(3):
        put(outbox, text())
    outbox.hurry()
    run_until(schedule, outbox, 105.0)
    assert outbox.left_at(schedule.moment) == 3


# ---------------------------------------------------------------- signs of life


def test_a_run_that_records_nothing_says_now_and_then_that_it_lives(log, schedule, begun):
    outbox = begun(heartbeat=30.0)
    run_until(schedule, outbox, 195.0)
    assert log.commits == [["RunStarted"], *[["agent.Heartbeat"]] * 3]


def test_a_run_that_records_needs_no_heartbeat(log, schedule, begun):
    outbox = begun(heartbeat=30.0)
    for moment in (120.0, 140.0, 160.0):
        run_until(schedule, outbox, moment)
        put(outbox, text())
    run_until(schedule, outbox, 190.0)
    assert log.commits == [["RunStarted"], *[["TextDelta"]] * 3]
    run_until(schedule, outbox, 190.5)
    assert log.commits[-1] == ["agent.Heartbeat"]


def test_without_the_setting_there_is_no_heartbeat(log, schedule, begun):
    run_until(schedule, begun(), 1_000_000.0)
    assert log.commits == [["RunStarted"]]


def test_a_run_that_has_ended_or_is_closed_has_no_heartbeat(log, schedule, begun):
    outbox = begun(heartbeat=30.0)
    put(outbox, run_completed())
    run_until(schedule, outbox, 1000.0)
    put(outbox, run_started())
    run_until(schedule, outbox, 1040.0)
    assert log.commits == [["RunStarted"], ["RunCompleted"], ["RunStarted"], ["agent.Heartbeat"]]
    outbox.close(timeout=0)
    run_until(schedule, outbox, 2000.0)
    assert len(log.commits) == 4


def test_a_run_that_waits_for_somebody_has_no_heartbeat_until_it_goes_on(log, schedule, begun):
    outbox = begun(heartbeat=30.0)
    put(outbox, Paused(reason="approval", pending=[], timestamp=at(1)))
    run_until(schedule, outbox, 1000.0)
    put(outbox, text())
    run_until(schedule, outbox, 1031.0)
    assert log.commits == [["RunStarted"], ["agent.Paused"], ["TextDelta"], ["agent.Heartbeat"]]


def test_whoever_is_about_to_put_something_in_is_sign_of_life_enough(log, schedule, begun):
    outbox = begun(heartbeat=30.0)
    with ThreadPoolExecutor(1) as agent:
        agent.submit(outbox.turn.acquire).result()
        run_until(schedule, outbox, 130.0)
        assert log.commits == [["RunStarted"]]
        put(outbox, run_completed())
        agent.submit(outbox.turn.release).result()
    run_until(schedule, outbox, 1000.0)
    assert log.commits == [["RunStarted"], ["RunCompleted"]]


# ---------------------------------------------------------------- forks


def test_a_forked_process_has_nothing_of_its_parents_to_append(log, schedule, begun):
    outbox = begun()
    put(outbox, text())
    outbox._lock.acquire()
    outbox.turn.acquire()  # by threads that the child has not
    schedule.due = None
    outbox.begin_anew()
    assert (schedule.due, outbox.flush(timeout=0), outbox.is_inherited) == (None, 1, True)
    put(outbox, run_completed())
    run_until(schedule, outbox, schedule.moment)
    assert log.commits == [["RunStarted"], ["RunCompleted"]]


def test_a_forked_process_creates_the_run_that_its_parent_had_not_created_yet(log, schedule):
    how = {"interval": 0.5, "give_up_after": 60.0, "on_error": "raise", "exit_wait": 5.0, "heartbeat": None}
    outbox = Outbox(log, run_record(), schedule, **how)
    outbox.start()
    put(outbox, run_started())
    schedule.due = None
    outbox.begin_anew()
    put(outbox, text())
    run_until(schedule, outbox, 101.0)
    assert log.commits == [["TextDelta"]]


def test_what_a_log_raises_that_nobody_thought_of_stops_the_run_and_not_the_writer(log, schedule, begun):
    outbox = begun()
    outbox.log = SimpleNamespace()
    put(outbox, run_completed())
    run_until(schedule, outbox, schedule.moment)
    assert isinstance(outbox.error, AttributeError)
    assert schedule.due is None
