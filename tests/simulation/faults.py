"""What can go wrong, how often it does in a simulation, and how often it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Probabilities: of each call of the database, each stream record, each delivery, each second, as the comment says."""

    # each call of the database
    crash_before: float = 0.0
    crash_after: float = 0.0
    throttle: float = 0.0
    lost_response: float = 0.0
    lost_and_gave_up: float = 0.0
    stall: float = 0.0
    odd_error: float = 0.0
    unprocessed_keys: float = 0.0
    stale_read: float = 0.0
    short_page: float = 0.0
    # each stream record
    late_record: float = 0.0
    lost_record: float = 0.0
    # each delivery
    invocation_throttled: float = 0.0
    duplicate_delivery: float = 0.0
    stale_delivery: float = 0.0
    slow_invocation: float = 0.0
    zombie: float = 0.0
    cold_start: float = 0.0
    # each second
    shard_split: float = 0.0
    sweep: float = 0.0
    resume: float = 0.0
    rebuild: float = 0.0
    delete: float = 0.0
    expire: float = 0.0
    read: float = 0.0
    restore_log: float = 0.0
    restore_state: float = 0.0
    break_state: float = 0.0

    @classmethod
    def none(cls) -> Self:
        return cls()

    @classmethod
    def of(cls, name: Literal["drawn", "typical", "none"], random: Random) -> Self:
        if name == "drawn":
            return cls.drawn(random)
        return cls(**vars(TYPICAL)) if name == "typical" else cls.none()

    @classmethod
    def drawn(cls, random: Random) -> Self:
        """Draw a mixture: each fault is absent in one simulation of three, so that rare encounters aren't always drowned."""
        rates = {each.name: random.uniform(0, getattr(WORST, each.name)) for each in fields(cls)}
        return cls(**{name: rate if random.random() < 2 / 3 else 0.0 for name, rate in rates.items()})


WORST = Rates(
    crash_before=0.02,
    crash_after=0.02,
    throttle=0.05,
    lost_response=0.05,
    lost_and_gave_up=0.02,
    stall=0.02,
    odd_error=0.01,
    unprocessed_keys=0.2,
    stale_read=0.5,
    short_page=0.9,
    late_record=0.1,
    lost_record=0.03,
    invocation_throttled=0.05,
    duplicate_delivery=0.1,
    stale_delivery=0.1,
    slow_invocation=0.3,
    zombie=1.0,
    cold_start=0.3,
    shard_split=0.1,
    sweep=0.01,
    resume=0.2,
    rebuild=0.2,
    delete=0.05,
    expire=0.2,
    read=0.5,
    restore_log=0.02,
    restore_state=0.02,
    break_state=0.05,
)
"""The most that is drawn of each. `zombie` is of the invocations that time out: those go on unheard, the others die.

`stale_read` is of the reads of a table that aren't asked for consistently. behest makes none: so it strikes mutants only.
"""

TYPICAL = Rates(
    crash_before=0.001,
    crash_after=0.001,
    throttle=0.005,
    lost_response=0.003,
    lost_and_gave_up=0.001,
    stall=0.001,
    odd_error=0.0005,
    unprocessed_keys=0.02,
    stale_read=0.1,
    short_page=0.02,
    late_record=0.005,
    lost_record=0.001,
    invocation_throttled=0.005,
    duplicate_delivery=0.01,
    stale_delivery=0.01,
    slow_invocation=0.01,
    zombie=0.5,
    cold_start=0.05,
    shard_split=0.002,
    sweep=0.003,
    resume=0.05,
    rebuild=0.05,
    delete=0.01,
    expire=0.02,
    restore_log=0.0005,
    restore_state=0.002,
    break_state=0.002,
    read=0.05,
)
"""Bad days for months on end: what a long simulation is run with."""


class Faults:
    """Strikes at the rates it is given, and counts."""

    def __init__(self, random: Random, rates: Rates) -> None:
        self.counts: Counter[str] = Counter()
        self._random = random
        self._rates = rates

    def strikes(self, name: str) -> bool:
        """Return whether this fault is to happen now."""
        rate = getattr(self._rates, name)
        if not rate or self._random.random() >= rate:
            return False
        self.counts[name] += 1
        return True

    def within(self, name: str, seconds: float) -> bool:
        """Return whether a fault that is given by the second is to happen within these."""
        rate = getattr(self._rates, name)
        if not rate or self._random.random() >= rate * seconds:
            return False
        self.counts[name] += 1
        return True

    def of_a_call(self) -> str | None:
        """Draw what befalls one call of the database, in one draw, as nearly always nothing does."""
        draw = self._random.random()
        for name in _OF_A_CALL:
            draw -= getattr(self._rates, name)
            if draw < 0:
                self.counts[name] += 1
                return name
        return None

    def stop(self) -> None:
        """From now on all goes well."""
        self._rates = Rates.none()


_OF_A_CALL = ("crash_before", "crash_after", "throttle", "lost_response", "lost_and_gave_up", "stall", "odd_error")
