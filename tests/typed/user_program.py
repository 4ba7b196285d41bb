"""What somebody writes who uses behest: strict type checking has nothing to say about it, without a cast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.model.events import RunCompleted

if TYPE_CHECKING:
    from behest_core import RunStore


def use(store: RunStore) -> list[str]:
    """Record a run, and look at it in each way that there is."""
    with store.recorder(provider="openai", model="gpt-4o", metadata={"team": "support"}) as run:
        call = run.model_call(messages=[{"role": "user", "content": "Hi"}])
        call.usage(1200, 40, cache_read_input_tokens=1024)
        call.finished("stop", text="Hello!")
    state = run.wait()
    lines = [f"{state.metadata['team']}: {state.status}, {state.to_dict()['total_usage']['total_tokens']} tokens"]
    lines += [f"{recorded.sequence} {recorded.to_dict()['event']['type']}" for recorded in store.events(run.run_id)]
    lines += [
        found.run_id for found in store.states(status="completed", limit=5) if found.metadata["team"] == "support"
    ]
    for slice_ in state.extensions.values():
        lines.append(slice_.state["total"])
    for recorded in store.subscribe(run.run_id):
        if isinstance(recorded.event, RunCompleted):
            lines.append(str(recorded.event.finish_reason))
    return lines
