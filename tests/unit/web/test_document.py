"""A run as a file that stands by itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from behest_core.errors import RunNotFoundError
from behest_core.fold.rules import fold
from behest_core.model.agent_events import (
    ModelFailed,
    ModelRequested,
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
from behest_core.plugins.loading import Plugins
from behest_core.web.document import document, redacted_document
from tests.builders import RUN, at, commit, poison, record_commit, run_failed, run_record, run_started

NOW = datetime(2026, 1, 31, 13, tzinfo=UTC)


def events_with(word, error=None):
    """Return events with a word in every field that holds what somebody said, or named."""
    error = error or word
    asks = [
        ToolCallCompleted(call=ToolCall(f"t{n}", word, {word: word}), model_call_id="c", timestamp=at(2))
        for n in range(3)
    ]
    ran = {"tool_name": word, "model_call_id": "c", "timestamp": at(3)}
    return [
        run_started(1, word, word),
        StepStarted(step_id="s", name=word, kind=word, timestamp=at(1)),
        ModelStarted(provider=word, model=word, iteration=1, model_call_id="c", timestamp=at(1)),
        ModelRequested(
            model_call_id="c", message_format="openai", message_count=1, messages=[{"role": "user", "content": word}],
            system_instructions=word, system_instructions_hash="h", timestamp=at(1),
        ),
        TextDelta(delta=word, model_call_id="c", timestamp=at(2)),
        *asks,
        ToolRefused(call_id="t0", reason=word, **ran),
        ToolExecutionStarted(call_id="t1", **ran),
        ToolExecutionFinished(call_id="t1", result=ToolExecutionResult.ok({"a": word}), duration_ms=1, **ran),
        ToolExecutionStarted(call_id="t2", **ran),
        ToolExecutionFinished(call_id="t2", result=ToolExecutionResult.failed(error), duration_ms=1, **ran),
        ModelFailed(model_call_id="c", error_type=word, error=error, causes=[error], timestamp=at(4)),
        StepFinished(step_id="s", error=error, timestamp=at(4)),
        Paused(reason=word, pending=[word], timestamp=at(4)),
        Resumed(answers={word: word}, paused_run_id=word, answering_run_id=word, timestamp=at(4)),
        run_failed(5, error),
    ]  # fmt: skip


def log_of(word, **what):
    record = run_record(session_id=word, metadata={"agent_name": word, "tags": [word], "user_id": word, word: word})
    return [record_commit(record), commit(1, *events_with(word, **what))]


def page_of(log):
    return document(fold(None, log).state, log, Plugins(), NOW)


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "{{ 7777 * 7777 }}{% raw %}",
    "<!--",
    "javascript:alert(1)",
    "[a](javascript:alert(1))",
    "![a](https://example.org/a.png)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202etxt.exe",
    "a\x00b\x1b[31m",
]


@pytest.mark.parametrize("word", HOSTILE)
def test_nothing_of_a_run_can_act_load_or_hide_in_it(word):
    page = page_of(log_of(word))
    tags = Tags(page).found
    assert not {tag for tag, _ in tags} & {"script", "img", "iframe", "object", "embed", "link", "form", "base"}
    assert not [
        name for _, attributes in tags for name in attributes if name.startswith("on") or name in {"src", "style"}
    ]
    hrefs = [str(attributes["href"]) for _, attributes in tags if "href" in attributes]
    assert all(href.startswith(("#e", "https://example.org/")) for href in hrefs)
    assert not re.search("[\x00\x1b\u202e]", page)
    assert "60481729" not in page
    assert page.count("<style>") == 1


def test_it_shows_why_the_run_failed_what_was_said_and_the_state():
    page = page_of(log_of("Oslo", error="rate limited by the provider (429)"))
    assert '<p class="words">rate limited by the provider (429)</p>' in page
    for heading in ("Timeline", "Conversation", "State"):
        assert f"<h2>{heading}</h2>" in page


def test_it_asks_for_nothing_from_anywhere():
    page = page_of(log_of("word"))
    assert "default-src 'none'" in page
    assert not re.search(r"url\((?!#)|@import|https?://", page)


def test_redacted_it_has_shapes_names_and_counts_and_nothing_of_what_was_said():
    said = [
        ModelStarted(provider="openai", model="gpt-4o", iteration=1, model_call_id="c", timestamp=at(1)),
        TextDelta(delta="my secret", model_call_id="c", timestamp=at(2)),
        ToolCallCompleted(call=ToolCall("t", "send_mail", {"to": "secret"}), model_call_id="c", timestamp=at(2)),
        ToolExecutionStarted(call_id="t", tool_name="send_mail", model_call_id="c", timestamp=at(3)),
        ToolExecutionFinished(
            call_id="t", tool_name="send_mail", result=ToolExecutionResult.failed("IOError: secret"), duration_ms=42,
            model_call_id="c", timestamp=at(3),
        ),
        run_failed(5, "IOError: secret"),
    ]  # fmt: skip
    log = [record_commit(), commit(1, *said)]
    page = redacted_document(RUN, lambda: log, Plugins(), NOW)
    assert "secret" not in page
    assert "Without content" in page
    for kept in ("send_mail", "42 ms", "gpt-4o", "IOError"):
        assert kept in page


def test_redacted_it_ends_before_events_that_cannot_be_read():
    log = [record_commit(), commit(1, run_started(1)), poison(2)]
    assert "secret" not in redacted_document(RUN, lambda: log, Plugins(), NOW)


def test_a_parked_run_is_shown_up_to_the_event_that_cannot_be_read():
    page = page_of([record_commit(), commit(1, run_started(1)), poison(2)])
    assert "parked at event 3" in page
    assert "behest resume run-1" in page
    assert "secret" not in page


def test_of_a_run_that_is_not_there_no_file_is_made():
    with pytest.raises(RunNotFoundError):
        redacted_document(RUN, list, Plugins(), NOW)
