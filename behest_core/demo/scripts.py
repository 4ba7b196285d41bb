"""What the demo's agents do: twelve runs as data. Nothing here is from a real agent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from behest_core.model.json import JSON


class Ending(Enum):
    """How a run ends."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DIES = "dies"
    """The agent's process is gone in the middle of a model call, and nobody says so: at best it asks for an approval first."""


@dataclass(frozen=True)
class Tool:
    """A tool call. `error` is why it fails, if it does; `needs_approval` has a person asked first."""

    name: str
    arguments: JSON
    result: JSON = None
    error: str | None = None
    needs_approval: bool = False


@dataclass(frozen=True)
class Turn:
    """A model call: its tokens, what it says, and the tool it asks for. `cached` tokens of the input come from a cache."""

    input_tokens: int
    output_tokens: int
    text: str = ""
    tool: Tool | None = None
    cached: int = 0


@dataclass(frozen=True)
class Script:
    """A run from beginning to end, under a run id that tells what it is about.

    `last_word` is its finish reason or its error, `parent` the run that began it, for behest-lineage.
    """

    run_id: str
    session: str
    provider: str
    model: str
    turns: tuple[Turn, ...]
    ending: Ending = Ending.COMPLETED
    last_word: str = "stop"
    parent: str | None = None


_GPT: Final = ("openai", "gpt-4o")
_MINI: Final = ("openai", "gpt-4o-mini")
_CLAUDE: Final = ("anthropic", "claude-sonnet-4-5")
_GEMINI: Final = ("google", "gemini-2.5-flash")

_WEATHER: Final = Tool("get_weather", {"city": "Oslo"}, {"celsius": 3})
_ORDER: Final = Tool("get_order", {"order": "A-1042"}, {"status": "shipped", "eur": 89})
_REFUND: Final = Tool("refund", {"order": "A-1042", "eur": 89}, {"refunded": True}, needs_approval=True)
_FLIGHTS: Final = Tool("search_flights", {"from": "OSL", "to": "LIS"}, [{"flight": "TP 763", "eur": 214}])
_SEARCH: Final = Tool("search", {"query": "event sourcing"}, {"hits": 12})
_SEARCH_FAILS: Final = Tool("search", {"query": "event sourcing"}, error="time-out after 10 s")
_READ: Final = Tool("read_file", {"path": "report.md"}, {"bytes": 18_211})
_SIGN: Final = Tool("sign_contract", {"path": "contract.pdf"}, needs_approval=True)
_TESTS: Final = Tool("run_tests", {"only": "billing"}, error="2 of 41 tests failed")

SCRIPTS: Final = (
    Script(
        "weather-in-oslo",
        "alice",
        *_GPT,
        (Turn(310, 24, tool=_WEATHER), Turn(362, 41, "It is 3 degrees in Oslo, and dry.")),
    ),
    Script(
        "refund-order",
        "alice",
        *_CLAUDE,
        (
            Turn(1_850, 62, "Let me look.", _ORDER),
            Turn(1_990, 58, tool=_REFUND, cached=1_792),
            Turn(2_120, 49, "Your 89 euros are on their way.", cached=1_920),
        ),
    ),
    Script(
        "flight-to-lisbon",
        "alice",
        *_GPT,
        (
            Turn(890, 45, tool=_FLIGHTS),
            Turn(1_240, 120, "TP 763 leaves at 9:40, for 214 euros. Shall I book it?"),
        ),
        Ending.CANCELLED,
    ),
    Script(
        "summarise-report",
        "bob",
        *_GEMINI,
        (Turn(420, 31, tool=_READ), Turn(5_210, 1_024, "The report finds three things. First, ")),
        last_word="length",
    ),
    Script(
        "research-topic",
        "bob",
        *_CLAUDE,
        (
            Turn(640, 38, tool=_SEARCH_FAILS),
            Turn(720, 36, "The search failed, I try again.", _SEARCH, cached=512),
            Turn(2_310, 280, "Twelve sources agree that the log is the truth.", cached=640),
        ),
        parent="summarise-report",
    ),
    Script(
        "fix-billing-tests",
        "carol",
        *_CLAUDE,
        (
            Turn(3_400, 410, "I change the rounding.", _TESTS),
            Turn(4_100, 380, "I change it back.", _TESTS, cached=3_328),
            Turn(4_800, 402, "I change the rounding.", _TESTS, cached=4_096),
        ),
        Ending.FAILED,
        "doom loop: the same edit three times",
    ),
    Script("translate-page", "carol", *_MINI, (Turn(1_480, 1_390, "Der Ausgangspunkt ist das Ereignis."),)),
    Script(
        "answer-complaint",
        "dave",
        *_MINI,
        (Turn(530, 61, "I am sorry to hear that.", _ORDER),),
        Ending.FAILED,
        "rate limited by the provider (429)",
    ),
    Script(
        "plan-week",
        "dave",
        *_GEMINI,
        (
            Turn(760, 88, tool=_WEATHER),
            Turn(900, 310, "Monday: the dentist at ten. Tuesday: "),
            Turn(1_260, 240, "free."),
        ),
    ),
    Script(
        "review-contract",
        "erin",
        *_CLAUDE,
        (
            Turn(12_400, 520, "Clause 7 is unusual.", _READ),
            Turn(13_100, 640, "It binds you for five years.", _SIGN, cached=12_288),
        ),
        Ending.DIES,
    ),
    Script(
        "classify-tickets",
        "erin",
        *_MINI,
        (Turn(2_100, 12, "billing"), Turn(2_140, 11, "login"), Turn(2_090, 12, "billing"), Turn(2_160, 14, "praise")),
    ),
    Script(
        "write-haiku",
        "erin",
        *_GPT,
        (Turn(48, 22, "An event arrives; the state is what it was and a little more."),),
        last_word="content_filter",
    ),
)
