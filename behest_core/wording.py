"""How numbers, money and times are put into words, on a page as on a terminal. What comes from a run is not made safe here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from behest_core.model.timestamps import canonical, to_datetime

if TYPE_CHECKING:
    from datetime import datetime

_NANO: Final = 10**9


def count_text(count: int) -> str:
    """Return a number with thousands separated."""
    return f"{count:,}"


def amount(count: int, noun: str) -> str:
    """Return a number of things in words: ``1 run``, ``2,000 runs``."""
    return f"{count_text(count)} {noun}" + ("" if count == 1 else "s")


def usd_text(nano_usd: int) -> str:
    """Return nanodollars as dollars: to the cent from ten dollars on, else to the millionth where it counts."""
    dollars = nano_usd / _NANO
    return f"${dollars:,.2f}" if dollars >= 10 else f"${dollars:.6f}".rstrip("0").ljust(5, "0")


def duration_text(milliseconds: int) -> str:
    """Return a time span as people read it: ``42 ms``, ``0.8 s``, ``3 min 5 s``, ``2 h 3 min``, ``4 d 1 h``."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    return _in_two_units(round(seconds))


def _in_two_units(seconds: int) -> str:
    for unit, length, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60)):
        if seconds >= length:
            whole, rest = divmod(seconds, length)
            return f"{whole} {unit} {rest // part} {smaller}"
    return f"{seconds // 60} min {seconds % 60} s"


def age_text(moment: str | None, now: datetime) -> str:
    """Return how long ago a time was: ``3 min ago``; ``just now`` within a second, a dash where it isn't RFC 3339."""
    try:
        seconds = int((now - to_datetime(moment or "")).total_seconds())
    except ValueError:
        return "-"
    if seconds < 1:
        return "just now"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def time_text(moment: str | None) -> str:
    """Return a time in UTC without trailing zeros; as it is where it isn't RFC 3339; a dash where there is none."""
    if not moment:
        return "-"
    try:
        return canonical(moment).removesuffix("Z").rstrip("0").removesuffix(".") + "Z"
    except ValueError:
        return moment
