"""How deep JSON may nest: so deep and no deeper, whatever the stack of the interpreter that reads it holds.

Decoders recurse, and fail where the stack ends: at some 985 levels in one process, elsewhere in another. A log has to fold the
same everywhere, so what nests deeper than NESTING is malformed, and that is seen without recursion. It is looked for where JSON
comes in from a table, a stream or a file, and before an event is written. How many values an array has is looked at here, too,
before they are made.
"""

from __future__ import annotations

import re
from typing import Final

NESTING: Final = 512
"""The most levels that the JSON of one event, or of a run record, may have. Every supported interpreter reads 700."""

_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOKENS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},]', re.DOTALL)
_ONE_KIND: Final = bytes.maketrans(b"[]", b"{}")
_ALL_BUT_OPENING: Final = bytes(byte for byte in range(256) if byte not in b"[{")
_ALL_BUT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"{}")


def nests_too_deep(text: bytes) -> bool:
    """Return whether JSON nests deeper than NESTING levels. What is no JSON may be either.

    Most texts are too short for that, or have too few brackets, which is cheap to see. Of the others the innermost pairs are
    taken away, as often as there may be levels.
    """
    if len(text) <= 2 * NESTING or len(text.translate(None, _ALL_BUT_OPENING)) <= NESTING:
        return False
    brackets = _STRINGS.sub(b"", text).translate(_ONE_KIND).translate(None, _ALL_BUT_BRACKETS)
    for _ in range(NESTING):
        rest = brackets.replace(b"{}", b"")
        if len(rest) == len(brackets):
            break
        brackets = rest
    return bool(brackets)


def has_more_values(array: bytes, limit: int) -> bool:
    """Return whether a JSON array has more than `limit` values: cutting it would take 80 bytes for each, as short as they are."""
    if array.count(b",") < limit:
        return False
    depth, values = 0, 1
    for token in _TOKENS.finditer(array):
        match token[0]:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
            case b"," if depth == 1:
                values += 1
                if values > limit:
                    return True
    return False


def shallow_part(events: bytes) -> bytes | None:
    """Return the events of a JSON array before the first that nests too deep, as an array; None where none does."""
    if not nests_too_deep(events):
        return None
    depth, end = 0, 1
    for token in _TOKENS.finditer(events):
        match token[0]:
            case b"{" | b"[":
                depth += 1
                if depth > NESTING:
                    return events[:end] + b"]"
            case b"}" | b"]":
                depth -= 1
            case b"," if depth == 1:
                end = token.start()
    return None
