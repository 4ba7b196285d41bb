"""How deep JSON may nest: so deep and no deeper, whatever the stack of the interpreter that reads it holds.

Decoders recurse, and fail where the stack ends: at some 985 levels in one process, elsewhere in another. A log has to fold the
same everywhere, so what nests deeper than NESTING is malformed, and that is seen without recursion. It is looked for where JSON
comes in from a table, a stream or a file, and before an event is written. How many values an array has is looked at here, too,
before they are made.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import accumulate, compress, count
from operator import countOf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NESTING: Final = 512
"""The most levels that the JSON of one event, or of a run record, may have. Every supported interpreter reads 700."""

_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
"""A string goes on to the end where it is not closed: looked for again from each of its quotes, it would take hours."""

_STEPS: Final = bytes({b"[": 1, b"{": 1, b"]": 255, b"}": 255}.get(bytes([byte]), 0) for byte in range(256))
"""How many levels each byte goes up or down; 255 is -1, as a signed byte."""

_ALL_BUT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ALL_BUT_TOKENS: Final = bytes(byte for byte in range(256) if byte not in b"[]{},")
_COMMA_IN_ARRAY: Final = (ord(","), 1)


def _depths(text: bytes) -> Iterator[int]:
    """Return how deep it is behind each byte of JSON without strings. Runs in C: 4 MB of brackets take a fifth of a second."""
    return accumulate(memoryview(text.translate(_STEPS)).cast("b"))


def nests_too_deep(text: bytes) -> bool:
    """Return whether JSON nests deeper than NESTING levels. What is no JSON may be either.

    Most texts are too short for that, or have too few brackets, which is cheap to see.
    """
    if len(text) <= 2 * NESTING or text.count(b"{") + text.count(b"[") <= NESTING:
        return False
    brackets = _STRINGS.sub(b"", text).translate(None, _ALL_BUT_BRACKETS)
    return max(_depths(brackets), default=0) > NESTING


def has_more_values(array: bytes, limit: int) -> bool:
    """Return whether a JSON array has more than `limit` values: cutting it would take 80 bytes for each, as short as they are."""
    if len(array) <= limit or array.count(b",") < limit:
        return False
    tokens = _STRINGS.sub(b"", array).translate(None, _ALL_BUT_TOKENS)
    return countOf(zip(tokens, _depths(tokens), strict=True), _COMMA_IN_ARRAY) >= limit


def shallow_part(events: bytes) -> bytes | None:
    """Return the events of a JSON array before the first that nests too deep, as an array; None where none does."""
    if not nests_too_deep(events):
        return None
    text = _STRINGS.sub(lambda found: bytes(len(found[0])), events)
    too_deep = next(compress(count(), map(NESTING.__lt__, _depths(text))))
    commas = compress(range(too_deep), map(_COMMA_IN_ARRAY.__eq__, zip(text, _depths(text), strict=True)))
    last = deque(commas, maxlen=1)
    return events[: last[0] if last else 1] + b"]"
