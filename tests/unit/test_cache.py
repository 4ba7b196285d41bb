from __future__ import annotations

from behest_core.model.cache import BoundedCache

NAMES = 2_000
"""Bytes that hold some entries of short names, and not many."""


def test_what_was_put_is_kept_until_it_is_taken_out():
    cache: BoundedCache[int] = BoundedCache(NAMES)
    cache.put("a", 1)
    cache.put("a", 2)
    assert (cache.get("a"), len(cache)) == (2, 1)
    assert (cache.pop("a"), cache.pop("a"), cache.get("a")) == (2, None, None)


def test_what_was_put_least_lately_goes_first():
    cache: BoundedCache[int] = BoundedCache(NAMES)
    cache.put("kept", 0)
    for n in range(100):
        cache.put(str(n), n)
        cache.put("kept", n)
    assert cache.get("kept") == cache.get("99") == 99
    assert cache.get("0") is None
    assert 1 < len(cache) < 10


def test_the_bound_is_of_names_and_values_together():
    cache: BoundedCache[bytes] = BoundedCache(100_000, size_of=len)
    for n in range(10):
        cache.put(str(n), bytes(30_000))
    assert len(cache) == 3
    cache.put("n" * 90_000, b"")
    assert len(cache) == 1


def test_what_is_beyond_the_bound_alone_is_not_kept():
    cache: BoundedCache[bytes] = BoundedCache(1_000, size_of=len)
    cache.put("small", b"")
    cache.put("large", bytes(1_000))
    assert cache.get("large") is None
    assert len(cache) == 0


def test_what_was_taken_out_makes_room():
    cache: BoundedCache[bytes] = BoundedCache(10_000, size_of=len)
    for n in range(100):
        cache.put(str(n), bytes(8_000))
        cache.pop(str(n))
    cache.put("last", bytes(8_000))
    assert cache.get("last") == bytes(8_000)
