"""What is played: every way that an agent's work can go, and the end that its run has to have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from behest_core.testing.adapter_script import MODEL, Script, Tool, Usage, asks, says, script

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

Played: TypeAlias = Literal["agent", "retries", "falls back", "at once", "pause", "cancelled"]
"""What of an `Adapter` plays it. With ``cancelled`` that is its agent, whose task is cancelled where the script hangs."""

COLD: Final = says("It is ", "cold.")
CACHED: Final = Usage(given=1520, written=5, read=1000, stored=500)
"""A call to Claude: 20 tokens that no cache had, 1,000 read from one, 500 written to one, 5 given back: 1,525 in all."""

_WEATHER, _TRAFFIC = Tool("weather"), Tool("traffic", gives="all clear")
_ODD: Final = {"": 1, "tiny": 1e-200, "long": 10**39 + 1, "lone": "a\ud800", "much": "x" * 200_000}


@dataclass(frozen=True)
class Scenario:
    """A script, how it is played, and what its run ends with.

    `besides` are rules that don't hold, with the reason. `settings` are the recorder's.
    """

    name: str
    script: Script
    played: Played = "agent"
    ends: str = "RunCompleted"
    is_granted: bool = False
    besides: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def _long() -> Script:
    """Return twelve steps of an agent, with two tools at a time, one of which fails in the sixth."""
    tools = (Tool("weather", waits_for="traffic"), Tool("traffic", gives="all clear", waits_for="weather"))
    broken = Tool("tides", error="no sea here")
    turns = [
        asks("weather", "tides" if step == 6 else "traffic", first=10 * step, usage=Usage(100 * step, step))
        for step in range(1, 12)
    ]
    return script(*turns, COLD, tools=(*tools, broken), streamed=True)


_HALF_A_MEGABYTE: Final = "a message of 500 KB is cut in the log, as no item can hold it"

SCENARIOS: Final = (
    Scenario("plain", script(COLD)),
    Scenario("streamed", script(COLD, streamed=True)),
    Scenario("tools", script(asks("weather"), asks("traffic", first=2), COLD, tools=(_WEATHER, _TRAFFIC))),
    Scenario(
        "parallel tools",
        script(
            asks("weather", "traffic"),
            COLD,
            tools=(
                Tool("weather", waits_for="traffic"),
                Tool("traffic", error="the road is closed", waits_for="weather"),
            ),
        ),
    ),
    Scenario(
        "a call id that comes again",
        script(asks("weather"), asks("weather", city="Rome"), COLD, tools=(_WEATHER,)),
    ),
    Scenario("text beside a tool call", script(asks("weather", text=("Let me ", "look.")), COLD, tools=(_WEATHER,))),
    Scenario("reasoning", script(says("It is ", "cold.", reasoning="Oslo is far up north."), streamed=True)),
    Scenario("reasoning tokens", script(says("It is ", "cold.", usage=Usage(100, 60, thought=50)))),
    Scenario("cached tokens within the input", script(says("It is ", "cold.", usage=CACHED))),
    Scenario("cached tokens beside the input", script(says("It is ", "cold.", usage=CACHED), counting="beside")),
    Scenario(
        "more written to a cache than is new",
        script(says("It is ", "cold.", usage=Usage(505, 5, stored=500)), counting="beside"),
    ),
    Scenario("no usage", script(says("It is ", "cold.", usage=None))),
    Scenario(
        "models at once",
        Script(
            {
                MODEL: (says("It is ", "cold.", usage=Usage(1_000_000, 3), meets=True),),
                "stub-2": (says("Rain", " comes.", usage=Usage(1_000_000, 4), meets=True),),
            },
            streamed=True,
        ),
        "at once",
    ),
    Scenario("model fails", script(says(error="overloaded"), answer=None), ends="RunFailed"),
    Scenario(
        "model fails in a stream",
        script(says("It may ", "snow", error="overloaded"), answer=None, streamed=True),
        ends="RunFailed",
    ),
    Scenario(
        "tokens of a call that fails",
        script(says("It may ", "snow", error="overloaded", so_far=Usage(1000, 10)), answer=None, streamed=True),
        ends="RunFailed",
    ),
    Scenario(
        "tokens told again and again",
        script(says("It is ", "cold.", so_far=Usage(1000, 1), usage=Usage(1000, 10)), streamed=True),
    ),
    Scenario("model is called again", script(says(error="overloaded"), COLD), "retries"),
    Scenario("fallback", Script({MODEL: (says(error="overloaded"),), "stub-2": (COLD,)}), "falls back"),
    Scenario(
        "pause, granted",
        script(asks("weather"), COLD, tools=(Tool("weather", needs_approval=True),)),
        "pause",
        is_granted=True,
    ),
    Scenario("pause, denied", script(asks("weather"), COLD, tools=(Tool("weather", needs_approval=True),)), "pause"),
    Scenario("cancelled in a model call", script(says(hangs=True), answer=None), "cancelled", "RunCancelled"),
    Scenario(
        "cancelled in a stream",
        script(says("It may ", "snow", hangs=True), answer=None, streamed=True),
        "cancelled",
        "RunCancelled",
    ),
    Scenario(
        "cancelled in a tool",
        script(asks("weather"), tools=(Tool("weather", hangs=True),), answer=None),
        "cancelled",
        "RunCancelled",
    ),
    Scenario("twelve steps", _long()),
    Scenario("odd metadata", script(COLD, metadata=_ODD)),
    Scenario(
        "lone surrogates",
        script(asks("weather"), COLD, tools=(Tool("weather", error="no \ud800 here"),)),
    ),
    Scenario(
        "a result of 500 KB",
        script(asks("weather"), COLD, tools=(Tool("weather", gives="x" * 500_000),)),
        besides=dict.fromkeys(("request", "calls", "tools", "transcript"), _HALF_A_MEGABYTE),
    ),
)
"""All scenarios. A framework that can't play one says why."""
