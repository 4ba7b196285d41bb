"""A table of the fake: items in partitions, sorted by range key, with indexes that may lag behind and a stream.

From the developer guide: a key's attribute is of the defined type and not empty; a partition key has at most 2,048 bytes, a sort
key 1,024 ("Constraints"). An item is in an index if it has all of its key attributes; indexes follow the table a little later
("Global secondary indexes"). A write that changes nothing writes no stream record ("DynamoDB Streams").
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tests.contract.fake.attributes import InvalidAttributeError, as_delivered, sort_value
from tests.contract.fake.faults import UnsupportedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Item = dict[str, Any]

_LAST: Final = "\U0010ffff"
_REMEMBERED: Final = 16
"""Writes of a partition that a stale read may not have seen yet."""

_KEY_BYTES: Final = {"HASH": 2048, "RANGE": 1024}


class StreamSink(Protocol):
    """What takes a table's stream records: `MemoryStream`, or what stands before it."""

    def append(
        self,
        keys: Item,
        new_image: Item | None = None,
        *,
        old_image: Item | None = None,
        event_name: str = "INSERT",
        by_time_to_live: bool = False,
    ) -> object:
        """Take one record."""


class Stored(NamedTuple):
    """An item as it is kept, and its size."""

    item: Item
    size: int


class Partition:
    """The items of one hash key, by range key. `tie` tells items of an index apart that have both keys in common."""

    def __init__(self) -> None:
        self.keys: list[tuple[Any, str]] = []
        self.items: list[Stored] = []
        self._former: deque[tuple[float, tuple[Any, str], Stored | None]] = deque(maxlen=_REMEMBERED)

    def remember(self, moment: float, key: tuple[Any, str], was: Stored | None) -> None:
        """Note what was at a key before it was written, so that an old answer can be given."""
        self._former.append((moment, key, was))

    def former(self, key: tuple[Any, str]) -> list[Stored | None]:
        """Return what was at a key before its latest writes."""
        return [was for _, of, was in self._former if of == key]

    def as_of(self, moment: float) -> Partition:
        """Return the partition as it was; at most so many writes ago as are remembered."""
        if not self._former or self._former[-1][0] <= moment:
            return self
        older = Partition()
        older.keys, older.items = list(self.keys), list(self.items)
        for written_at, key, was in reversed(self._former):
            if written_at <= moment:
                break
            if was is None:
                older.remove(key)
            else:
                older.put(key, was)
        return older

    def find(self, key: tuple[Any, str]) -> int | None:
        at = bisect_left(self.keys, key)
        return at if at < len(self.keys) and self.keys[at] == key else None

    def put(self, key: tuple[Any, str], stored: Stored) -> None:
        at = bisect_left(self.keys, key)
        if at < len(self.keys) and self.keys[at] == key:
            self.items[at] = stored
        else:
            self.keys.insert(at, key)
            self.items.insert(at, stored)

    def remove(self, key: tuple[Any, str]) -> None:
        at = self.find(key)
        if at is not None:
            del self.keys[at], self.items[at]

    def span(self, low: tuple[Any, bool] | None, high: tuple[Any, bool] | None) -> tuple[int, int]:
        """Return where range keys from `low` to `high` lie; each bound says whether it is included."""
        start, end = 0, len(self.keys)
        if low is not None:
            start = bisect_left(self.keys, (low[0], "")) if low[1] else bisect_right(self.keys, (low[0], _LAST))
        if high is not None:
            end = bisect_right(self.keys, (high[0], _LAST)) if high[1] else bisect_left(self.keys, (high[0], ""))
        return start, end


class KeySchema:
    """The names of a table's or an index's keys."""

    def __init__(self, elements: list[dict[str, str]], types: Mapping[str, str]) -> None:
        by_type = {element["KeyType"]: element["AttributeName"] for element in elements}
        self.hash: str = by_type["HASH"]
        self.range: str | None = by_type.get("RANGE")
        self.names = [self.hash] if self.range is None else [self.hash, self.range]
        self.types = types

    def of(self, item: Item) -> Item:
        return {name: item[name] for name in self.names}

    def sort_key(self, item: Item) -> Any:
        return "" if self.range is None else sort_value(item[self.range])

    def check(self, item: Item, *, index: str | None = None) -> None:
        """Raise InvalidAttributeError unless the item's key attributes can be keys; an index lets them be absent."""
        for name, kind in zip(self.names, _KEY_BYTES, strict=False):
            if name not in item:
                if index is None:
                    raise InvalidAttributeError("One or more parameter values were invalid: Missing the key " + name)
                continue
            [(found, value)] = item[name].items()
            if found != self.types[name]:
                where = "" if index is None else f" IndexName: {index}"
                raise InvalidAttributeError(
                    f"One or more parameter values were invalid: Type mismatch for key {name} "
                    f"expected: {self.types[name]} actual: {found}{where}"
                )
            if found == "S" and not value:
                raise InvalidAttributeError(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
                    f"empty string value. Key: {name}"
                )
            if found == "S" and len(value.encode()) > _KEY_BYTES[kind]:
                raise InvalidAttributeError(
                    f"One or more parameter values were invalid: Size of {kind} key has exceeded the maximum size limit"
                )


class Index:
    """A global secondary index."""

    def __init__(self, definition: Mapping[str, Any], types: Mapping[str, str], table: KeySchema) -> None:
        if definition["Projection"]["ProjectionType"] != "KEYS_ONLY":
            raise UnsupportedRequestError("an index that projects more than keys")
        self.name: str = definition["IndexName"]
        self.schema = KeySchema(definition["KeySchema"], types)
        self.projected = dict.fromkeys([*self.schema.names, *table.names])
        self.partitions: dict[str, Partition] = {}
        self._table = table

    def covers(self, item: Item | None) -> bool:
        return item is not None and all(name in item for name in self.schema.names)

    def key(self, item: Item) -> tuple[Any, str]:
        return self.schema.sort_key(item), str(self._table.of(item))

    def rows(self) -> Iterator[Stored]:
        """Return all entries."""
        for partition in self.partitions.values():
            yield from partition.items

    def apply(self, old: Item | None, new: Item | None) -> None:
        if old is not None and self.covers(old):
            self.partitions[sort_value(old[self.schema.hash])].remove(self.key(old))
        if new is not None and self.covers(new):
            entry = {name: new[name] for name in self.projected}
            partition = self.partitions.setdefault(sort_value(new[self.schema.hash]), Partition())
            partition.put(self.key(new), Stored(entry, len(str(entry))))


class FakeTable:
    """One table. `lag` gives the seconds after which a write is seen in the indexes, on `clock`."""

    def __init__(
        self,
        definition: Mapping[str, Any],
        stream: StreamSink | None = None,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        lag: Callable[[], float] = lambda: 0.0,
    ) -> None:
        types = {each["AttributeName"]: each["AttributeType"] for each in definition["AttributeDefinitions"]}
        self.name: str = definition["TableName"]
        self.schema = KeySchema(definition["KeySchema"], types)
        self.indexes = {
            each["IndexName"]: Index(each, types, self.schema) for each in definition.get("GlobalSecondaryIndexes", [])
        }
        self.partitions: dict[Any, Partition] = {}
        self._stream = stream
        self._view: str = definition.get("StreamSpecification", {}).get("StreamViewType", "")
        self._clock = clock
        self._lag = lag
        self._unindexed: deque[tuple[float, Item | None, Item | None]] = deque()

    def partition(self, hash_key: Any, behind: float = 0.0) -> Partition:
        """Return the items of a hash key, as a replica knows them that is so many seconds behind."""
        partition = self.partitions.get(hash_key)
        if partition is None:
            return Partition()
        return partition.as_of(self._clock() - behind) if behind else partition

    def get(self, key: Item, behind: float = 0.0) -> Stored | None:
        """Return an item, as a replica knows it that is so many seconds behind."""
        partition = self.partition(sort_value(key[self.schema.hash]), behind)
        at = partition.find(self.key(key))
        return None if at is None else partition.items[at]

    def put(self, stored: Stored) -> None:
        old = self.get(stored.item)
        partition = self.partitions.setdefault(sort_value(stored.item[self.schema.hash]), Partition())
        partition.remember(self._clock(), self.key(stored.item), old)
        partition.put(self.key(stored.item), stored)
        self._note(old.item if old else None, stored.item)

    def remove(self, key: Item, *, by_time_to_live: bool = False) -> None:
        old = self.get(key)
        if old is not None:
            partition = self.partitions[sort_value(key[self.schema.hash])]
            partition.remember(self._clock(), self.key(key), old)
            partition.remove(self.key(key))
            self._note(old.item, None, by_time_to_live=by_time_to_live)

    def former(self, key: Item) -> list[Stored | None]:
        """Return what an item was before its latest writes, as far as is remembered; None where it wasn't there."""
        partition = self.partitions.get(sort_value(key[self.schema.hash]), Partition())
        return partition.former(self.key(key))

    def restore(self, key: Item, to: Stored | None) -> None:
        """Let an item be what it once was, or gone: another table in place of this one, of whose making no stream tells."""
        old = self.get(key)
        partition = self.partitions.setdefault(sort_value(key[self.schema.hash]), Partition())
        if to is None:
            partition.remove(self.key(key))
        else:
            partition.put(self.key(key), to)
        self._index(old.item if old else None, to.item if to else None)

    def key(self, item: Item) -> tuple[Any, str]:
        """Return an item's place in its partition."""
        return self.schema.sort_key(item), ""

    def rows(self) -> Iterator[Stored]:
        """Return all items, by partition in the order these were made, and by range key."""
        for partition in self.partitions.values():
            yield from partition.items

    def index(self, name: str) -> Index:
        """Return an index as far as it has followed the table by now."""
        while self._unindexed and self._unindexed[0][0] <= self._clock():
            _, old, new = self._unindexed.popleft()
            for index in self.indexes.values():
                index.apply(old, new)
        return self.indexes[name]

    def _index(self, old: Item | None, new: Item | None) -> None:
        if self.indexes:
            self._unindexed.append((self._clock() + self._lag(), old, new))

    def _note(self, old: Item | None, new: Item | None, *, by_time_to_live: bool = False) -> None:
        if old == new:
            return
        self._index(old, new)
        if self._stream is None:
            return
        keys = self.schema.of(new or old or {})
        self._stream.append(
            keys,
            as_delivered(new) if new and "NEW" in self._view else None,
            old_image=as_delivered(old) if old and "OLD" in self._view else None,
            event_name="REMOVE" if new is None else "MODIFY" if old else "INSERT",
            by_time_to_live=by_time_to_live,
        )
