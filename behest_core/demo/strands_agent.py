"""A real agent of the demo: of Strands Agents, recorded by behest-strands. Only its model is a stub."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from behest_strands import BehestHooks
from strands import Agent, tool
from strands.models import Model

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, Iterable

    from strands.types.streaming import StreamEvent

    from behest_core.store import RunStore

_SESSION: Final = "frank"
_PAUSE: Final = 0.2  # seconds between two words


@tool
def get_trains(city: str) -> str:
    """Return the next trains from a city."""
    return f"{city} 08:02, Lillehammer 10:17"


class StubModel(Model):
    """Asks for a tool, then says what is known, word by word."""

    def __init__(self) -> None:
        self._answers = iter((self._asks(), self._says("The next train to Lillehammer leaves at two past eight.")))

    def update_config(self, **model_config: Any) -> None:  # noqa: ANN401 (the framework's signature)
        """There is nothing to configure."""

    def get_config(self) -> dict[str, str]:
        """Return the name of the model."""
        return {"model_id": "stub"}

    def structured_output(self, *_: Any, **__: Any) -> AsyncGenerator[dict[str, Any], None]:  # noqa: ANN401
        """Structured output is not needed."""
        raise NotImplementedError

    async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[StreamEvent, None]:  # noqa: ANN401
        """Stream the next answer."""
        for event in next(self._answers):
            await asyncio.sleep(_PAUSE)
            yield event

    def _asks(self) -> Iterable[StreamEvent]:
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "call-1", "name": "get_trains"}}}}
        yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps({"city": "Oslo"})}}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use"}}
        yield {
            "metadata": {
                "usage": {"inputTokens": 210, "outputTokens": 18, "totalTokens": 228},
                "metrics": {"latencyMs": 0},
            }
        }

    def _says(self, text: str) -> Iterable[StreamEvent]:
        yield {"messageStart": {"role": "assistant"}}
        for word in text.split():
            yield {"contentBlockDelta": {"delta": {"text": f"{word} "}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}
        yield {
            "metadata": {
                "usage": {"inputTokens": 255, "outputTokens": 11, "totalTokens": 266},
                "metrics": {"latencyMs": 0},
            }
        }


class StrandsAgent:
    """One run of it. Its id is given by behest-strands: until there is a state to read it from, it is `name`."""

    name = "strands-agent"
    model = "stub"

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._run_id = ""

    def play(self, stop: threading.Event) -> None:
        """Ask the agent; it stops early if the demo is stopped."""
        hooks = BehestHooks(self._store, session_id=_SESSION, metadata={"demo": True})
        agent = Agent(name=self.name, model=StubModel(), tools=[get_trains], hooks=[hooks], callback_handler=None)
        agent("When does the next train leave?", cancel_signal=stop)

    @property
    def run_id(self) -> str:
        """The run's id, or its name."""
        if not self._run_id:
            state = next(iter(self._store.states(session_id=_SESSION)), None)
            self._run_id = state.run_id if state is not None else ""
        return self._run_id or self.name

    @property
    def appended(self) -> int:
        """The last sequence that its log has."""
        return self._store.event_log.head(self.run_id)

    @property
    def commits(self) -> int:
        """How many commits its log has."""
        return sum(1 for commit in self._store.event_log.commits(self.run_id, after=0))
