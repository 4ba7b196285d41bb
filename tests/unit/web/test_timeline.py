"""A run drawn: what took how long, and what ran beside what."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from msgspec import UNSET

from behest_core.model.agent_events import (
    ModelFailed,
    ModelFinished,
    Paused,
    Resumed,
    StepFinished,
    StepStarted,
    ToolRefused,
)
from behest_core.model.events import (
    ModelStarted,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    ToolExecutionFinished,
    ToolExecutionResult,
    ToolExecutionStarted,
)
from behest_core.transcript.reading import TranscriptReader
from behest_core.web.timeline import svg, timeline
from tests.builders import RUN, at, run_completed, run_failed, run_record


def call(name, second, step=UNSET):
    return ModelStarted(provider="p", model="m", iteration=1, model_call_id=name, step_id=step, timestamp=at(second))


def said(name, second):
    return TextDelta(delta="Hi", model_call_id=name, timestamp=at(second))


def answered(name, second, **what):
    return ModelFinished(model_call_id=name, timestamp=at(second), **what)


def asks(name, tool, second=2):
    return ToolCallCompleted(call=ToolCall(tool, "weather", {}), model_call_id=name, timestamp=at(second))


def begins(name, tool, second):
    return ToolExecutionStarted(call_id=tool, tool_name="weather", model_call_id=name, timestamp=at(second))


def ends(name, tool, second, duration, error=None):
    result = ToolExecutionResult.ok(1) if error is None else ToolExecutionResult.failed(error)
    return ToolExecutionFinished(
        call_id=tool, tool_name="weather", result=result, duration_ms=duration, model_call_id=name, timestamp=at(second)
    )


def transcript_of(*events):
    reader = TranscriptReader(RUN, run_record())
    for sequence, event in enumerate(events, start=1):
        reader.add(event, sequence)
    return reader.transcript


def bars_of(*events, **how):
    """Return of each bar its kind, lane, beginning and end in seconds."""
    drawn = timeline(transcript_of(*events), **how)
    return [(bar.kind, bar.lane, bar.begins / 1000, bar.ends / 1000) for bar in drawn.bars]


# ---------------------------------------------------------------- bars


def test_calls_one_after_the_other_share_a_lane_and_their_tools_the_one_below():
    assert bars_of(
        call("c1", 1), asks("c1", "t1"), answered("c1", 3), begins("c1", "t1", 3), ends("c1", "t1", 9, 6_000),
        call("c2", 10), answered("c2", 19), run_completed(19),
    ) == [("call", 0, 0, 2), ("tool", 1, 2, 8), ("call", 0, 9, 18)]  # fmt: skip


def test_tools_side_by_side_have_lanes_of_their_own():
    assert bars_of(
        call("c", 1), asks("c", "t1"), asks("c", "t2"), answered("c", 2), begins("c", "t1", 2), begins("c", "t2", 3),
        ends("c", "t2", 9, 6_000), ends("c", "t1", 12, 10_000), run_completed(12),
    ) == [("call", 0, 0, 1), ("tool", 1, 1, 11), ("tool", 2, 2, 8)]  # fmt: skip


def test_calls_side_by_side_have_lanes_of_their_own():
    drawn = bars_of(call("a", 1), call("b", 2), answered("b", 8), answered("a", 9), run_completed(9))
    assert drawn == [("call", 0, 0, 8), ("call", 1, 1, 7)]


def test_what_is_in_a_step_stands_below_it():
    assert bars_of(
        StepStarted(step_id="s", name="plan", kind="node", timestamp=at(1)),
        StepStarted(step_id="i", name="look", kind="node", parent_step_id="s", timestamp=at(2)),
        call("c", 3, step="i"), answered("c", 6),
        StepFinished(step_id="i", timestamp=at(7)), StepFinished(step_id="s", timestamp=at(9)), run_completed(9),
    ) == [("step", 0, 0, 8), ("step", 1, 1, 6), ("call", 2, 2, 5)]  # fmt: skip


def test_a_part_takes_what_it_says_it_took():
    assert bars_of(call("c", 1), answered("c", 20, duration_ms=4_000), run_completed(20)) == [("call", 0, 0, 4)]


def test_until_its_first_token_a_call_is_drawn_lighter():
    spoke, told = (
        timeline(transcript_of(call("c", 1), said("c", 3), answered("c", 9, **what), run_completed(9)))
        for what in ({}, {"first_token_ms": 500})
    )
    assert (spoke.bars[0].first_token, told.bars[0].first_token) == (2_000, 500)
    assert 'class="first" x="0.000%" y="27" height="20" width="25.000%"' in svg(spoke)


def test_what_is_not_over_reaches_to_the_end():
    drawn = timeline(transcript_of(call("c", 1), asks("c", "t"), begins("c", "t", 3)), at(11))
    assert [(bar.kind, bar.ends, bar.is_over) for bar in drawn.bars] == [("call", 1_000, True), ("tool", 10_000, False)]
    (waiting,) = timeline(transcript_of(call("c", 1)), at(5)).bars
    assert (waiting.ends, waiting.is_over, waiting.label) == (4_000, False, "m 4.0 s …")


def test_a_pause_lasts_until_its_answer():
    paused = Paused(reason="approval", pending=["t"], timestamp=at(2))
    told = Resumed(answers={"t": "granted"}, timestamp=at(9))
    assert bars_of(paused, told, run_completed(10)) == [("pause", 0, 0, 7)]
    (open_pause,) = timeline(transcript_of(paused), at(30)).bars
    assert (open_pause.ends, open_pause.is_over) == (28_000, False)


def test_failures_are_told_by_a_sign_and_a_word_as_well_as_by_colour():
    drawn = timeline(
        transcript_of(
            call("c", 1), asks("c", "t1"), asks("c", "t2"), answered("c", 2), begins("c", "t1", 2),
            ends("c", "t1", 4, 2_000, "no such city"),
            ToolRefused(call_id="t2", tool_name="weather", reason="not today", model_call_id="c", timestamp=at(4)),
            call("d", 5), ModelFailed(model_call_id="d", error_type="E", error="E: 429", timestamp=at(6)), run_failed(7),
        )
    )  # fmt: skip
    failed = {bar.problem: bar.label[0] for bar in drawn.bars}
    assert failed == {None: "m", "no such city": "✕", "refused: not today": "✕", "E: 429": "✕"}
    assert svg(drawn).count('class="hatched"') == 3
    assert 'aria-label="tool weather, 2.0 s, failed: no such city"' in svg(drawn)


def test_a_tool_that_was_asked_for_and_never_ran_is_not_drawn():
    assert bars_of(call("c", 1), asks("c", "t"), answered("c", 2), run_completed(3)) == [("call", 0, 0, 1)]


def test_a_run_of_which_nothing_is_known_yet_has_no_bars():
    assert timeline(transcript_of()).bars == ()
    assert timeline(transcript_of(run_completed(1))).bars == ()


def test_labels_have_room_too_so_short_bars_stand_below_each_other():
    drawn = timeline(
        transcript_of(
            *(e for n in range(4) for e in (call(f"c{n}", n), answered(f"c{n}", n, duration_ms=1))), run_completed(9)
        ),
        length=1_000_000,
    )
    assert [bar.lane for bar in drawn.bars] == [0, 1, 2, 3]


def test_a_long_run_is_drawn_as_far_as_there_is_room():
    calls = [each for number in range(30) for each in (call(f"c{number}", number), answered(f"c{number}", number))]
    drawn = timeline(transcript_of(*calls, run_completed(40)), most=10)
    assert (len(drawn.bars), drawn.left_out) == (10, 20)


@pytest.mark.parametrize("second_time", ["yesterday", "", "2026-01-31T11:59:00Z"])
def test_a_clock_that_went_back_or_is_none_makes_bars_short(second_time):
    ended = ModelFinished(model_call_id="c", timestamp=second_time)
    assert bars_of(call("c", 1), ended, run_completed(9)) == [("call", 0, 0, 0)]


# ---------------------------------------------------------------- SVG


def test_the_drawing_to_the_byte():
    drawn = timeline(transcript_of(call("c", 1), answered("c", 3), run_completed(3)))
    assert svg(drawn) == DRAWING.replace("\n ", " ")


DRAWING = """\
<svg class="timeline" width="100%" height="50" role="group" aria-label="Timeline: 1 model call, 2.0 s">
<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"
 patternTransform="rotate(45)"><rect class="hatch" width="2" height="6"/></pattern></defs>
<g class="axis" aria-hidden="true">
<line x1="0.000%" x2="0.000%" y1="18" y2="50"/>
<text x="0.000%" dx="4" y="12">0</text>
<line x1="25.000%" x2="25.000%" y1="18" y2="50"/>
<text x="25.000%" dx="4" y="12">500 ms</text>
<line x1="50.000%" x2="50.000%" y1="18" y2="50"/>
<text x="50.000%" dx="4" y="12">1.0 s</text>
<line x1="75.000%" x2="75.000%" y1="18" y2="50"/>
<text x="75.000%" dx="4" y="12">1.5 s</text>
<line x1="100.000%" x2="100.000%" y1="18" y2="50"/>
</g>
<a class="bar call" href="#e1"
 aria-label="model call m, 2.0 s"><title>model call m, 2.0 s</title><rect
 class="body" x="0.000%" y="27" height="20" width="100.000%" rx="3"/><text
 x="0.000%" dx="6" y="41" text-anchor="start">m 2.0 s</text></a>
</svg>"""

HOSTILE = [
    '"><script>alert(1)</script>',
    "' onload='alert(1)",
    "&quot;&lt;",
    "]]>",
    "\u202eevil",
    "a\x00b",
    "x" * 5_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_errors_stay_text_in_it(name):
    step = StepStarted(step_id="s", name=name, kind=name, timestamp=at(1))
    failed = StepFinished(step_id="s", error=name, timestamp=at(3))
    drawn = svg(
        timeline(transcript_of(step, failed, Paused(reason=name, pending=[], timestamp=at(4)), run_completed(5)))
    )
    root = ET.fromstring(drawn)
    assert {each.tag for each in root.iter()} <= {
        "svg", "defs", "pattern", "rect", "g", "line", "text", "a", "title",
    }  # fmt: skip
    assert not {key for each in root.iter() for key in each.attrib if key.startswith("on")}
    assert {each.get("href") for each in root.iter("a")} == {"#e1", "#e3"}
    assert not re.search("[\x00\u202e]", drawn)
    assert len(drawn) < 5_000


@pytest.mark.parametrize("seconds", [0.001, 0.5, 7, 90, 4_000, 90_000, 3_000_000])
def test_the_axis_has_a_few_marks_whatever_the_run_took(seconds):
    drawn = timeline(transcript_of(call("c", 1), answered("c", 1)), length=seconds * 1_000)
    assert 2 <= svg(drawn).count("<line") <= 10


def test_a_deep_run_is_drawn_as_well():
    steps = [
        StepStarted(step_id=f"s{n}", name="n", kind="node", parent_step_id=f"s{n - 1}" if n else UNSET, timestamp=at(1))
        for n in range(1_000)
    ]
    assert len(timeline(transcript_of(*steps, run_completed(2))).bars) == 400
