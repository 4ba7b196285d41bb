"""From a log to a conversation, and to lines that a person reads."""

from __future__ import annotations

import json

import msgspec
import pytest

from behest_core.model.agent_events import (
    ModelFailed,
    ModelFinished,
    ModelRequested,
    Paused,
    Resumed,
    StepFinished,
    StepStarted,
    TextDiscarded,
    ToolRefused,
)
from behest_core.model.events import (
    ModelStarted,
    RunFailed,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    ToolExecutionFinished,
    ToolExecutionResult,
    ToolExecutionStarted,
    UsageRecorded,
)
from behest_core.model.state import TokenUsage
from behest_core.transcript.entries import Call, Tool, Transcript
from behest_core.transcript.lines import lines
from behest_core.transcript.messages import Said, said
from behest_core.transcript.reading import DEEPEST, TranscriptReader, read_transcript
from behest_core.wording import duration_text
from tests.builders import RUN, at, model_started, run_completed, run_record, run_started, text_delta, whole_run


def started(call, *, step=msgspec.UNSET, second=1):
    return ModelStarted(provider="p", model="m", iteration=1, model_call_id=call, step_id=step, timestamp=at(second))


def requested(call, messages, **what):
    what = {"message_format": "openai", "message_count": len(messages), "timestamp": at(1), **what}
    return ModelRequested(model_call_id=call, messages=messages, **what)


def wrote(call, text, step=msgspec.UNSET):
    return TextDelta(delta=text, model_call_id=call, step_id=step, timestamp=at(2))


def asked(call, call_id, name="weather", arguments=None):
    return ToolCallCompleted(
        call=ToolCall(call_id, name, arguments or {"city": "Oslo"}), model_call_id=call, timestamp=at(2)
    )


def tool_started(call_id, call=msgspec.UNSET, name="weather"):
    return ToolExecutionStarted(call_id=call_id, tool_name=name, model_call_id=call, timestamp=at(3))


def tool_ended(call_id, result, call=msgspec.UNSET, name="weather"):
    if not isinstance(result, ToolExecutionResult):
        result = ToolExecutionResult.ok(result)
    return ToolExecutionFinished(
        call_id=call_id, tool_name=name, result=result, duration_ms=42, model_call_id=call, timestamp=at(4)
    )


def finished(call, **what):
    return ModelFinished(model_call_id=call, timestamp=at(5), **{"duration_ms": 800, **what})


def used(call, given, written, **what):
    return UsageRecorded(usage=TokenUsage(given, written), model_call_id=call, timestamp=at(5), **what)


def transcript_of(*events, price=None):
    return read_transcript(RUN, run_record(), events, price)


def text_of(transcript):
    """Return the lines behind the first, as the command lays them out."""
    return ["  " * each.depth + (f"{each.name}: " if each.name else "") + each.text for each in lines(transcript)][1:]


USER = {"role": "user", "content": "How warm is it in Oslo?"}


# ---------------------------------------------------------------- a run


def test_a_run_reads_as_the_conversation_that_took_place():
    transcript = transcript_of(
        run_started(0),
        started("c1"),
        requested("c1", [USER], system_instructions="Be brief.", system_instructions_hash="h"),
        wrote("c1", "Let me "),
        wrote("c1", "see."),
        asked("c1", "t1"),
        asked("c1", "t2", "clock", {"zone": "Oslo"}),
        used("c1", 1200, 40),
        finished("c1", finish_reason="tool_calls"),
        tool_started("t1"),
        tool_started("t2", name="clock"),
        tool_ended("t2", ToolExecutionResult.failed("LookupError: no clock"), name="clock"),
        tool_ended("t1", {"temp": 3}),
        started("c2"),
        requested("c2", [{"role": "tool", "tool_call_id": "t1", "content": '{"temp":3}'}], follows="c1", kept=1),
        wrote("c2", "3 degrees."),
        used("c2", 1260, 12),
        finished("c2", duration_ms=1500, model="m-2024"),
        run_completed(9),
        price=lambda _, model, usage: 1_000_000 * usage.usage.output_tokens if model == "m" else None,
    )
    assert text_of(transcript) == [
        "system: Be brief.",
        "user: How warm is it in Oslo?",
        "assistant: Let me see.",
        '  tool: weather {"city":"Oslo"}',
        '  gave: {"temp":3}',
        "  after 42 ms",
        '  tool: clock {"zone":"Oslo"}',
        "  failed: LookupError: no clock",
        "  after 42 ms, alongside",
        "p/m, 1,200 tokens in, 40 out, $0.04, 800 ms",
        "assistant: 3 degrees.",
        "p/m-2024, 1,260 tokens in, 12 out, $0.012, 1.5 s",
        "completed: stop",
        "9.0 s, 2,460 tokens in, 52 out, $0.052",
    ]


def test_texts_of_calls_at_the_same_time_are_each_their_own():
    transcript = transcript_of(
        run_started(0),
        started("a"),
        started("b"),
        *(
            wrote(call, text)
            for one, other in zip("Hello", "World", strict=True)
            for call, text in (("a", one), ("b", other))
        ),
        finished("b"),
        finished("a"),
    )
    calls = [entry for entry in transcript.entries if isinstance(entry, Call)]
    assert [(call.text, call.alongside) for call in calls] == [("Hello", False), ("World", True)]


def test_the_seeds_own_logs_without_ids_are_read_too():
    transcript = read_transcript(RUN, run_record(), whole_run())
    calls = [entry for entry in transcript.entries if isinstance(entry, Call)]
    assert "".join(call.text for call in calls) == "".join(
        event.delta for event in whole_run() if isinstance(event, TextDelta)
    )
    assert transcript.ended_at is not None
    assert all(entry.is_over for entry in transcript.entries)


def test_text_comes_from_the_end_of_a_call_where_it_did_not_come_in_pieces():
    transcript = transcript_of(started("c"), finished("c", text="3 degrees.", reasoning="It is\ncold."))
    assert text_of(transcript)[:3] == ["reasoning: It is", "cold.", "assistant: 3 degrees."]


def test_what_was_thrown_away_is_told_as_such():
    transcript = transcript_of(
        started("c"),
        wrote("c", "3 de"),
        TextDiscarded(model_call_id="c", reason="broke off", timestamp=at(3)),
        wrote("c", "3 degrees."),
        finished("c"),
    )
    assert text_of(transcript)[:2] == ["discarded: 3 de", "assistant: 3 degrees."]


def test_a_call_that_failed_says_why():
    failed = ModelFailed(model_call_id="c", error_type="E", error="E: overloaded", timestamp=at(3))
    transcript = transcript_of(started("c"), failed, RunFailed(error="E: overloaded", timestamp=at(4)))
    assert text_of(transcript)[:3] == ["failed: E: overloaded", "p/m", "failed: E: overloaded"]


def test_tools_of_one_id_are_told_apart_by_their_call_and_by_their_order():
    transcript = transcript_of(
        started("a"),
        asked("a", "t", arguments={"city": "Oslo"}),
        asked("a", "t", arguments={"city": "Rome"}),
        started("b"),
        asked("b", "t", arguments={"city": "Bern"}),
        tool_started("t", "b"),
        tool_started("t", "a"),
        tool_started("t", "a"),
        tool_ended("t", "cold", "a"),
        tool_ended("t", "warm", "a"),
        tool_ended("t", "mild", "b"),
    )
    tools = [tool for call in transcript.entries if isinstance(call, Call) for tool in call.tools]
    assert [(tool.arguments["city"], tool.result) for tool in tools] == [
        ("Oslo", "cold"),
        ("Rome", "warm"),
        ("Bern", "mild"),
    ]


def test_a_tool_that_was_refused_or_never_ran_says_so():
    transcript = transcript_of(
        started("c"),
        asked("c", "t1"),
        asked("c", "t2"),
        asked("c", "t3"),
        ToolRefused(call_id="t1", tool_name="weather", reason="denied", timestamp=at(3)),
        tool_started("t3"),
        finished("c"),
        run_completed(9),
    )
    assert [line for line in text_of(transcript) if line.startswith("  ") and "tool" not in line] == [
        "  refused: denied",
        "  was not executed",
        "  no end is recorded",
    ]


def test_a_tool_that_no_model_asked_for_stands_by_itself():
    transcript = transcript_of(tool_started("t"), tool_ended("t", "3"))
    [tool] = transcript.entries
    assert isinstance(tool, Tool)
    assert text_of(transcript) == ["  tool: weather", "  gave: 3", "  after 42 ms"]


# ---------------------------------------------------------------- what a model was sent


def test_a_conversation_that_was_brought_along_is_counted_and_its_last_words_are_shown():
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, USER]
    transcript = transcript_of(started("c"), requested("c", before), finished("c"))
    assert text_of(transcript)[:2] == ["2 earlier messages", "user: How warm is it in Oslo?"]


def test_instructions_are_shown_again_only_where_they_change():
    transcript = transcript_of(
        started("a"),
        requested("a", [], system_instructions="A", system_instructions_hash="a"),
        finished("a"),
        started("b"),
        requested("b", [], system_instructions_hash="a"),
        finished("b"),
        started("c"),
        requested("c", [], system_instructions="C", system_instructions_hash="c"),
        finished("c"),
    )
    assert [line for line in text_of(transcript) if line.startswith("system")] == ["system: A", "system: C"]


@pytest.mark.parametrize(
    ("message_format", "message", "expected"),
    [
        ("openai", {"role": "developer", "content": "Be brief."}, [Said("system", "Be brief.")]),
        (
            "openai",
            {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {}}]},
            [Said("user", "Look:\n[image_url]")],
        ),
        ("openai", {"role": "tool", "tool_call_id": "t", "content": "3"}, [Said("tool", "3", "t")]),
        (
            "openai-responses",
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            [Said("user", "Hi")],
        ),
        ("openai-responses", {"type": "function_call", "call_id": "t", "name": "n", "arguments": "{}"}, []),
        (
            "openai-responses",
            {"type": "function_call_output", "call_id": "t", "output": "3"},
            [Said("tool", "3", "t")],
        ),
        (
            "strands",
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "t", "content": [{"text": "3"}, {"json": {"a": 1}}]}},
                    {"text": "and?"},
                    {"image": {"format": "png"}},
                ],
            },
            [Said("tool", '3\n{"a":1}', "t"), Said("user", "and?"), Said("user", "[image]")],
        ),
        ("langchain", {"type": "human", "content": "Hi"}, [Said("user", "Hi")]),
        ("langchain", {"type": "tool", "content": "3", "tool_call_id": "t"}, [Said("tool", "3", "t")]),
        (
            "langchain",
            {"lc": 1, "type": "constructor", "kwargs": {"type": "human", "content": "Hi"}},
            [Said("user", "Hi")],
        ),
        (
            "pydantic-ai",
            {
                "kind": "request",
                "parts": [
                    {"part_kind": "system-prompt", "content": "Be brief."},
                    {"part_kind": "user-prompt", "content": ["Look:", {"kind": "image-url", "type": "image"}]},
                    {"part_kind": "tool-return", "tool_call_id": "t", "content": {"a": 1}},
                    {"part_kind": "retry-prompt", "content": "again"},
                ],
            },
            [
                Said("system", "Be brief."),
                Said("user", "Look:\n[image]"),
                Said("tool", '{"a":1}', "t"),
                Said("user", "again"),
            ],
        ),
        (
            "pydantic-ai",
            {"kind": "response", "parts": [{"part_kind": "text", "content": "3"}]},
            [Said("assistant", "3")],
        ),
        ("ag-ui", {"id": "1", "role": "user", "content": "Hi"}, [Said("user", "Hi")]),
        (
            "otel",
            {
                "role": "user",
                "parts": [
                    {"type": "text", "content": "Hi"},
                    {"type": "tool_call_response", "id": "t", "response": "3"},
                ],
            },
            [Said("user", "Hi"), Said("tool", "3", "t")],
        ),
        ("strands", {"role": "user"}, [Said("user", '{"role":"user"}')]),
        ("unheard-of", {"role": "user", "content": "Hi"}, [Said("user", "Hi")]),
        ("unheard-of", ["Hi"], [Said("message", '["Hi"]')]),
    ],
)
def test_a_frameworks_message_is_read_by_its_form(message_format, message, expected):
    assert said(message_format, message) == expected


# ---------------------------------------------------------------- steps, pauses


def step(step_id, name, parent=msgspec.UNSET):
    return StepStarted(step_id=step_id, name=name, kind="agent", parent_step_id=parent, timestamp=at(1))


def step_ended(step_id, **how):
    return StepFinished(step_id=step_id, timestamp=at(6), **how)


def test_what_happens_in_a_step_stands_in_it_however_steps_mix():
    transcript = transcript_of(
        step("s", "team"),
        step("a", "researcher", "s"),
        step("b", "writer", "s"),
        started("ca", step="a"),
        started("cb", step="b"),
        wrote("ca", "facts", "a"),
        wrote("cb", "words", "b"),
        finished("cb", step_id="b"),
        finished("ca", step_id="a"),
        step_ended("b", duration_ms=1200),
        step_ended("a", error="E: lost"),
        step_ended("s"),
    )
    assert text_of(transcript) == [
        "step: team (agent)",
        "  step: researcher (agent)",
        "    assistant: facts",
        "    p/m, 800 ms",
        "  researcher failed: E: lost",
        "  step: writer (agent), alongside",
        "    assistant: words",
        "    p/m, 800 ms",
        "  writer ended after 1.2 s",
        "team ended",
    ]


def test_a_tool_that_runs_in_another_step_stands_with_the_call_that_asked_for_it():
    transcript = transcript_of(
        step("m", "model"),
        started("c", step="m"),
        asked("c", "t"),
        finished("c", step_id="m"),
        step_ended("m"),
        step("x", "tools"),
        tool_started("t"),
        tool_ended("t", "3"),
        step_ended("x"),
    )
    assert text_of(transcript) == [
        "step: model (agent)",
        '    tool: weather {"city":"Oslo"}',
        "    gave: 3",
        "    after 42 ms",
        "  p/m, 800 ms",
        "model ended",
        "step: tools (agent)",
        "tools ended",
    ]


def test_a_pause_and_its_answer_say_what_and_who():
    transcript = transcript_of(
        Paused(reason="approval", pending=["t1", "t2"], timestamp=at(1)),
        Resumed(answers={"t1": "granted", "t2": "denied"}, answering_run_id="r2", timestamp=at(2)),
        Resumed(answers={}, paused_run_id="r0", timestamp=at(2)),
    )
    assert text_of(transcript) == [
        "paused: approval: t1 t2",
        "answer: t1: granted, t2: denied (run r2 goes on)",
        "answer: answered (what run r0 waited for)",
    ]


# ---------------------------------------------------------------- as it happens, and as JSON


def test_the_lines_of_a_run_that_goes_on_are_the_beginning_of_those_it_will_have():
    events = [
        run_started(0),
        step("s", "team"),
        started("a", step="s"),
        started("b", step="s"),
        wrote("a", "facts", "s"),
        wrote("b", "words", "s"),
        asked("b", "t"),
        finished("b", step_id="s"),
        finished("a", step_id="s"),
        tool_started("t"),
        tool_ended("t", "3"),
        step_ended("s"),
        model_started(7),
        text_delta(8),
        run_completed(9),
    ]
    reader, before = TranscriptReader(RUN, run_record()), []
    for event in events:
        reader.add(event)
        now = list(lines(reader.transcript))
        assert now[: len(before)] == before
        before = now
    assert before == list(lines(transcript_of(*events)))
    assert before[-2].name == "completed"


def test_a_transcript_is_json_and_can_be_read_back():
    transcript = transcript_of(run_started(0), started("c"), requested("c", [USER]), asked("c", "t"), run_completed(9))
    written = msgspec.json.encode(transcript)
    assert [each["kind"] for each in json.loads(written)["entries"]] == ["message", "model_call", "end"]
    assert msgspec.json.decode(written, type=Transcript) == transcript


def test_tokens_of_no_known_call_count_for_the_run():
    transcript = transcript_of(used("nobody", 10, 5), price=lambda *_: None)
    assert (transcript.input_tokens, transcript.output_tokens, transcript.unpriced_calls) == (10, 5, 1)


def test_who_answered_is_who_is_asked_for_the_price():
    asked_for = []
    transcript_of(
        started("c"),
        used("c", 10, 5, provider="azure", model="m-2024"),
        used("c", 10, 5),
        price=lambda provider, model, _: asked_for.append((provider, model)),
    )
    assert asked_for == [("azure", "m-2024"), ("p", "m")]


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (185_000, "3 min 5 s")]
)
def test_a_time_span_is_written_as_people_read_it(milliseconds, text):
    assert duration_text(milliseconds) == text


# ---------------------------------------------------------------- where in the log


def test_each_part_says_which_events_told_of_it_and_until_when():
    reader = TranscriptReader(RUN, run_record())
    log = [
        started("c1", second=1),
        requested("c1", [USER]),
        wrote("c1", "Let me see."),
        asked("c1", "t1"),
        finished("c1"),
        tool_started("t1", "c1"),
        tool_ended("t1", {"temp": 3}, "c1"),
        run_completed(9),
    ]
    for sequence, event in enumerate(log, start=1):
        reader.add(event, sequence)
    message, call, end = reader.transcript.entries
    (tool,) = call.tools
    assert [(each.sequence, each.last_sequence) for each in (message, call, tool, end)] == [
        (2, 2),
        (1, 5),
        (4, 7),
        (8, 8),
    ]
    assert (call.started_at, call.first_token_at, call.ended_at) == (at(1), at(2), at(5))
    assert (tool.started_at, tool.ended_at) == (at(3), at(4))


def test_a_step_reaches_to_the_event_that_ends_it():
    reader = TranscriptReader(RUN, run_record())
    reader.add(StepStarted(step_id="s", name="plan", kind="node", timestamp=at(1)), 1)
    reader.add(StepFinished(step_id="s", timestamp=at(4)), 2)
    (step,) = reader.transcript.entries
    assert (step.sequence, step.last_sequence, step.ended_at) == (1, 2, at(4))


def test_steps_stand_in_each_other_to_a_depth_that_whoever_reads_them_can_go():
    reader = TranscriptReader(RUN, run_record())
    for number in range(2_000):
        within = f"s{number - 1}" if number else msgspec.UNSET
        reader.add(StepStarted(step_id=f"s{number}", name="n", kind="node", parent_step_id=within, timestamp=at(1)))
    reader.add(run_completed(9))
    steps, depth = reader.transcript.entries[:1], 0
    while steps:
        (last, depth) = (steps[-1], depth + 1)
        steps = last.entries
    assert depth == DEEPEST
    assert msgspec.json.decode(msgspec.json.encode(reader.transcript), type=Transcript) == reader.transcript
