"""The list of runs in a browser: filtered, walked through with keys, and followed while agents write."""

from __future__ import annotations

import pytest

from tests.builders import run_failed, run_record, run_started

pytestmark = pytest.mark.browser

DARK = {"color_scheme": "dark"}
NARROW = {"viewport": {"width": 400, "height": 800}}
PATHS = ["/", "/?status=Failed&columns=agent,tags,session", "/waiting", "/health", "/nothing", "/?model=x"]
NO_SCRIPT = {"java_script_enabled": False}


def test_the_link_shows_the_runs_and_hides_its_token(page):
    assert page.get_by_role("heading", name="Runs").is_visible()
    assert "token" not in page.url
    assert page.locator("#rows tr").count() == 12


def test_runs_are_filtered_by_a_form_whose_address_can_be_shared(page):
    page.get_by_label("Status").select_option("Failed")
    page.get_by_label("Error").fill("rate")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**status=Failed**")
    assert page.locator("#rows tr").count() == 1
    assert page.locator("#rows tr").get_attribute("data-id") == "answer-complaint"
    address = page.url
    page.get_by_role("link", name="Clear").click()
    page.goto(address)
    assert page.locator("#rows tr").count() == 1


def test_keys_walk_through_the_runs_and_to_the_filter(page):
    page.wait_for_selector("#help:visible")
    page.keyboard.press("j")
    page.keyboard.press("j")
    first, second = (page.locator("#rows tr").nth(n).get_attribute("data-id") for n in (0, 1))
    assert page.evaluate("document.activeElement.textContent") == second
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.textContent") == first
    page.keyboard.press("/")
    page.keyboard.type("j?")
    assert page.locator("#filter").input_value() == "j?"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    assert page.get_by_text("next, previous row").is_visible()


def test_a_new_run_and_a_changed_one_move_in(page, stack):
    page.wait_for_selector("#live:visible")
    stack.store.event_log.create(run_record("run-that-fails", created_at="2126-01-31T12:00:00Z"))
    stack.store.append("run-that-fails", [run_started()])
    stack.deliver()
    page.wait_for_selector('tr[data-id="run-that-fails"]')
    assert page.locator("#rows tr").first.get_attribute("data-id") == "run-that-fails"
    stack.store.append("run-that-fails", [run_failed(error="the disk is full")])
    stack.deliver()
    page.wait_for_selector('tr[data-id="run-that-fails"] .status.failed')
    assert page.get_by_text("the disk is full").is_visible()
    stack.store.delete_run("run-that-fails")


def test_a_page_that_is_not_reached_says_so(page):
    page.wait_for_selector("#live:visible")
    page.route("**/*", lambda route: route.fulfill(status=503, body=""))
    page.wait_for_selector("#live.stale")
    assert page.locator("#live").inner_text() == "not reached"


@pytest.mark.parametrize("page", [{}, DARK, NARROW], indirect=True, ids=["light", "dark", "narrow"])
@pytest.mark.parametrize(
    "path", ["/", "/?status=Failed&columns=agent,tags,session", "/waiting", "/health", "/nothing", "/?model=x"]
)
def test_everybody_can_use_it(page, link, path, violations):
    page.goto(link.split("/?")[0] + path)
    assert violations(page) == []


@pytest.mark.parametrize("page", [NARROW], indirect=True, ids=["narrow"])
def test_a_narrow_screen_is_not_scrolled_sideways(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("page", [NO_SCRIPT], indirect=True, ids=["no script"])
def test_without_scripts_runs_are_shown_and_filtered(page):
    assert page.locator("#rows tr").count() == 12
    assert page.locator("#live").is_hidden()
    page.get_by_label("Error").fill("rate")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("#rows tr").count() == 1


def test_a_session_shows_its_runs(page, stack, link):
    state = stack.store.get_state("answer-complaint")
    page.goto(f"{link.split('/?')[0]}/session?id={state.session_id}")
    assert page.get_by_role("link", name="answer-complaint").is_visible()


def test_what_waits_is_one_click_away(page):
    page.get_by_role("link", name="Waiting").click()
    assert page.get_by_role("link", name="review-contract").is_visible()
