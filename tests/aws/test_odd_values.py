import asyncio
import json
from random import Random

import pytest

from behest_core.errors import InvalidValueError, StateTooLargeError
from behest_core.model.agent_events import Paused
from behest_core.model.events import (
    AssistantMessageCommitted,
    Event,
    RunFailed,
    RunStarted,
    TextDelta,
    ToolCallDelta,
    ToolExecutionResult,
)
from behest_core.model.limits import EVENT_BYTES
from behest_core.model.state import RunStatus
from behest_core.recording import outbox as outbox_module
from behest_core.testing.recorded import recorded, refuse_writes
from tests.builders import ask, at, tell

HIGH, LOW = "\ud83d", "\ude00"
ROCKET = "\U0001f680"


@pytest.fixture
def record(stack):
    """Begin to record a run whose commits wait for a flush."""
    return lambda **how: stack.store.recorder(provider="openai", model="gpt-4o", **{"interval": 3600, **how})


@pytest.fixture
def told(stack, record):
    """Record a run in which something happens; return it as it lies in the log."""

    def tell(act=None, **how):
        with record(**how) as run:
            if act is not None:
                act(run)
        return recorded(stack.store, run.run_id)

    return tell


def deltas(run):
    return [each["delta"] for each in run.events if "delta" in each]


# ---------------------------------------------------------------- surrogates


def test_the_agents_exception_wins_and_ends_the_run_though_it_has_a_lone_surrogate(stack, record):
    with pytest.raises(LookupError) as caught, record() as run:
        raise LookupError("no city \ud800")
    assert caught.value.args == ("no city \ud800",)
    state = recorded(stack.store, run.run_id).state
    assert (state.status, state.last_error) == (RunStatus.FAILED, "LookupError: no city \ufffd")


def test_the_agents_exception_wins_whatever_goes_wrong_while_its_end_is_recorded(stack, record, caplog):
    def redact(event):
        return {"RunStarted": event}[event["type"]]

    with pytest.raises(LookupError), record(redact=redact) as run:
        raise LookupError("no city")
    state = recorded(stack.store, run.run_id).state
    assert (state.status, state.last_error) == (RunStatus.FAILED, "(could not be recorded)")
    assert "KeyError" in caplog.text


def test_a_lone_surrogate_is_replaced_wherever_it_is(told):
    def act(run):
        ask(run, "c\ud800", "t", {"a\ud800": ["\udc00", {"b": HIGH + LOW}]})
        run.tool_started("c\ud800", "t\ud800")
        run.tool_finished("c\ud800", "t\ud800", ToolExecutionResult.failed("no \ud800"))
        run.emit({"type": "some.Thing", "text": "\ud800", "\ud800": 1})
        run.completed("stop\ud800")

    run = told(act)
    assert run.events[1]["call"] == {
        "id": "c\ufffd",
        "name": "t",
        "arguments": {"a\ufffd": ["\ufffd", {"b": "\U0001f600"}]},
    }
    assert run.events[3]["result"] == {"Failure": {"error": "no \ufffd"}}
    assert (run.events[4]["text"], run.events[4]["\ufffd"]) == ("\ufffd", 1)
    assert run.types[-2:] == ["some.Thing", "RunCompleted"]
    assert run.state.last_finish is not None


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Hi " + HIGH, LOW + "!"], ["Hi ", "\U0001f600!"]),
        ([HIGH, LOW], ["\U0001f600"]),
        ([HIGH, LOW + HIGH, LOW], ["\U0001f600", "\U0001f600"]),
        ([HIGH, "a"], ["\ufffda"]),
        ([HIGH, HIGH, LOW], ["\ufffd", "\U0001f600"]),
        ([LOW, "a"], ["\ufffd", "a"]),
        (["a" + HIGH], ["a", "\ufffd"]),
        ([HIGH + LOW], ["\U0001f600"]),
    ],
    ids=ascii,
)
def test_halves_that_meet_are_joined_and_those_that_are_alone_are_replaced(told, pieces, expected):
    run = told(lambda run: [tell(run, piece) for piece in pieces])
    assert deltas(run) == expected
    assert run.types[-1] == "RunCompleted"


def test_what_comes_between_two_halves_keeps_its_place(told):
    def act(run):
        tell(run, "a" + HIGH)
        run.tool_started("c", "t")
        run.emit(ToolCallDelta(call_id="c", delta=HIGH, timestamp=at(1)))
        tell(run, LOW + "b")
        run.emit({"type": "ToolCallDelta", "call_id": "c", "delta": LOW})
        run.tool_finished("c", "t", ToolExecutionResult.ok(1))

    run = told(act)
    assert deltas(run) == ["a", "\U0001f600b", "\U0001f600"]
    assert [each["type"] for each in run.events[1:-1]] == [
        "TextDelta",
        "ToolExecutionStarted",
        "TextDelta",
        "ToolCallDelta",
        "ToolExecutionFinished",
    ]


def test_halves_of_two_model_calls_at_once_are_not_mixed(told):
    def act(run):
        for call, piece in [("1", "a" + HIGH), ("2", "b" + HIGH), ("1", LOW), ("2", "c")]:
            run.emit({"type": "TextDelta", "delta": piece, "model_call_id": call})
        run.emit({"type": "TextDelta", "delta": HIGH, "model_call_id": "1"})
        run.emit({"type": "AssistantMessageCommitted", "message_id": "m", "model_call_id": "2"})
        run.emit({"type": "TextDelta", "delta": LOW, "model_call_id": "1"})

    run = told(act)
    texts = {
        call: "".join(each["delta"] for each in run.of("TextDelta") if each["model_call_id"] == call) for call in "12"
    }
    assert texts == {"1": "a\U0001f600\U0001f600", "2": "b\ufffdc"}


def test_a_half_that_stays_alone_is_in_the_text_that_it_ended(told):
    def act(run):
        tell(run, "a" + HIGH)
        run.emit(AssistantMessageCommitted(message_id="m", timestamp=at(1)))
        run.model_call()
        tell(run, "b")

    run = told(act)
    kinds = ["TextDelta", "TextDelta", "AssistantMessageCommitted", "ModelStarted", "TextDelta"]
    assert run.types[1:-1] == kinds
    assert deltas(run) == ["a", "\ufffd", "b"]


def test_a_half_that_stays_alone_is_written_though_the_run_has_no_end(stack, record):
    run = record(on_error="warn").start()
    tell(run, HIGH)
    run.close()
    assert deltas(recorded(stack.store, run.run_id)) == ["\ufffd"]


def test_a_text_that_is_streamed_in_any_pieces_of_utf_16_is_the_same_text(told):
    text = f"Hi {ROCKET}{ROCKET} é \u65e5 {ROCKET}"
    units = [
        text.encode("utf-16-le")[n : n + 2].decode("utf-16-le", "surrogatepass") for n in range(0, 2 * len(text) + 6, 2)
    ]
    for seed in range(20):
        draw = Random(seed)
        pieces, rest = [], list(units)
        while rest:
            cut = draw.randint(1, 4)
            pieces.append("".join(rest[:cut]))
            rest = rest[cut:]
        assert told(lambda run, pieces=pieces: [tell(run, piece) for piece in pieces]).text == text


# ---------------------------------------------------------------- values that are no JSON


class Odd:
    def __repr__(self):
        return "<Odd>"


def test_only_the_odd_value_becomes_text(told):
    run = told(lambda run: ask(run, "c", "t", {"a": 1, "odd": Odd(), "none": None, 5: {("x", 1): [None]}}))
    assert run.events[1]["call"]["arguments"] == {"a": 1, "odd": "<Odd>", "none": None, "5": {"('x', 1)": [None]}}


def test_what_nests_too_deep_becomes_text_there(told):
    deep = "end"
    for _ in range(600):
        deep = [deep]
    run = told(lambda run: run.tool_finished("c", "t", ToolExecutionResult.ok({"deep": deep, "a": 1}), 1))
    output = run.events[1]["result"]["Success"]["output"]
    assert output["a"] == 1
    inner = output["deep"]
    while isinstance(inner, list):
        inner = inner[0]
    assert json.loads(inner)
    assert "end" in inner


# ---------------------------------------------------------------- metadata


def nested(levels):
    value = "end"
    for _ in range(levels):
        value = {"a": value}
    return value


ODD_METADATA = [
    ({"": 1, "kept": 2}, {"(empty)": 1, "kept": 2}, "metadata (an empty key)"),
    ({"tiny": 1e-200, "kept": 2}, {"tiny": "1e-200", "kept": 2}, "metadata.tiny (a number, as text)"),
    ({"long": [1, 10**39 + 1]}, {"long": [1, str(10**39 + 1)]}, "metadata.long[1] (a number, as text)"),
    ({"nan": float("nan")}, {"nan": "nan"}, "metadata.nan (a number, as text)"),
    ({"text": "a\ud800"}, {"text": "a\ufffd"}, "metadata.text (a lone surrogate)"),
    ({"a\ud800": {"b": 1}}, {"a\ufffd": {"b": 1}}, "metadata, a key (a lone surrogate)"),
]


@pytest.mark.parametrize(("odd", "stored", "change"), ODD_METADATA, ids=range(len(ODD_METADATA)))
def test_odd_metadata_is_stored_as_near_as_can_be_and_the_log_says_where(told, caplog, odd, stored, change):
    run = told(metadata=odd)
    assert run.record.metadata == run.state.metadata == stored
    assert f"to store it: {change}" in caplog.text


def test_metadata_that_nests_too_deep_becomes_text_there(told, caplog):
    run = told(metadata=nested(40))
    inner, levels = run.record.metadata, 0
    while isinstance(inner, dict):
        inner, levels = inner["a"], levels + 1
    assert (levels, json.loads(inner)) == (30, nested(10))
    assert ".a.a (nested too deep, as text)" in caplog.text


def test_metadata_beyond_its_share_is_cut_where_it_is_largest(told, caplog):
    run = told(metadata={"small": 1, "much": "x" * 200_000, "list": ["secret"] * 1_000})
    assert run.record.metadata["small"] == 1
    assert run.record.metadata["much"].endswith(" (cut, of 200000 bytes)")
    assert len(run.record.metadata["much"]) > 30_000
    assert run.record.metadata["list"] == ["secret"] * 1_000
    assert "metadata.much (cut)" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("much", ["x" * 200_000, ["x"] * 200_000, {str(n): n for n in range(20_000)}], ids=type)
def test_metadata_that_has_no_largest_part_is_cut_as_a_whole(told, much):
    run = told(metadata=much)
    assert "cut" in str(run.record.metadata)[-80:] or run.record.metadata["bytes"] > 200_000
    assert run.state.status is RunStatus.COMPLETED


def test_objects_in_metadata_become_what_they_are_told_as_and_nothing_is_said_of_that(told, caplog):
    run = told(metadata={"odd": Odd(), "pair": (1, 2)})
    assert run.record.metadata == {"odd": "<Odd>", "pair": [1, 2]}
    assert caplog.text == ""


def test_a_long_key_is_shortened_in_what_is_said_of_it(told, caplog):
    told(metadata={"k\n" + "x" * 500: 1e-200})
    assert "metadata.k\\n" + "x" * 38 + "… (a number" in caplog.text


def test_names_of_model_and_provider_leave_room_in_the_state(stack, caplog):
    with stack.store.recorder(provider="p" * 200_000, model="m\ud800", client_request_id="c" * 500_000) as run:
        run.model_call()
    state = recorded(stack.store, run.run_id).state
    assert state.provider == "p" * (10_000 - 23) + " (cut, of 200000 bytes)"
    assert (state.model, state.status) == ("m\ufffd", RunStatus.COMPLETED)
    assert "provider (cut); model (a lone surrogate); client_request_id (cut)" in caplog.text


@pytest.mark.parametrize("odd", [each for each, _, _ in ODD_METADATA] + [nested(40)], ids=range(len(ODD_METADATA) + 1))
def test_create_run_refuses_what_is_not_stored_exactly(stack, odd):
    with pytest.raises(InvalidValueError):
        stack.store.create_run(provider="p", model="m", metadata=odd)


def test_create_run_and_append_refuse_what_is_too_large_or_has_a_lone_surrogate(stack):
    with pytest.raises(StateTooLargeError):
        stack.store.create_run(provider="p", model="m", metadata={"much": "x" * 200_000})
    run = stack.store.create_run(provider="p", model="m")
    for text in ("\ud800", "x" * 500_000):
        with pytest.raises(InvalidValueError):
            stack.store.append(run.run_id, [TextDelta(delta=text, timestamp=at(1))])


# ---------------------------------------------------------------- too large


@pytest.mark.parametrize("character", ["x", "é", ROCKET, '"', "\x01"], ids=ascii)
def test_a_text_that_fits_no_item_is_several_deltas(told, character):
    text = character * 500_000
    run = told(lambda run: tell(run, text))
    assert run.text == text
    assert len(run.of("TextDelta")) > 1
    assert all(each["timestamp"] == run.of("TextDelta")[0]["timestamp"] for each in run.of("TextDelta"))


def test_pieces_of_arguments_are_split_as_text_is_and_keep_their_fields(told):
    text = "x" * 500_000
    run = told(lambda run: run.emit({"type": "ToolCallDelta", "call_id": "c", "delta": text, "step_id": "s"}))
    assert "".join(deltas(run)) == text
    assert {(each["call_id"], each["step_id"]) for each in run.of("ToolCallDelta")} == {("c", "s")}


def test_the_output_of_a_tool_that_fits_no_item_is_cut_and_says_so(told):
    run = told(lambda run: run.tool_finished("c", "t", ToolExecutionResult.ok(["word"] * 100_000), 1))
    output = run.of("ToolExecutionFinished")[0]["result"]["Success"]["output"]
    assert output["bytes"] == 700_001
    assert output["cut"].startswith('["word","word",')
    assert len(output["cut"]) > EVENT_BYTES / 2


def test_the_arguments_of_a_call_that_fit_no_item_are_cut_and_say_so(told):
    run = told(lambda run: ask(run, "c", "t", {"text": '"' * 500_000}))
    arguments = run.of("ToolCallCompleted")[0]["call"]["arguments"]
    assert arguments["bytes"] == 1_000_011
    assert arguments["cut"].startswith('{"text":"\\"\\"')


def test_an_error_of_a_tool_that_fits_no_item_is_cut_and_says_so(told):
    run = told(lambda run: run.tool_finished("c", "t", ToolExecutionResult.failed("\n" * 500_000), 1))
    assert run.of("ToolExecutionFinished")[0]["result"]["Failure"]["error"].endswith("\n (cut, of 500000 bytes)")


@pytest.mark.parametrize(
    "say", [lambda run, text: run.failed(text), lambda run, text: run.emit(RunFailed(error=text, timestamp=at(1)))]
)
def test_what_a_run_failed_with_leaves_room_in_the_state(told, say):
    run = told(lambda run: say(run, "é" * 200_000))
    assert run.state.last_error == "é" * (5_000 - 12) + " (cut, of 400000 bytes)"
    assert run.state.status is RunStatus.FAILED


def test_a_finish_reason_leaves_room_in_the_state_too(told):
    run = told(lambda run: run.completed("x" * 200_000))
    assert run.state.status is RunStatus.COMPLETED
    assert "(cut, of 200000 bytes)" in str(run.state.last_finish)


def test_an_event_of_a_plugin_that_fits_no_item_has_its_largest_fields_cut(told):
    run = told(lambda run: run.emit({"type": "some.Report", "id": 7, "text": "x" * 500_000, "rows": [[1, 2]] * 60_000}))
    report = run.of("some.Report")[0]
    assert (report["id"], report["rows"]["bytes"] if isinstance(report["rows"], dict) else len(report["rows"])) in [
        (7, 360_001),
        (7, 60_000),
    ]
    assert report["text"].endswith("(cut, of 500000 bytes)")


def test_fields_of_a_plugins_event_may_have_any_names(told):
    run = told(lambda run: run.emit({"type": "some.Report", "call": "x" * 500_000, "result": {"a": ["x"] * 200_000}}))
    assert run.of("some.Report")[0]["call"].endswith("(cut, of 500000 bytes)")


class Listed(Event, tag="some.Listed"):
    names: list[str]


class Noted(Event, tag="some.Noted"):
    note: str


def test_an_event_of_a_plugins_class_is_cut_where_its_class_allows_it(stack, record):
    with record(on_error="warn") as run:
        run.emit(Noted(note="x" * 500_000, timestamp=at(1)))
        run.emit(Listed(names=["x"] * 200_000, timestamp=at(1)))
    told = recorded(stack.store, run.run_id)
    assert told.types == ["RunStarted", "some.Noted", "agent.RecordingGap", "RunCompleted"]
    assert told.events[1]["note"].endswith("(cut, of 500000 bytes)")
    assert told.events[2]["dropped"] == {"EventTooLargeError": 1}


def test_what_a_redaction_makes_of_an_event_may_be_odd_too(told):
    def redact(event):
        return {**event, "delta": event["delta"][:4] + "\ud83d"} if "delta" in event else event

    assert told(lambda run: tell(run, "Hi, Alice"), redact=redact).text == "Hi, \ufffd"


def test_nothing_that_fits_an_item_is_cut_or_split(told):
    text = "x" * (EVENT_BYTES - 200)

    def act(run):
        tell(run, text)
        run.tool_finished("c", "t", ToolExecutionResult.ok(text), 1)
        run.emit({"type": "some.Report", "text": text})

    run = told(act)
    assert (deltas(run), run.of("some.Report")[0]["text"]) == ([text], text)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": text}}


# ---------------------------------------------------------------- exceptions


def test_the_causes_of_a_failure_are_in_the_log(stack, record):
    with pytest.raises(ExceptionGroup), record() as run:
        raise ExceptionGroup("both", [ValueError("a"), KeyError("b")]) from OSError("no network")
    assert recorded(stack.store, run.run_id).state.last_error == (
        "ExceptionGroup: both (2 sub-exceptions)\n  member: ValueError: a\n  member: KeyError: 'b'\n"
        "caused by OSError: no network"
    )


# ---------------------------------------------------------------- tools without an end


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (asyncio.CancelledError(), "cancelled"),
        (LookupError("no city"), "the run failed: LookupError: no city"),
        (None, "the run ended"),
    ],
)
def test_each_tool_that_began_has_an_end_when_the_run_has(stack, record, error, reason):
    try:
        with record() as run:
            run.tool_started("c1", "a")
            run.emit({"type": "ToolExecutionStarted", "call_id": "c2", "tool_name": "b"})
            run.tool_started("c3", "c")
            run.tool_finished("c3", "c", ToolExecutionResult.ok(1))
            if error is not None:
                raise error
    except (asyncio.CancelledError, LookupError):
        pass
    ends = recorded(stack.store, run.run_id).events[-3:-1]
    assert [(each["call_id"], each["tool_name"], each["result"]) for each in ends] == [
        ("c1", "a", {"Failure": {"error": reason}}),
        ("c2", "b", {"Failure": {"error": reason}}),
    ]


def test_a_tool_that_ends_after_the_run_has_ended_it_is_nothing_new(stack, record):
    with record() as run:
        run.tool_started("c", "t")
        run.cancelled()
        run.tool_finished("c", "t", ToolExecutionResult.ok("late"))
    assert recorded(stack.store, run.run_id).types == [
        "RunStarted",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "RunCancelled",
    ]


def test_a_run_that_starts_anew_ends_its_own_tools_again(told):
    def act(run):
        run.tool_started("c", "t")
        run.cancelled()
        run.emit(RunStarted(session_id="s", provider="p", model="m", timestamp=at(1)))
        run.tool_started("c", "t")

    assert told(act).types.count("ToolExecutionFinished") == 2


def test_the_ends_of_tools_go_through_the_redaction(told):
    def redact(event):
        return {**event, "tool_name": "***"} if "tool_name" in event else event

    run = told(lambda run: run.tool_started("c", "secret"), redact=redact)
    assert [each["tool_name"] for each in run.events if "tool_name" in each] == ["***", "***"]


# ---------------------------------------------------------------- what was dropped


def test_what_was_dropped_is_told_right_before_the_end(stack, record, monkeypatch):
    with record(on_error="warn") as run:
        run.flush()
        monkeypatch.setattr(outbox_module, "_BUFFER_BYTES", 400)
        for _ in range(5):
            tell(run, "x" * 50)
        tell(run, 5)
    told = recorded(stack.store, run.run_id)
    assert told.types == ["RunStarted", "TextDelta", "agent.RecordingGap", "RunCompleted"]
    assert told.events[2]["dropped"] == {"BufferFull": 4, "InvalidValueError": 1}
    assert told.events[2]["first_at"] <= told.events[2]["last_at"] <= told.events[2]["timestamp"]
    assert told.state.status is RunStatus.COMPLETED


def test_an_end_has_room_in_a_full_buffer(stack, record, monkeypatch):
    with record(on_error="warn") as run:
        run.flush()
        monkeypatch.setattr(outbox_module, "_BUFFER_BYTES", 0)
    assert recorded(stack.store, run.run_id).types == ["RunStarted", "RunCompleted"]


def test_what_is_dropped_while_the_end_is_written_is_told_behind_it(stack, record, monkeypatch):
    monkeypatch.setattr(outbox_module, "_FIRST_PAUSE", 0.0)
    with record(on_error="warn", give_up_after=0.0) as run:
        run.flush()
        tell(run, "lost")
        back = refuse_writes(stack)
        run.flush()
        run.completed()
        run.flush()
        back()
    told = recorded(stack.store, run.run_id)
    assert told.types == ["RunStarted", "agent.RecordingGap"]
    assert sum(told.events[-1]["dropped"].values()) == 2  # the text and the end


def test_a_gap_that_cannot_be_told_is_not_tried_for_ever(stack, record, monkeypatch, caplog):
    monkeypatch.setattr(outbox_module, "_FIRST_PAUSE", 0.0)
    with record(on_error="warn", give_up_after=0.0) as run:
        run.flush()
        back = refuse_writes(stack)
        tell(run, "lost")
    run.flush(10)
    assert "dropped 0 events" not in caplog.text
    back()
    assert recorded(stack.store, run.run_id).types == ["RunStarted"]


def test_where_nothing_was_dropped_nothing_is_told(told):
    assert told(lambda run: tell(run, "Hi")).types == ["RunStarted", "TextDelta", "RunCompleted"]


# ---------------------------------------------------------------- model calls


def test_what_a_model_is_sent_may_be_odd(told):
    def act(run):
        call = run.model_call(
            messages=[{"role": "user", "content": "a\ud800"}, {"image": Odd()}],
            system_instructions="\ud800",
            tool_definitions=[{"default": Odd()}],
            parameters={"stop": "\ud800"},
        )
        call.text("a" + HIGH)
        call.text(LOW)
        call.finished("stop", reasoning="\ud800")

    run = told(act, on_error="warn")
    [sent] = run.of("agent.ModelRequested")
    assert sent["messages"] == [{"role": "user", "content": "a\ufffd"}, {"image": "<Odd>"}]
    assert (sent["system_instructions"], sent["tool_definitions"]) == ("\ufffd", [{"default": "<Odd>"}])
    assert sent["parameters"] == {"stop": "\ufffd"}
    assert run.text == "a\U0001f600"
    assert run.of("agent.ModelFinished")[0]["reasoning"] == "\ufffd"


def test_a_half_that_ends_a_model_call_stays_alone_before_the_end_of_that_call(told):
    def act(run):
        one, two = run.model_call(), run.model_call()
        one.text(HIGH)
        two.text(HIGH)
        one.finished("stop")
        two.text(LOW)

    run = told(act)
    assert run.types[3:6] == ["TextDelta", "agent.ModelFinished", "TextDelta"]
    assert deltas(run) == ["\ufffd", "\U0001f600"]


def test_a_message_that_fits_no_item_is_cut_and_the_others_are_kept(told):
    messages = [{"content": "x" * 500_000}, {"content": "y"}]
    run = told(lambda run: run.model_call(messages=messages))
    sent = [each for event in run.of("agent.ModelRequested") for each in event["messages"]]
    assert (sent[0]["bytes"], sent[1]) == (500_014, {"content": "y"})


def test_an_answer_that_was_not_streamed_and_fits_no_item_is_several_deltas(told):
    text = "x" * 500_000
    run = told(lambda run: run.model_call().finished("stop", text=text))
    assert run.text == text
    assert "text" not in run.of("agent.ModelFinished")[0]


def test_without_content_the_ends_of_tools_have_none_either(told):
    def act(run):
        run.tool_started("c", "t")
        run.failed(LookupError("secret"))

    run = told(act, content=False)
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": ""}}
    assert "secret" not in json.dumps(run.events)


def test_a_gap_is_told_before_a_pause_so_that_a_pause_is_the_last_thing(stack, record):
    with record(on_error="warn") as run:
        tell(run, 5)
        run.emit(Paused(reason="approval", pending=[], timestamp=at(1)))
        assert run.flush() == 3
    assert recorded(stack.store, run.run_id).types[1:3] == ["agent.RecordingGap", "agent.Paused"]


def test_what_comes_behind_a_gap_is_written_without_a_flush(stack, record):
    with record(on_error="warn", interval=0.0) as run:
        run.flush()
        tell(run, 5)
        run.emit(Paused(reason="approval", pending=[], timestamp=at(1)))
        writer = run._outbox
        with writer._lock:
            assert writer._changed.wait_for(lambda: not writer._buffer, timeout=10)
        assert recorded(stack.store, run.run_id).types == ["RunStarted", "agent.RecordingGap", "agent.Paused"]
