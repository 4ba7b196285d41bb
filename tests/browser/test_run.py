"""One run in a browser: found by three clicks, read, walked through event by event, and followed to its end."""

from __future__ import annotations

import pytest

from behest_core.model.events import RunCompleted
from tests.browser.test_runs import DARK, NARROW
from tests.builders import at, run_record, run_started, text_delta

pytestmark = pytest.mark.browser

PATHS = [
    "/run?id=fix-billing-tests",
    "/run/events?id=fix-billing-tests",
    "/run/at?id=fix-billing-tests&at=12",
    "/run/slices?id=fix-billing-tests",
    "/run/tree?id=summarise-report",
    "/compare?one=fix-billing-tests&other=refund-order",
]


def test_a_stranger_finds_why_a_run_failed_with_one_click(page):
    page.get_by_role("link", name="answer-complaint").click()
    assert page.get_by_text("rate limited by the provider (429)").first.is_visible()
    assert page.get_by_text("I am sorry to hear that.").is_visible()


@pytest.mark.parametrize("page", [{}, DARK, NARROW], indirect=True, ids=["light", "dark", "narrow"])
@pytest.mark.parametrize("path", PATHS)
def test_everybody_can_use_it(page, link, path, violations):
    page.goto(link.split("/?")[0] + path)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_slider_shows_the_state_as_of_any_event(page, link):
    page.goto(f"{link.split('/?')[0]}/run/at?id=answer-complaint&at=1")
    assert page.get_by_text("RunStarted").first.is_visible()
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("End")
    page.wait_for_url("**at=18**")
    page.get_by_text("RunFailed").first.wait_for()


def test_a_running_run_is_followed_to_its_end(page, link, stack):
    stack.store.event_log.create(run_record("run-that-goes-on"))
    stack.store.append("run-that-goes-on", [run_started(), text_delta(delta="First words.")])
    stack.deliver()
    page.goto(f"{link.split('/?')[0]}/run?id=run-that-goes-on")
    assert page.get_by_text("First words.").is_visible()
    ended = RunCompleted(finish_reason="stop", iterations=1, timestamp=at(9))
    stack.store.append("run-that-goes-on", [text_delta(delta=" And the last."), ended])
    stack.deliver()
    page.get_by_text("And the last.").wait_for()
    page.get_by_text("Completed").first.wait_for()
    stack.store.delete_run("run-that-goes-on")
