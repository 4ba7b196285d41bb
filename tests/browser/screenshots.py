"""Pictures of the page for README and docs, of the demo's agents: ``python -m tests.browser.screenshots``."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from behest_core.demo.agent import ScriptedAgent
from behest_core.demo.scripts import SCRIPTS
from behest_core.plugins.loading import load
from behest_core.testing import LocalStack
from behest_core.web.application import App
from behest_core.web.server import served
from tests.browser.agents import play_all

FOLDER = Path(__file__).parents[2] / "docs" / "images"
PLUGINS = ("approvals", "cost", "lineage", "tools")
SHOWN = {"runs": ("/", 640), "run": ("/run?id=fix-billing-tests", 900)}


def main() -> None:
    """Let the agents write, and take the pictures, in light and dark."""
    FOLDER.mkdir(exist_ok=True)
    with LocalStack(plugins=list(PLUGINS)) as stack:
        with stack.running():
            play_all([ScriptedAgent(stack.store, script, number) for number, script in enumerate(SCRIPTS)])
        stack.deliver()
        with served(App(stack.store, load(PLUGINS))) as page, sync_playwright() as driver:
            program = shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
            for scheme in ("light", "dark"):
                for name, (path, height) in SHOWN.items():
                    context = browser.new_context(
                        viewport={"width": 1180, "height": height}, color_scheme=scheme, device_scale_factor=1
                    )
                    shown = context.new_page()
                    shown.goto(page.url)
                    shown.goto(page.url.split("/?")[0] + path)
                    shown.wait_for_selector("#help:visible")
                    shown.screenshot(path=FOLDER / f"{name}-{scheme}.png")
                    context.close()
            browser.close()


if __name__ == "__main__":
    main()
