"""Playing the demo's agents to their ends."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.demo.agent import ScriptedAgent


def play_all(agents: Sequence[ScriptedAgent]) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(len(agents)) as pool:
        for played in [pool.submit(agent.play, stop) for agent in agents]:
            played.result()
