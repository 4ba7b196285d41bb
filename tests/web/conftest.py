from __future__ import annotations

import pytest

from behest_core.model.events import RunFailed
from behest_core.plugins.loading import load
from behest_core.testing import LocalStack
from behest_core.web.application import App
from tests.builders import at, run_record, run_started, usage_recorded
from tests.web.attacks import ATTACKS
from tests.web.pages import Pages

PLUGINS = ("approvals", "cost", "lineage", "tools")


@pytest.fixture(scope="module")
def web_stack():
    """Return a stack with a few runs, of which some have the attacks in every field. Tests read it only."""
    with LocalStack(plugins=list(PLUGINS)) as stack:
        write(stack.store)
        stack.deliver()
        yield stack


@pytest.fixture(scope="module")
def pages(web_stack):
    return Pages(App(web_stack.store, load(PLUGINS), "my-stack"))


def write(store):
    for n in range(4):
        about = {"agent_name": f"agent-{n}", "tags": ["plain"], "user_id": "u"}
        store.event_log.create(run_record(f"run-{n}", session_id="s-1", created_at=at(n), metadata=about))
        events = [run_started(), usage_recorded(input_tokens=1000 * n, output_tokens=1)]
        ending = [RunFailed(error="rate limited", timestamp=at(30))] if n == 0 else []
        store.append(f"run-{n}", [*events, *ending])
    asked = {"type": "approvals.Requested", "call_id": "c-1", "timestamp": at(5)}
    store.append("run-3", [asked])
    for n, attack in enumerate(ATTACKS):
        about = {"agent_name": attack, "tags": [attack], "user_id": attack, attack: {attack: attack}}
        run_id = f"{attack}{n}"
        store.event_log.create(run_record(run_id, session_id=attack, created_at=at(10 + n), metadata=about))
        store.append(
            run_id,
            [
                run_started(provider=attack, model=attack),
                {"type": f"x.{attack}", attack: attack, "timestamp": at(20)},
                {"type": "approvals.Requested", "call_id": attack, "reason": attack, "timestamp": at(21)},
                RunFailed(error=attack, timestamp=at(40)) if n % 2 else usage_recorded(input_tokens=1, output_tokens=1),
            ],
        )
