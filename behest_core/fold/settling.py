"""What a state is once a commit is over: what reading it again would give, whether or not anybody does.

A handler may leave anything in its state: a float where the class says int, a tuple for a list, one list in two fields. Stored
and read again, such a state is another one. It must be that other one at once, or a slice would depend on where a batch ended.
So every state that a commit touched is written and read back when the commit is over.

The rules:

- A state whose class is plain (model/json.py) is written as MessagePack. That is quicker than JSON, and holds no whole number
  beyond 64 bits: what comes back then is the same in JSON and can be stored. Only an empty key has to be looked for.
- Any other state, and one that MessagePack doesn't hold, is written as JSON, and all of that is looked at.
- Which of the two it is depends on the state alone, so it is the same however the log is cut.
- A plain state is written as JSON once, when the fold is over, whatever the number of commits.
- How many bytes of JSON a state has isn't counted while it is far from its limit. They are at least as many as those of
  MessagePack and at most six times as many, with one more for each list (limits.py): a character has one byte there and six here
  where it is escaped, a small number one and four, an empty list one and four.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from behest_core.errors import InvalidValueError
from behest_core.model.json import check_storable, is_plain_type
from behest_core.model.limits import EXTENSION_BYTES, slice_size

_MOST_JSON: Final = 6  # bytes, for one of MessagePack
_EMPTY: Final = b"\xa0"  # an empty text in MessagePack, and part of some others
_EMPTY_KEY: Final = b'"":'  # in JSON, and the end of some keys with a quotation mark

_pack: Final = msgspec.msgpack.Encoder().encode
write: Final = msgspec.json.Encoder().encode
"""Return a state as JSON."""


class Settled(Struct):
    """A state as it was when a commit was over.

    `state` is worked on from then on, `kept` is what it was read from: JSON, or MessagePack where `unpack` reads that. `size` is
    the most that it counts as (limits.py); one that is too large for a slice isn't read back.
    """

    state: Any
    kept: bytes
    unpack: Callable[[bytes], Any] | None
    size: int

    def json(self) -> bytes:
        """Return what was kept, as JSON."""
        return self.kept if self.unpack is None else write(self.unpack(self.kept))

    def measure(self) -> int:
        """Return what it counts as, exactly, and know it from now on."""
        self.size = slice_size(self.json())
        return self.size


class Settling:
    """How the states of one class are read and settled. Raises TypeError or ValueError for one that can't be stored."""

    def __init__(self, name: str, state: type[Struct]) -> None:
        self._name = name
        self._is_plain = is_plain_type(state)
        self._unpack = msgspec.msgpack.Decoder(state).decode
        self._read = msgspec.json.Decoder(state).decode
        self.blank: Final = write(state())
        self._read(self.blank)

    def read(self, stored: bytes) -> Settled:
        """Return a stored state. Raises whatever the class refuses it with."""
        return Settled(self._read(stored), stored, None, slice_size(stored))

    def settle(self, state: object) -> Settled:
        """Return a state as it will be read again. Raises what says why it can't be stored, or read again."""
        if self._is_plain:
            try:
                packed = _pack(state)
                if len(packed) <= EXTENSION_BYTES:
                    settled = Settled(self._unpack(packed), packed, self._unpack, _MOST_JSON * len(packed))
                    if _EMPTY not in packed or _EMPTY_KEY not in write(state):
                        return settled
            except Exception:  # noqa: BLE001, S110 (it is JSON that decides)
                pass
        return self._settle_as_json(state)

    def _settle_as_json(self, state: object) -> Settled:
        stored = write(state)
        size = slice_size(stored)
        if size > EXTENSION_BYTES:
            return Settled(None, stored, None, size)
        try:
            settled = self.read(stored)
        except ValueError as error:
            raise InvalidValueError(f"extension {self._name}", "holds what its fields can't") from error
        check_storable(msgspec.json.decode(stored), self._name)
        return settled
