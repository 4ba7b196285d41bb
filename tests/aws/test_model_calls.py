"""What a recorder writes of model calls and steps, and what is left of it without content."""

from __future__ import annotations

import msgspec
import pytest

from behest_core.model.agent_events import ModelRequested
from behest_core.model.conversation import Requests
from behest_core.model.decoding import core_decoder
from behest_core.model.events import ToolExecutionResult
from behest_core.recording.content import CONTENT, without_content
from behest_core.testing.recorded import recorded
from tests.docs.test_vocabulary import LINES

HI = {"role": "user", "content": "How warm is it in Oslo?"}


@pytest.fixture
def record(stack):
    """Begin to record a run whose commits wait for a flush."""
    return lambda **how: stack.store.recorder(provider="openai", model="gpt-4o", **{"interval": 3600, **how})


def test_all_that_a_call_gives_has_its_id(stack, record):
    with record() as run:
        call = run.model_call(messages=[HI], provider="azure", model="gpt-4o-mini")
        call.text("Let me see.")
        call.tool_called("c1", "weather", {"city": "Oslo"})
        call.usage(10, 5, cache_read_input_tokens=4, reasoning_output_tokens=2, provider="azure", model="m-2024")
        call.finished("tool_calls", response_id="r-1", model="m-2024")
        call.message_committed("m-1")
    events = recorded(stack.store, run.run_id).events[1:-1]
    assert [each["type"] for each in events] == [
        "ModelStarted",
        "agent.ModelRequested",
        "TextDelta",
        "ToolCallCompleted",
        "UsageRecorded",
        "agent.ModelFinished",
        "AssistantMessageCommitted",
    ]
    assert {each["model_call_id"] for each in events} == {call.id}
    assert events[4]["usage"] == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "cache_read_input_tokens": 4,
    }
    assert (events[4]["model"], events[4]["reasoning_output_tokens"]) == ("m-2024", 2)
    assert (events[5]["finish_reason"], events[5]["response_id"]) == ("tool_calls", "r-1")
    assert events[5]["duration_ms"] >= events[5]["first_token_ms"] >= 0


def test_calls_at_the_same_time_are_told_apart(stack, record):
    with record() as run:
        one, other = run.model_call(messages=[HI]), run.model_call(messages=[HI])
        for piece in ("a", "b"):
            one.text(piece)
            other.text(piece.upper())
    run = recorded(stack.store, run.run_id)
    texts = {each.id: "" for each in (one, other)}
    for each in run.of("TextDelta"):
        texts[each["model_call_id"]] += each["delta"]
    assert texts == {one.id: "ab", other.id: "AB"}
    assert [each["iteration"] for each in run.of("ModelStarted")] == [1, 2]


def test_a_text_that_did_not_come_in_pieces_is_told_at_the_end_and_one_that_did_is_not_told_twice(stack, record):
    with record() as run:
        whole, pieces = run.model_call(), run.model_call()
        whole.finished(text="3 degrees.", reasoning="cold")
        pieces.text("3 degrees.")
        pieces.finished(text="3 degrees.")
    first, second = recorded(stack.store, run.run_id).of("agent.ModelFinished")
    assert (first["text"], first["reasoning"]) == ("3 degrees.", "cold")
    assert "text" not in second


def test_text_that_is_discarded_does_not_count(stack, record):
    with record() as run:
        call = run.model_call()
        call.text("3 de")
        call.text_discarded("the stream broke off")
        assert not call.has_text
        call.finished(text="3 degrees.")
    run = recorded(stack.store, run.run_id)
    assert run.of("agent.TextDiscarded")[0]["model_call_id"] == call.id
    assert run.of("agent.ModelFinished")[0]["text"] == "3 degrees."


def test_a_call_that_fails_tells_what_was_behind_it(stack, record):
    def fail():
        raise LookupError("no model") from TimeoutError("no answer")

    with record() as run:
        call = run.model_call()
        try:
            fail()
        except LookupError as error:
            call.failed(error)
    [failed] = recorded(stack.store, run.run_id).of("agent.ModelFailed")
    assert (failed["error_type"], failed["error"]) == ("LookupError", "LookupError: no model")
    assert failed["causes"] == ["TimeoutError: no answer"]


def test_the_requests_of_a_run_are_read_back_from_its_log(stack, record):
    sent = [[HI], [HI, {"role": "assistant", "content": "3"}, {"role": "user", "content": "and Rome?"}]]
    with record() as run:
        for messages in sent:
            run.model_call(messages=messages, system_instructions="Be brief.").finished()
    requests = Requests()
    for each in stack.store.events(run.run_id):
        event = core_decoder.decode_one(each.raw)
        if isinstance(event, ModelRequested):
            requests.add(event)
    assert [each.messages for each in requests.by_call.values()] == sent
    assert {each.system_instructions for each in requests.by_call.values()} == {"Be brief."}


def test_what_happens_in_a_step_says_so(stack, record):
    with record() as run:
        outer = run.step_started("team", "agent")
        inner = run.step_started("researcher", "agent", parent_step_id=outer)
        run.model_call(step_id=inner).text("Hi")
        run.step_finished(inner, LookupError("no such city"))
        run.step_finished(outer)
    run = recorded(stack.store, run.run_id)
    assert [each["step_id"] for each in run.of("TextDelta")] == [inner]
    assert [each.get("parent_step_id") for each in run.of("agent.StepStarted")] == [None, outer]
    assert [each.get("error") for each in run.of("agent.StepFinished")] == ["LookupError: no such city", None]
    assert all(each["duration_ms"] >= 0 for each in run.of("agent.StepFinished"))


def test_a_tool_says_which_call_asked_for_it_and_which_step_it_runs_in_and_one_that_is_refused_why(stack, record):
    with record() as run:
        step = run.step_started("team", "agent")
        call = run.model_call(step_id=step)
        belongs = {"model_call_id": call.id, "step_id": step}
        run.tool_started("c1", "weather", **belongs)
        run.tool_finished("c1", "weather", ToolExecutionResult.ok(3), **belongs)
        run.tool_refused("c2", "weather", "a person denied it", **belongs)
        run.step_finished(step)
    run = recorded(stack.store, run.run_id)
    about = [each for each in run.events if "call_id" in each]
    assert [each["type"] for each in about] == ["ToolExecutionStarted", "ToolExecutionFinished", "agent.ToolRefused"]
    assert [(each["model_call_id"], each["step_id"]) for each in about] == [(call.id, step)] * 3
    assert about[-1]["reason"] == "a person denied it"


def test_a_tool_that_ends_with_its_run_says_so_too(stack, record):
    with record() as run:
        call = run.model_call()
        run.tool_started("c1", "weather", model_call_id=call.id, step_id="s1")
        run.tool_started("c2", "weather")
    one, other = recorded(stack.store, run.run_id).of("ToolExecutionFinished")
    assert (one["model_call_id"], one["step_id"]) == (call.id, "s1")
    assert not {"model_call_id", "step_id"} & other.keys()


def test_what_this_adds_changes_nothing_in_the_state(stack, record):
    with record() as run:
        call = run.model_call(messages=[HI])
        call.usage(10, 5, cache_read_input_tokens=4)
        call.finished()
    state = recorded(stack.store, run.run_id).state
    assert (state.iteration, state.total_usage.total_tokens, state.event_count) == (1, 15, 6)


# ---------------------------------------------------------------- content

SECRET = "the-secret"


def record_everything(run):
    call = run.model_call(
        messages=[{"role": "user", "content": SECRET}],
        system_instructions=SECRET,
        tool_definitions=[{"name": "weather", "description": SECRET}],
    )
    call.text(SECRET)
    call.tool_called("c1", "weather", {"city": SECRET})
    run.tool_started("c1", "weather")
    run.tool_finished("c1", "weather", ToolExecutionResult.ok({"answer": SECRET}))
    run.tool_started("c2", "weather")
    run.tool_finished("c2", "weather", ToolExecutionResult.failed(f"LookupError: {SECRET}"))
    call.usage(10, 5)
    call.failed(LookupError(SECRET))
    call.finished(text=SECRET, reasoning=SECRET)
    run.failed(LookupError(SECRET))


def raw_log(stack, run):
    return b"".join(each.raw for each in stack.store.events(run.run_id)).decode()


def test_without_content_nothing_that_was_said_is_in_the_log(stack, record):
    with record() as run:
        record_everything(run)
    with record(content=False) as silent:
        record_everything(silent)
    assert SECRET in raw_log(stack, run)
    assert SECRET not in raw_log(stack, silent)
    kept, left = recorded(stack.store, run.run_id), recorded(stack.store, silent.run_id)
    assert left.types == kept.types
    assert left.state.total_usage == kept.state.total_usage
    assert left.state.last_error == "LookupError"
    assert [each["call_id"] for each in left.of("ToolExecutionFinished")] == ["c1", "c2"]
    assert left.of("agent.ModelRequested")[0]["message_count"] == 1
    assert all(each["content_bytes"] > 0 for each in left.of("TextDelta"))


@pytest.mark.parametrize(("said", "is_recorded"), [("false", False), ("FALSE", False), ("true", True), (None, True)])
def test_the_environment_says_whether_content_is_recorded(stack, record, monkeypatch, said, is_recorded):
    if said is not None:
        monkeypatch.setenv("BEHEST_RECORD_CONTENT", said)
    with record() as run:
        run.model_call().text(SECRET)
    assert (SECRET in raw_log(stack, run)) is is_recorded


def test_what_the_recorder_is_told_comes_before_the_environment(stack, record, monkeypatch):
    monkeypatch.setenv("BEHEST_RECORD_CONTENT", "false")
    with record(content=True) as run:
        run.model_call().text(SECRET)
    assert SECRET in raw_log(stack, run)


def test_another_word_in_the_environment_is_refused(record, monkeypatch):
    monkeypatch.setenv("BEHEST_RECORD_CONTENT", "maybe")
    with pytest.raises(ValueError, match="BEHEST_RECORD_CONTENT is 'maybe'; write true or false"):
        record()


def test_what_redacts_sees_what_the_model_was_sent(stack, record):
    seen = []
    with record(redact=lambda event: seen.append(event["type"]) or event) as run:
        run.model_call(messages=[HI]).finished(text="3")
    assert seen == recorded(stack.store, run.run_id).types


@pytest.mark.parametrize("line", LINES, ids=lambda line: msgspec.json.decode(line)["type"])
def test_every_type_is_an_event_still_without_its_content(line):
    event = msgspec.json.decode(line)
    bare = without_content(msgspec.json.decode(line))
    core_decoder.decode_one(msgspec.json.encode(bare))
    assert (bare == event) is (event["type"] not in CONTENT)
