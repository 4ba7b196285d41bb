"""A real browser, and the page of a stack on which agents write."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import sync_playwright

from behest_core.demo import agent as demo_agent
from behest_core.demo.agent import ScriptedAgent
from behest_core.demo.scripts import SCRIPTS
from behest_core.plugins.loading import load
from behest_core.testing import LocalStack
from behest_core.web.application import App
from behest_core.web.server import served
from tests.browser.agents import play_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

PLUGINS = ("approvals", "cost", "lineage", "tools")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
REFUSED = "Failed to load resource: the server responded"  # a page that says 404 is a page
PATIENCE = 20_000  # milliseconds: for a machine that does other things too


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """Return a stack on which the demo's agents have written their runs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(demo_agent, "_PAUSES", (0.0,))
        with LocalStack(plugins=list(PLUGINS)) as local:
            play_all([ScriptedAgent(local.store, script, number) for number, script in enumerate(SCRIPTS)])
            local.deliver()
            yield local


@pytest.fixture(scope="module")
def link(stack: LocalStack) -> Iterator[str]:
    with served(App(stack.store, load(PLUGINS))) as page:
        yield page.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    assert found is not None, f"no browser here: none of {', '.join(PROGRAMS)}; `make browser` installs one"
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, link: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Return the page as the link opens it. Afterwards nothing may have gone wrong in it."""
    how: dict[str, Any] = getattr(request, "param", {})
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **how})
    context.set_default_timeout(PATIENCE)
    shown = context.new_page()
    wrong: list[str] = []
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on(
        "console", lambda said: wrong.append(said.text) if said.type == "error" and REFUSED not in said.text else None
    )
    shown.on("request", lambda sent: None if sent.url.startswith("http://127.0.0.1:") else wrong.append(sent.url))
    shown.goto(link)
    yield shown
    context.close()
    assert wrong == []


@pytest.fixture
def violations() -> Any:
    """Return what finds where a page is hard to use for some: axe-core's rules of WCAG A and AA."""

    def find(page: Page) -> list[str]:
        page.evaluate(AXE_SCRIPT)
        found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")
        return [f"{each['id']}: {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]]

    return find
