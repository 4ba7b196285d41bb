import asyncio
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from unittest.mock import ANY

import msgspec
import pytest

from behest_core.fold.rules import fold
from behest_core.model.events import ToolExecutionResult
from behest_core.model.state import RunStatus
from behest_core.recording.adapter import (
    Surroundings,
    as_json,
    begin,
    checked,
    failure,
    id_of,
    pause,
    stop,
    surroundings,
    unobtrusive,
)
from behest_core.testing.recorded import recorded, refuse_writes
from tests.builders import tell


def raw_events(stack, run):
    return [json.loads(each.raw) for each in stack.store.events(run.run_id)]


def state_of(stack, run):
    return fold(None, stack.store.event_log.commits(run.run_id)).state


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("original", ["run-1", "x" * 255, "日本", "a/b c"])
def test_an_id_within_the_limits_is_kept(original):
    assert id_of(original) == original


def test_an_id_of_another_type_is_its_text():
    original = uuid.UUID("7c2b1f0a-5a0e-4a57-9f0d-2c8f3a9f7d11")
    assert id_of(original) == str(original)


@pytest.mark.parametrize("original", ["", "x" * 256, "\ud800"])
def test_an_id_beyond_the_limits_gives_the_same_uuid_each_time(original):
    assert id_of(original) == id_of(original) == str(uuid.UUID(id_of(original)))
    assert id_of(original) != id_of(original + "y")


def test_the_original_id_is_in_the_metadata(stack):
    run = begin(stack.store, "some", "x" * 300, provider="p", model="m", metadata={"a": 1})
    run.close()
    record = stack.store.get_record(id_of("x" * 300))
    assert record.metadata == {"framework": "some", "framework_run_id": "x" * 300, "a": 1}


def test_without_an_id_each_run_has_its_own(stack):
    runs = [begin(stack.store, "some", provider="p", model="m") for _ in range(2)]
    for run in runs:
        run.close()
    assert runs[0].run_id != runs[1].run_id


@pytest.fixture
def around(stack):
    """Return a run, in a step of which what follows is."""
    run = begin(stack.store, "some", "outer", provider="p", model="m", session_id="s")
    token = surroundings.set(Surroundings(run, "step-1"))
    yield run
    surroundings.reset(token)
    run.close()


def test_an_agent_in_a_step_that_something_else_records_is_a_child_of_that_run(stack, around):
    child = begin(stack.store, "other", "inner", provider="p", model="m")
    child.close()
    record = stack.store.get_record("inner")
    assert record.session_id == "s"
    assert record.metadata["parent_run_id"] == record.metadata["root_run_id"] == around.run_id
    assert record.metadata["parent_step_id"] == "step-1"


@pytest.mark.usefixtures("around")
def test_where_its_framework_has_no_id_for_it_the_id_comes_from_the_step(stack):
    children = [begin(stack.store, "other", provider="p", model="m", agent_name="a") for _ in range(2)]
    for child in children:
        child.close()
    assert [child.run_id for child in children] == ["outer/step-1/other/a/1", "outer/step-1/other/a/2"]


def test_a_parent_that_is_given_comes_before_the_step_around(stack, around):
    parent = begin(stack.store, "some", "parent", provider="p", model="m", session_id="t")
    child = begin(stack.store, "other", "inner", provider="p", model="m", parent=parent)
    for run in (child, parent):
        run.close()
    metadata = stack.store.get_record("inner").metadata
    assert metadata["parent_run_id"] == "parent" != around.run_id
    assert "parent_step_id" not in metadata


def test_an_id_that_comes_again_continues_its_run(stack):
    for text in "ab":
        run = begin(stack.store, "some", "r", provider="p", model="m", session_id="s")
        tell(run, text)
        run.completed()
        run.close()
    kinds = [each["type"] for each in raw_events(stack, run)]
    assert kinds == ["RunStarted", "TextDelta", "RunCompleted"] * 2


# ---------------------------------------------------------------- values


@dataclass
class Point:
    x: int


class Model:
    def model_dump(self, mode):
        return {"mode": mode}


class Struct(msgspec.Struct):
    x: int


class Nasty:
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class NastyDict(dict):
    items = __repr__ = __iter__ = Nasty.__str__


def cycle():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, None, True, "x"]}, {"a": [1, 2.5, None, True, "x"]}),
        (Point(1), {"x": 1}),
        (Model(), {"mode": "json"}),
        ({"m": Model()}, {"m": {"mode": "json"}}),
        (Struct(1), {"x": 1}),
        (b"\x00\x01", "AAE="),
        (float("nan"), None),
        ({1: "a"}, {"1": "a"}),
        ({None: "a", (1, 2): "b"}, {"None": "a", "(1, 2)": "b"}),
        ("\ud800", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        (Nasty(), "<Nasty>"),
        (cycle(), ["[[...]]"]),
        ({"a": 1, "b": Nasty(), "c": ["\ud800", None]}, {"a": 1, "b": "<Nasty>", "c": ["\ufffd", None]}),
        ({"a": Point("\ud800")}, {"a": {"x": "\ufffd"}}),
        ({"a": Struct(Nasty())}, {"a": {"x": "<Nasty>"}}),
        (NastyDict(a=Nasty()), "<NastyDict>"),
        (dict.fromkeys(["\ud800", "\udc00"], 1), {"\ufffd": 1, "\ufffd_": 1}),
        pytest.param(10**5000, hex(10**5000), id="a number that is too long to spell"),
    ],
)
def test_any_value_becomes_json(value, expected):
    assert as_json(value) == expected


# ---------------------------------------------------------------- settings


def test_settings_are_those_of_a_recorder():
    settings = {
        "interval": 1.0,
        "give_up_after": 1.0,
        "cut_at": None,
        "redact": None,
        "content": False,
        "exit_wait": 1.0,
        "heartbeat": 30.0,
    }
    assert checked(settings) == settings


@pytest.mark.parametrize("name", ["intervall", "on_error"])
def test_a_setting_that_there_is_not_is_refused_by_name(name):
    known = "content, cut_at, exit_wait, give_up_after, heartbeat, interval, redact"
    with pytest.raises(TypeError, match=f"{name} is no setting; there are {known}"):
        checked({name: 1})


# ---------------------------------------------------------------- never in the way


def test_what_an_adapter_raises_is_logged_and_the_agent_goes_on(caplog):
    @unobtrusive()
    def look(value):
        return value.of_another_version

    assert (look(1), look(2)) == (None, None)
    assert caplog.text.count("AttributeError") == 2


def test_what_an_agent_is_stopped_by_goes_through():
    with pytest.raises(KeyboardInterrupt), unobtrusive():
        raise KeyboardInterrupt


def test_it_begins_while_the_table_is_away_and_loses_nothing(stack):
    back = refuse_writes(stack)
    run = begin(stack.store, "some", "r", provider="p", model="m")
    tell(run, "Hi")
    run.completed()
    assert run.close(timeout=0) == 0
    back()
    assert run.flush() == 3
    assert state_of(stack, run).status is RunStatus.COMPLETED


def test_without_a_table_everything_is_dropped_and_counted_at_once(stack, caplog):
    stack.dynamodb.delete_table(TableName=stack.event_table)
    run = begin(stack.store, "some", "r", provider="p", model="m")
    run.flush()
    tell(run, "Hi")
    run.completed()
    run.close()
    assert run.dropped == 3
    assert "ResourceNotFoundException" in caplog.text


def test_an_event_that_can_not_be_recorded_is_dropped_and_counted_and_the_log_says_so(stack, caplog):
    run = begin(stack.store, "some", "r", provider="p", model="m")
    tell(run, 5)
    run.emit(5)
    run.completed()
    tell(run, "late")
    run.close()
    assert run.dropped == 3
    kinds = ["RunStarted", "agent.RecordingGap", "RunCompleted", "agent.RecordingGap"]
    assert [each["type"] for each in raw_events(stack, run)] == kinds
    assert [each.get("dropped") for each in raw_events(stack, run)] == [
        None,
        {"InvalidValueError": 1, "TypeError": 1},
        None,
        {"RunEndedError": 1},
    ]
    assert [name in caplog.text for name in ("InvalidValue", "TypeError", "RunEnded")] == [True] * 3
    assert state_of(stack, run).status is RunStatus.COMPLETED


def test_a_redaction_that_raises_lets_nothing_through_but_that_the_run_ended(stack):
    def redact(event):
        raise KeyError("password")

    run = begin(stack.store, "some", "r", provider="p", model="m", settings={"redact": redact})
    tell(run, "secret")
    run.failed("secret")
    run.close()
    assert run.dropped == 3
    gap, ending = raw_events(stack, run)
    assert gap["dropped"] == {"KeyError": 3}
    assert ending == {"type": "RunFailed", "timestamp": ANY, "error": "(could not be recorded)"}


def test_closing_is_done_though_whoever_waits_for_it_is_cancelled(stack):
    run = begin(stack.store, "some", "r", provider="p", model="m")
    run.completed()

    async def cancelled_while_no_thread_is_free():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        busy, done = threading.Event(), threading.Event()
        blocking = asyncio.create_task(asyncio.to_thread(busy.wait))
        run.close, close = lambda timeout: (close(timeout), done.set()), run.close
        closing = asyncio.create_task(run.aclose())
        await asyncio.sleep(0)  # both are in the executor's queue
        closing.cancel()
        await asyncio.wait([closing])
        busy.set()
        await blocking
        assert await asyncio.to_thread(done.wait, 60)

    asyncio.run(cancelled_while_no_thread_is_free())


def test_a_paused_run_is_not_over(stack):
    run = begin(stack.store, "some", "r", provider="p", model="m")
    run.model_call()
    pause(run, "approval", ["call-1"])
    run.close()
    assert raw_events(stack, run)[-1] == {
        "type": "agent.Paused",
        "timestamp": ANY,
        "reason": "approval",
        "pending": ["call-1"],
    }
    assert state_of(stack, run).status is RunStatus.CALLING_MODEL


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (LookupError("no such city"), RunStatus.FAILED, "LookupError: no such city"),
        (LookupError(), RunStatus.FAILED, "LookupError"),
        (asyncio.CancelledError(), RunStatus.CANCELLED, None),
        (GeneratorExit(), RunStatus.CANCELLED, None),
        (KeyboardInterrupt(), RunStatus.CANCELLED, None),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else "",
)
def test_an_exception_fails_a_run_and_whatever_else_stops_it_cancels_it(stack, error, status, text):
    run = begin(stack.store, "some", provider="p", model="m")
    stop(run, error)
    run.close()
    assert (state_of(stack, run).status, state_of(stack, run).last_error) == (status, text)


def test_a_tool_that_raised_has_the_error_as_its_result():
    assert failure(LookupError("no such city")) == ToolExecutionResult.failed("LookupError: no such city")
    assert failure(asyncio.CancelledError()) == ToolExecutionResult.failed("cancelled")


def test_a_tool_whose_error_cannot_be_told_has_its_class():
    class Silent(Exception):  # noqa: N818 (the agent's own)
        def __str__(self):
            raise RuntimeError

    assert failure(Silent()) == ToolExecutionResult.failed("Silent")


def test_a_run_whose_model_is_not_known_starts_with_that_of_its_first_call(stack):
    run = begin(stack.store, "some", "r", provider=None, model=None)
    step = run.step_started("first", "node")
    run.flush()
    assert stack.store.get_record("r").model == "unknown"
    call = run.model_call(provider="openai", model="gpt-4o", step_id=step)
    call.finished()
    run.model_call(provider="openai", model="gpt-4o-mini").finished()
    run.step_finished(step)
    run.completed()
    run.close()
    told = recorded(stack.store, "r")
    assert told.types[:3] == ["RunStarted", "agent.StepStarted", "ModelStarted"]
    assert (told.state.provider, told.state.model) == ("openai", "gpt-4o")
    assert told.events[0]["timestamp"] < told.events[1]["timestamp"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_that_calls_no_model_starts_all_the_same(stack, ends):
    run = begin(stack.store, "some", "r", provider=None, model=None)
    step = run.step_started("first", "node")
    run.step_finished(step)
    if ends:
        run.completed()
    run.close()
    told = recorded(stack.store, "r")
    steps = ["agent.StepStarted", "agent.StepFinished"]
    assert told.types == ["RunStarted", *steps, *(["RunCompleted"] if ends else [])]
    assert told.state.model == "unknown"
