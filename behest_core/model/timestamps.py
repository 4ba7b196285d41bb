"""RFC 3339 timestamps as text.

An event's time is kept as it was written: the seed writes nanoseconds, which a `datetime` would lose. Text of any precision
and any offset doesn't sort, though, so what has to sort (the run's `created_at`, the sort key of both indexes) is brought into
one form: UTC, nine fractional digits, `Z`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

Timestamp = Annotated[str, Meta(max_length=80)]
"""RFC 3339 text, kept as written. The write side checks it; for the fold it is the hottest field, and any text will do.

It reaches the state item, so it is bounded: 40 fractional digits and an offset have room."""

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,40}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

_SECOND = len("2026-01-31T12:00:00")
_WHOLE = _SECOND + 1


def canonical(text: str) -> str:
    """Return the same instant in UTC with nine fractional digits: equal instants are equal texts, and texts sort by time.

    Digits beyond the ninth are dropped, as the seed drops them. Raises ValueError where `text` isn't RFC 3339.
    """
    if _is_plain_utc(text):
        try:
            datetime.fromisoformat(text[:_SECOND])
        except ValueError:
            pass  # what follows says what is wrong
        else:
            return f"{text[:_SECOND]}.{text[_SECOND + 1 : -1][:9]:0<9}Z"
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("expected an RFC 3339 time such as 2026-01-31T12:00:00.5Z")
    date, clock, fraction, offset = match.groups()
    second = f"{date}T{clock}"
    moment = datetime.fromisoformat(second)
    if offset not in "Zz":
        hours, minutes = int(offset[1:3]), int(offset[4:6])
        if hours > 23 or minutes > 59:
            raise ValueError(f"offset {offset} is not a time of day")
        shift = timedelta(hours=hours, minutes=minutes)
        try:
            second = (moment - shift if offset[0] == "+" else moment + shift).isoformat()
        except OverflowError as error:
            raise ValueError("the time is outside the years 1 to 9999") from error
    return f"{second}.{(fraction or '')[:9].ljust(9, '0')}Z"


def is_canonical(text: str) -> bool:
    """Return whether a text is a time in the form that `canonical` gives."""
    try:
        return canonical(text) == text
    except ValueError:
        return False


def to_datetime(text: str) -> datetime:
    """Return the instant as an aware `datetime` in UTC, cut to microseconds. Raises ValueError where it isn't RFC 3339."""
    if _is_plain_utc(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # `canonical` says what is wrong
    return datetime.fromisoformat(canonical(text))


def _is_plain_utc(text: str) -> bool:
    """Return whether a text is a time in UTC, spelled as most are, or none: quicker than the regular expression."""
    marks, fraction = text[4:20:3], text[20:-1]
    if text[-1:] != "Z" or not text.isascii():
        return False
    return (
        marks == "--T::Z" if len(text) == _WHOLE else marks == "--T::." and fraction.isdigit() and len(fraction) <= 40
    )


def from_datetime(moment: datetime) -> str:
    """Return an aware `datetime` as RFC 3339 text in UTC, with microseconds. Raises ValueError where it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; pass an aware datetime such as datetime.now(UTC)")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def now() -> str:
    """Return the time of this machine's clock, with microseconds. Spells each second once: recorders ask for every event."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{_spelled(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(maxsize=2)
def _spelled(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def as_text(moment: datetime | str) -> str:
    """Return a time, however the caller has it, in the form that sorts. Raises ValueError where it isn't a time."""
    return canonical(moment if isinstance(moment, str) else from_datetime(moment))


def is_before(text: str, moment: datetime) -> bool:
    """Compare times; a text that is no time, as a foreign writer may put one, counts as before."""
    try:
        return to_datetime(text) < moment
    except ValueError:
        return True
