"""A cache whose bound is memory, so that no value that is allowed can make it larger than it was planned to be."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

_ENTRY_BYTES: Final = 240
"""What an entry takes beside its key's text and its value: its places in two tables, a link, a number."""


class BoundedCache(Generic[Value]):
    """What is kept by name, such as by run id, in `limit` bytes: the names put least lately go first.

    `size_of` says how many bytes a value takes; by default they are as small as a number. Can be shared between threads.
    """

    def __init__(self, limit: int, size_of: Callable[[Value], int] = lambda _: 0) -> None:
        self._limit = limit
        self._size_of = size_of
        self._kept: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        _caches.add(self)

    def begin_anew(self) -> None:
        """Be as it has to be in a process that was forked: whoever held the lock is not there to finish."""
        self._lock = threading.Lock()
        self._bytes = sum(size for _, size in self._kept.values())

    def get(self, name: str) -> Value | None:
        """Return what is kept under the name, None where there is nothing."""
        found = self._kept.get(name)
        return None if found is None else found[0]

    def put(self, name: str, value: Value) -> None:
        """Keep a value, and forget others where there is no room for all; one that is beyond the limit alone isn't kept."""
        size = _ENTRY_BYTES + sys.getsizeof(name) + self._size_of(value)
        with self._lock:
            before = self._kept.get(name)
            self._kept[name] = value, size
            self._kept.move_to_end(name)
            self._bytes += size - (before[1] if before is not None else 0)
            while self._bytes > self._limit:
                self._drop(next(iter(self._kept)))

    def pop(self, name: str) -> Value | None:
        """Forget the name; return what was kept under it, None where there was nothing."""
        with self._lock:
            return self._drop(name)

    def _drop(self, name: str) -> Value | None:
        found = self._kept.pop(name, None)
        if found is None:
            return None
        self._bytes -= found[1]
        return found[0]

    def names(self) -> list[str]:
        """Return the names under which something is kept."""
        with self._lock:
            return list(self._kept)

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def __len__(self) -> int:
        return len(self._kept)


def _begin_anew() -> None:
    for cache in _caches:
        cache.begin_anew()


_caches: Final[weakref.WeakSet[BoundedCache[Any]]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_anew)
