import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from contextlib import suppress
from random import Random
from types import SimpleNamespace

import pytest

from behest_core.dynamodb.event_table import EventLog
from behest_core.errors import (
    ConfigurationError,
    EventTooLargeError,
    InvalidValueError,
    RecordingError,
    RunEndedError,
    RunExistsError,
    WaitTimeoutError,
)
from behest_core.fold.rules import fold
from behest_core.model.decoding import encode
from behest_core.model.events import RunStarted, TextDelta, ToolExecutionResult, ToolExecutionStarted
from behest_core.model.limits import EVENT_BYTES
from behest_core.model.state import RunStatus
from behest_core.recording import outbox as module
from behest_core.recording import process
from behest_core.recording.recorder import RunRecorder, new_record
from behest_core.recording.writer import Writer
from behest_core.testing.recorded import refuse_writes
from tests.aws.test_projector import raiser, throttled
from tests.builders import ask, at, tell
from tests.golden import ROOT


@pytest.fixture
def record(stack):
    """Begin to record a run whose commits wait for a flush."""
    return lambda **how: stack.store.recorder(provider="openai", model="gpt-4o", **{"interval": 3600, **how})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.0)


def state_of(stack, run):
    return fold(None, stack.store.event_log.commits(run.run_id)).state


def types(stack, run):
    return [json.loads(each.raw)["type"] for each in stack.store.events(run.run_id)]


def commits(stack, run):
    return [each.count for each in stack.store.event_log.commits(run.run_id) if not each.is_record]


# ---------------------------------------------------------------- a run


def test_a_run_is_recorded_from_its_beginning_to_its_end(stack, record):
    with record(session_id="s", metadata={"a": 1}) as run:
        call = run.model_call()
        call.text("Hi")
        call.tool_called("c1", "weather", {"city": "Oslo"})
        run.tool_started("c1", "weather")
        run.tool_finished("c1", "weather", ToolExecutionResult.ok({"temp": 3}), duration_ms=42)
        call.usage(10, 5, cache_read_input_tokens=2)
        run.model_call()
        run.emit({"type": "approvals.Requested", "call_id": "c1"})
    state = state_of(stack, run)
    assert (state.status, state.iteration, state.total_usage.total_tokens) == (RunStatus.COMPLETED, 2, 15)
    assert (state.session_id, state.metadata, state.event_count) == ("s", {"a": 1}, 10)


def test_an_exception_fails_the_run_and_goes_on(stack, record):
    with pytest.raises(ValueError, match="boom"), record() as run:
        raise ValueError("boom")
    assert (state_of(stack, run).status, state_of(stack, run).last_error) == (RunStatus.FAILED, "ValueError: boom")


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_a_cancellation_cancels_the_run_and_goes_on(stack, record, error):
    with pytest.raises(error), record() as run:
        raise error
    assert state_of(stack, run).status is RunStatus.CANCELLED


@pytest.mark.parametrize(
    ("say", "status"),
    [
        (lambda run: run.completed("length"), RunStatus.COMPLETED),
        (lambda run: run.failed("no"), RunStatus.FAILED),
        (lambda run: run.cancelled(), RunStatus.CANCELLED),
    ],
)
def test_what_the_agent_says_of_its_end_is_not_said_again(stack, record, say, status):
    with record() as run:
        say(run)
    assert state_of(stack, run).status is status
    assert len(types(stack, run)) == 2


def test_after_a_terminal_event_nothing_is_taken_until_the_run_starts_anew(stack, record):
    with record() as run:
        run.completed()
        with pytest.raises(RunEndedError, match="TextDelta"):
            tell(run, "late")
        run.emit(RunStarted(session_id="s", provider="p", model="m", timestamp=at(1)))
        tell(run, "again")
    assert types(stack, run) == ["RunStarted", "RunCompleted", "RunStarted", "TextDelta", "RunCompleted"]


def test_it_works_from_asyncio_and_many_tasks(stack, record):
    async def agent():
        async with record() as run:
            await asyncio.gather(*(asyncio.to_thread(tell, run, str(n)) for n in range(50)))
        return run

    run = asyncio.run(agent())
    assert len(types(stack, run)) == 52


def test_many_threads_lose_and_double_nothing(stack, record):
    with record() as run:
        threads = [threading.Thread(target=lambda n=n: [tell(run, f"{n}-{m}") for m in range(50)]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    deltas = [json.loads(each.raw).get("delta") for each in stack.store.events(run.run_id)]
    assert sorted(filter(None, deltas)) == sorted(f"{n}-{m}" for n in range(8) for m in range(50))


# ---------------------------------------------------------------- packing


def test_events_are_packed_and_lifecycle_events_go_at_once(stack, record):
    with record() as run:
        assert run.flush() == 1
        for n in range(20):
            tell(run, str(n))
        assert commits(stack, run) == [1]
    assert commits(stack, run) == [1, 21]


def test_a_full_buffer_goes_at_once(stack, record, monkeypatch):
    monkeypatch.setattr(module, "_FULL_BYTES", 300)
    with record() as run:
        run.flush()
        for n in range(20):
            tell(run, str(n))
        run.flush()
    assert len(commits(stack, run)) > 1
    assert sum(commits(stack, run)) == 22


def test_without_a_flush_the_interval_appends(stack, record):
    with record(interval=0.0) as run:
        tell(run, "Hi")
        outbox = run._outbox
        with outbox._lock:
            assert outbox._changed.wait_for(lambda: not outbox._buffer, timeout=60)
        assert types(stack, run) == ["RunStarted", "TextDelta"]


def test_more_than_an_item_holds_goes_in_several_commits(stack, record):
    with record() as run:
        for n in range(4):
            tell(run, str(n) * 150_000)
    assert sum(commits(stack, run)) == 6
    assert len(commits(stack, run)) > 1


def test_another_writers_events_come_in_between(stack, record):
    with record() as run:
        run.flush()
        stack.store.append(run.run_id, [TextDelta(delta="theirs", timestamp=at(1))])
        tell(run, "ours")
    assert types(stack, run) == ["RunStarted", "TextDelta", "TextDelta", "RunCompleted"]


# ---------------------------------------------------------------- trouble


def test_a_lost_answer_appends_once(stack, record, requests):
    with record() as run:
        run.flush()
        requests.lose_answer_of("PutItem")
        tell(run, "Hi")
    assert types(stack, run) == ["RunStarted", "TextDelta", "RunCompleted"]


def test_an_append_that_failed_and_was_written_all_the_same_is_not_written_twice(stack, record, requests):
    with record() as run:
        run.flush()
        tell(run, "Hi")
        put = stack.dynamodb._make_api_call

        def written_and_unheard(operation, params):
            put(operation, params)
            stack.dynamodb._make_api_call = put
            raise throttled(operation)

        stack.dynamodb._make_api_call = written_and_unheard
        run.flush()
    assert types(stack, run) == ["RunStarted", "TextDelta", "RunCompleted"]


def in_the_gap_between_two_tries(stack, do):
    """Let the next append be written unheard, and do something before it is tried again."""
    put = stack.dynamodb._make_api_call

    def written_and_unheard(operation, params):
        put(operation, params)
        stack.dynamodb._make_api_call = put
        do()
        raise throttled(operation)

    stack.dynamodb._make_api_call = written_and_unheard


def append_through_the_same_log(stack, run):
    stack.store.append(run.run_id, [TextDelta(delta="theirs", timestamp=at(1))])


def append_to_so_many_runs_that_the_log_forgets_where_this_one_ends(stack, run):
    stack.store.append(run.run_id, [TextDelta(delta="theirs", timestamp=at(1))])
    for n in range(11_000):
        stack.store.event_log._heads.put(f"run-{n}", n)


def append_in_another_process(stack, run):
    other = EventLog(stack.dynamodb, stack.event_table)
    other.append(run.run_id, [TextDelta(delta="theirs", timestamp=at(1))])


@pytest.mark.parametrize(
    "meanwhile",
    [
        append_through_the_same_log,
        append_to_so_many_runs_that_the_log_forgets_where_this_one_ends,
        append_in_another_process,
    ],
)
def test_a_commit_whose_answer_was_lost_is_found_whatever_happened_before_it_is_tried_again(stack, record, meanwhile):
    with record() as run:
        run.flush()
        tell(run, "ours")
        in_the_gap_between_two_tries(stack, lambda: meanwhile(stack, run))
        run.flush()
    assert [json.loads(each.raw).get("delta") for each in stack.store.events(run.run_id)] == [
        None,
        "ours",
        "theirs",
        None,
    ]


def test_a_table_that_is_away_for_a_while_loses_nothing(stack, record, requests):
    with record() as run:
        run.flush()
        for _ in range(5):
            requests.before("PutItem", raiser(throttled("PutItem")))
        tell(run, "Hi")
    assert types(stack, run) == ["RunStarted", "TextDelta", "RunCompleted"]
    assert run.dropped == 0


def test_a_table_that_is_away_for_half_a_minute_loses_nothing(stack, record, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(process, "writer", Writer(now=clock.now, wait=clock.wait))
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.1)
    back = refuse_writes(stack)
    clock.at(30.0, back)
    with record(interval=0.0) as run:
        for n in range(100):
            tell(run, str(n))
    assert clock.now() >= 30.0
    assert [json.loads(each.raw).get("delta") for each in stack.store.events(run.run_id)] == [
        None,
        *map(str, range(100)),
        None,
    ]
    assert run.dropped == 0


class Clock:
    """A clock that stands still but while a writer waits, which takes no time, and does one thing when its time has come."""

    def __init__(self):
        self._now = 0.0
        self._due = None

    def at(self, moment, do):
        self._due = (moment, do)

    def now(self):
        return self._now

    def wait(self, changed, seconds):
        if seconds is None:
            changed.wait()
            return
        self._now += seconds
        if self._due is not None and self._now >= self._due[0]:
            self._due[1]()
            self._due = None


def test_a_table_that_stays_away_raises_in_the_agent(stack, record):
    back = None
    with pytest.raises(RecordingError) as caught, record(give_up_after=0.0) as run:  # noqa: PT012
        run.flush()
        back = refuse_writes(stack)
        tell(run, "Hi")
        run.flush()
    assert (caught.value.run_id, caught.value.waiting) == (run.run_id, 1)
    back()
    assert types(stack, run) == ["RunStarted"]


def test_a_table_that_stays_away_only_warns_if_it_is_to(stack, record, caplog):
    with record(give_up_after=0.0, on_error="warn") as run:
        run.flush()
        back = refuse_writes(stack)
        tell(run, "lost")
        run.flush()
        back()
        tell(run, "kept")
    assert run.dropped == 1
    assert "dropped 1 events" in caplog.text
    assert types(stack, run) == ["RunStarted", "TextDelta", "agent.RecordingGap", "RunCompleted"]


@pytest.mark.parametrize("name", ["interval", "give_up_after", "exit_wait", "heartbeat"])
def test_a_time_that_is_no_number_is_refused_before_anything_is_recorded(record, name):
    with pytest.raises(TypeError, match="is no number of seconds"):
        record(**{name: "0.5"})


def test_a_run_that_cannot_be_created_is_told_in_the_log_also_where_that_is_known_before_its_first_event(
    stack, record, caplog, monkeypatch
):
    back = refuse_writes(stack)
    run = record(give_up_after=0.0, on_error="warn")
    monkeypatch.setattr(run, "_emit_started", run.flush)
    run.start()
    tell(run, "lost")
    back()
    assert f"behest dropped all that is to come of run {run.run_id}" in caplog.text
    assert run.dropped == 1


def test_nobody_waits_for_an_outbox_that_could_not_go_on(stack, record, monkeypatch):
    with pytest.raises(RecordingError) as caught, record() as run:  # noqa: PT012
        run.flush()
        monkeypatch.setattr(module, "lots", None)
        tell(run, "Hi")
        run.flush(timeout=60)
    assert isinstance(caught.value.__cause__, TypeError)


def test_what_an_outbox_that_could_not_go_on_had_is_dropped_if_it_is_to_warn_only(stack, record, monkeypatch, caplog):
    with record(on_error="warn") as run:
        run.flush()
        monkeypatch.setattr(module, "lots", None)
        tell(run, "Hi")
        run.flush(timeout=60)
        tell(run, "more")
    assert run.dropped == 2
    assert "TypeError" in caplog.text
    assert types(stack, run) == ["RunStarted"]


def test_a_full_buffer_drops_and_counts_if_it_is_to_warn_only(stack, record, monkeypatch):
    with record(on_error="warn") as run:
        run.flush()
        monkeypatch.setattr(module, "_BUFFER_BYTES", 400)
        for _ in range(5):
            tell(run, "x" * 50)
        monkeypatch.undo()
        assert run.dropped == 4
    assert types(stack, run) == ["RunStarted", "TextDelta", "agent.RecordingGap", "RunCompleted"]


def test_an_event_that_could_not_be_folded_is_refused_at_once(stack, record):
    with record() as run:
        with pytest.raises(InvalidValueError):
            run.emit(TextDelta(delta=5, timestamp=at(1)))
        with pytest.raises(EventTooLargeError):
            run.emit({"type": "many.Fields", **{str(n): n for n in range(100_000)}})
    assert types(stack, run) == ["RunStarted", "RunCompleted"]


# ---------------------------------------------------------------- interrupted while it is entered


@pytest.fixture
def held(stack):
    """Hold up the creation of a run: once it is asked for `begun` is set, and it goes on when `go_on` is."""
    begun, go_on = threading.Event(), threading.Event()
    call = stack.dynamodb._make_api_call

    def hold(operation, params):
        if operation == "PutItem" and not begun.is_set():
            begun.set()
            assert go_on.wait(60)
        return call(operation, params)

    stack.dynamodb._make_api_call = hold
    return SimpleNamespace(begun=begun, go_on=go_on)


def until_it_has_ended(run):
    with suppress(RecordingError):
        run.flush(timeout=60)


def test_a_task_that_is_cancelled_while_it_enters_ends_its_run(stack, record, held):
    run = record()

    async def agent():
        async with run:
            pytest.fail("entered")

    async def cancelled():
        task = asyncio.create_task(agent())
        await asyncio.to_thread(held.begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task  # at once: the table has not answered yet
        held.go_on.set()

    asyncio.run(cancelled())
    until_it_has_ended(run)
    assert state_of(stack, run).status is RunStatus.CANCELLED
    assert types(stack, run) == ["RunCancelled"]


def test_a_task_that_is_cancelled_when_the_run_has_just_been_created_ends_it(stack, record, monkeypatch):
    run = record()

    async def agent():
        async with run:
            pytest.fail("entered")

    async def cancelled():
        task = asyncio.create_task(agent())
        wait = run._outbox.wait_until_created

        def wait_and_be_cancelled():
            wait()
            loop.call_soon_threadsafe(task.cancel)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(run._outbox, "wait_until_created", wait_and_be_cancelled)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    until_it_has_ended(run)
    assert state_of(stack, run).status is RunStatus.CANCELLED


def test_a_task_that_is_cancelled_while_it_enters_does_not_hold_up_the_end_of_its_loop(stack, record, held):
    run = record()

    async def cancelled():
        task = asyncio.create_task(run.__aenter__())
        await asyncio.to_thread(held.begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())  # waits for the thread that waited for the table
    assert not held.go_on.is_set()
    held.go_on.set()
    until_it_has_ended(run)
    assert types(stack, run) == ["RunCancelled"]


def refuse_beginnings(event):
    if event["type"] == "RunStarted":
        raise KeyError("session_id")
    return event


def test_a_run_whose_beginning_can_not_be_recorded_is_ended(stack, record):
    run = record(redact=refuse_beginnings)
    with pytest.raises(KeyError), run:
        pytest.fail("entered")
    until_it_has_ended(run)
    assert (types(stack, run), state_of(stack, run).last_error) == (["RunFailed"], "KeyError: 'session_id'")


def test_a_program_that_is_interrupted_while_it_enters_ends_its_run(stack, record, monkeypatch):
    run = record()
    monkeypatch.setattr(run._outbox, "wait_until_created", raiser(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt), run:
        pytest.fail("entered")
    until_it_has_ended(run)
    assert types(stack, run) == ["RunCancelled"]


def test_a_task_that_is_cancelled_while_it_enters_leaves_nothing_where_the_run_could_not_be_created(stack, record):
    run = record(give_up_after=0.0)
    back = refuse_writes(stack)

    async def agent():
        async with run:
            pytest.fail("entered")

    async def cancelled():
        task = asyncio.create_task(agent())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    until_it_has_ended(run)
    back()
    assert stack.store.event_log.holds_anything(run.run_id) is False


# ---------------------------------------------------------------- memory


def memory_of(act):
    """Return how many bytes are held after something, and how many there were at most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [0, 60_000, EVENT_BYTES - 100], ids=["smallest", "large", "largest"])
def test_the_events_that_wait_take_no_more_memory_than_the_buffer_may(stack, length, record, monkeypatch):
    limit, text = 4 * 1024 * 1024, "x" * length
    monkeypatch.setattr(module, "_BUFFER_BYTES", limit)
    with record(on_error="warn", give_up_after=0.0) as run:
        run.flush()
        append, go_on = run._outbox.log.append_pending, threading.Event()
        monkeypatch.setattr(run._outbox.log, "append_pending", lambda pending: go_on.wait(60) and append(pending))

        def emit_until_there_is_no_room():
            while not run.dropped:
                tell(run, text)

        held, peak = memory_of(emit_until_there_is_no_room)
        go_on.set()
    assert limit / 2 < held < limit * 1.1
    assert peak < limit * 1.5


def test_what_is_known_of_tools_that_never_end_is_bounded_by_memory(record):
    with record(on_error="warn") as run:

        def start_tools():
            for n in range(200):
                call_id = f"{n}".ljust(100_000, "\U0001f680")
                run._tools.note(encode(ToolExecutionStarted(call_id=call_id, tool_name="t", timestamp=at(1))))

        held, _ = memory_of(start_tools)
    assert held < 1.2 * 1024 * 1024


# ---------------------------------------------------------------- what is written


def test_large_outputs_and_arguments_are_cut_and_say_so(stack, record):
    with record(cut_at=20) as run:
        ask(run, "c", "t", {"text": "x" * 100})
        run.tool_finished("c", "t", ToolExecutionResult.ok("y" * 100), 1)
        run.tool_finished("c", "t", ToolExecutionResult.ok("short"), 1)
    call, large, short = [json.loads(each.raw) for each in stack.store.events(run.run_id)][1:4]
    assert call["call"]["arguments"] == {"cut": '{"text":"xxxxxxxxxxx', "bytes": 111}
    assert large["result"]["Success"]["output"] == {"cut": '"' + "y" * 19, "bytes": 102}
    assert short["result"]["Success"]["output"] == "short"


def test_events_that_are_json_objects_are_cut_alike(stack, record):
    large = {"text": "x" * 100}
    with record(cut_at=20) as run:
        run.emit({"type": "ToolCallCompleted", "call": {"id": "c", "name": "t", "arguments": large}, "trace": "kept"})
        done = {"type": "ToolExecutionFinished", "call_id": "c", "tool_name": "t", "duration_ms": 1}
        run.emit({**done, "result": {"Success": {"output": large}}})
        run.emit({"type": "approvals.Requested", "call_id": "c" * 100})
    call, finished, custom = [json.loads(each.raw) for each in stack.store.events(run.run_id)][1:4]
    cut = {"cut": '{"text":"xxxxxxxxxxx', "bytes": 111}
    assert (call["call"]["arguments"], call["trace"], finished["result"]["Success"]["output"]) == (cut, "kept", cut)
    assert custom["call_id"] == "c" * 100


def test_a_large_error_of_a_tool_is_cut_and_says_so(stack, record):
    with record(cut_at=60) as run:
        run.tool_finished("c", "t", ToolExecutionResult.failed("é" * 100), 1)
        run.tool_finished("c", "t", ToolExecutionResult.failed("short"), 1)
    errors = [json.loads(each.raw)["result"]["Failure"]["error"] for each in list(stack.store.events(run.run_id))[1:3]]
    assert errors == ["é" * 20 + " (cut, of 200 bytes)", "short"]


def test_an_error_that_can_not_be_told_fails_the_run_all_the_same(stack, record):
    class UntellableError(Exception):
        def __str__(self):
            raise RuntimeError("no")

    with pytest.raises(UntellableError), record() as run:
        raise UntellableError
    state = state_of(stack, run)
    assert (state.status, state.last_error) == (RunStatus.FAILED, "UntellableError")


def test_redaction_sees_each_event_before_it_is_written(stack, record):
    def redact(event):
        if event["type"] == "TextDelta":
            return None if event["delta"] == "secret" else {**event, "delta": "***"}
        return event

    with record(redact=redact) as run:
        tell(run, "secret")
        tell(run, "hello")
    assert [json.loads(each.raw).get("delta") for each in stack.store.events(run.run_id)] == [None, "***", None]


def test_creating_a_run_is_tried_again_while_the_table_is_away(stack, record, requests):
    for _ in range(3):
        requests.before("PutItem", raiser(throttled("PutItem")))
    with record() as run:
        pass
    assert types(stack, run) == ["RunStarted", "RunCompleted"]


def test_a_missing_table_raises_at_once(stack, record):
    stack.dynamodb.delete_table(TableName=stack.event_table)
    with pytest.raises(stack.dynamodb.exceptions.ResourceNotFoundException), record(give_up_after=3600):
        pytest.fail("entered")


def test_a_run_id_that_is_taken_raises_on_entering(stack, record):
    with record(run_id="r", session_id="s"):
        pass
    with pytest.raises(RunExistsError), record(run_id="r", session_id="another"):
        pytest.fail("entered")


# ---------------------------------------------------------------- the end of the process

PROGRAM = """
import os, signal, sys
from behest_core import RunStore
store = RunStore(os.environ["BEHEST_EVENT_TABLE"], os.environ["BEHEST_STATE_TABLE"])
run = store.recorder(provider="p", model="m", run_id="r", interval=3600).__enter__()
run.flush()
run.emit({"type": "TextDelta", "delta": "the last words"})
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""


@pytest.mark.parametrize(("how", "code"), [("exits", 0), ("killed", -signal.SIGTERM)])
def test_what_was_emitted_is_in_the_log_when_the_process_ends(stack, how, code):
    with stack.serving() as environment:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, how],
            env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        assert ended.returncode == code
        assert [json.loads(each.raw)["type"] for each in stack.store.events("r")] == ["RunStarted", "TextDelta"]


KILLED = """
import os, sys
from behest_core import RunStore
store = RunStore(os.environ["BEHEST_EVENT_TABLE"], os.environ["BEHEST_STATE_TABLE"])
recorder = store.recorder(provider="p", model="m", session_id="s", client_request_id=sys.argv[1], interval=0.002)
with recorder as run:
    for n in range(100_000):
        run.emit({"type": "TextDelta", "delta": str(n)})
        if n % 10 == 0:
            print(n, flush=True)
            run.flush() if n % 70 == 0 else None
"""


def test_a_process_that_is_killed_anywhere_leaves_a_log_that_can_be_continued(stack, record):
    points = {f"killed-{point}": point for point in Random(7).sample(range(8, 60), 4)}
    with stack.serving() as environment:
        variables = os.environ | environment | {"PYTHONPATH": str(ROOT)}
        processes = {
            request: subprocess.Popen(
                [sys.executable, "-c", KILLED, request], env=variables, cwd=ROOT, stdout=subprocess.PIPE
            )
            for request in points
        }
        for request, process in processes.items():
            with process:
                for _ in range(points[request]):
                    assert process.stdout.readline()
                process.kill()
    for request in points:
        with record(session_id="s", client_request_id=request) as run:
            tell(run, "again")
        events = [json.loads(each.raw) for each in stack.store.events(run.run_id)]
        begun_again = max(n for n, each in enumerate(events) if each["type"] == "RunStarted")
        written = [each.get("delta") for each in events[:begun_again]]
        assert begun_again > 1
        assert written == [None, *map(str, range(begun_again - 1))]
        assert [each["type"] for each in events[begun_again:]] == ["RunStarted", "TextDelta", "RunCompleted"]
        assert state_of(stack, run).event_count == len(events)


# ---------------------------------------------------------------- reading what was recorded


def test_after_it_a_recorder_waits_for_the_state_of_all_it_recorded(stack, record, monkeypatch):
    waited = stack.store.wait
    monkeypatch.setattr(stack.store, "wait", lambda *given, **named: (stack.deliver(), waited(*given, **named))[1])
    with record() as run:
        run.model_call().usage(1, 2)
    assert (run.wait().status, run.wait().total_usage.total_tokens) == (RunStatus.COMPLETED, 3)


def test_a_recorder_that_could_not_append_in_time_says_how_far_it_came(stack, record):
    run = record(on_error="warn").start()
    run.flush()
    let_through = refuse_writes(stack)
    run.model_call()
    with pytest.raises(WaitTimeoutError) as caught:
        run.wait(timeout=0)
    assert (caught.value.expected, caught.value.actual) == (2, 1)
    let_through()
    run.close()


def test_a_recorder_without_a_store_knows_no_state(stack, record):
    run = RunRecorder(stack.store.event_log, new_record(provider="p", model="m"))
    with pytest.raises(ConfigurationError, match=r"RunStore\.recorder"):
        run.wait()


def test_a_type_that_is_mistyped_is_refused(stack, record):
    with record() as run:
        with pytest.raises(InvalidValueError, match="no event type 'TextDlta'"):
            run.emit({"type": "TextDlta"})
        run.emit({"type": "TextDlta"}, allow_unknown=True)
        run.emit({"type": "my.Own"})
    assert types(stack, run) == ["RunStarted", "TextDlta", "my.Own", "RunCompleted"]


def test_a_recorder_prints_as_what_it_records(record):
    with record(run_id="r") as run:
        run.flush()
        assert repr(run) == "<RunRecorder of run r: open, 1 events in the log, 0 dropped>"
    assert repr(run) == "<RunRecorder of run r: closed, 2 events in the log, 0 dropped>"
