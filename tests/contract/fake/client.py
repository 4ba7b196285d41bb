"""A DynamoDB in memory: the calls of boto3's low-level client that behest makes, and only those.

Pure Python, deterministic, and fast: some microseconds a call. It keeps DynamoDB's rules as far as behest can meet them; what
behest doesn't do is refused with UnsupportedRequestError. That it can be believed is what the contract suite is for
(tests/contract/behaviours.py), which moto and a deployed emulator pass too.
"""

from __future__ import annotations

from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Final

from tests.contract.fake.attributes import InvalidAttributeError, copied, stored_item
from tests.contract.fake.expressions import holds
from tests.contract.fake.faults import UnsupportedRequestError, client_error, invalid
from tests.contract.fake.reading import key_span, page_of, place_of, positions_behind
from tests.contract.fake.requests import check_parameters, expressions_of, key_of, projected
from tests.contract.fake.table import FakeTable, Partition, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.contract.fake.expressions import Expression
    from tests.contract.fake.table import Index, StreamSink

    Item = dict[str, Any]

BATCH_KEYS: Final = 100
"""The most that one BatchGetItem takes (API reference, BatchGetItem)."""


class FakeDynamoDB:
    """The fake's client.

    `definitions` are create_table's arguments, as `Template().tables()` has them; `streams` take the records of the tables
    named. `clock` and `lag` say how far indexes are behind (none by default), `stale` how far a GetItem, BatchGetItem or Query is
    that doesn't ask for a consistent read, all in seconds. `served` says how many of the keys of a BatchGetItem get an answer,
    `fitting` how many of the items that fit a page are in it (all by default): the others are left for another request.
    """

    def __init__(
        self,
        definitions: Iterable[Mapping[str, Any]],
        streams: Mapping[str, StreamSink] | None = None,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        lag: Callable[[], float] = lambda: 0.0,
        stale: Callable[[], float] = lambda: 0.0,
        served: Callable[[int], int] = lambda keys: keys,
        fitting: Callable[[int], int] = lambda items: items,
    ) -> None:
        streams = streams or {}
        made = [FakeTable(each, streams.get(each["TableName"]), clock=clock, lag=lag) for each in definitions]
        self.tables = {table.name: table for table in made}
        self._stale = stale
        self._served = served
        self._fitting = fitting

    # ------------------------------------------------------------ writing

    def put_item(self, **request: Any) -> dict[str, Any]:
        """Write an item if the condition, where there is one, holds for what is there."""
        table = self._table("PutItem", request)
        try:
            item, size = stored_item(request["Item"])
            table.schema.check(item)
            for index in table.indexes.values():
                index.schema.check(item, index=index.name)
        except InvalidAttributeError as error:
            raise invalid("PutItem", str(error)) from None
        self._check_condition("PutItem", table, item, request)
        table.put(Stored(item, size))
        return _answer()

    def delete_item(self, **request: Any) -> dict[str, Any]:
        """Delete an item, if there is one."""
        table = self._table("DeleteItem", request)
        key = key_of("DeleteItem", table.schema, request["Key"])
        self._check_condition("DeleteItem", table, key, request)
        table.remove(key)
        return _answer()

    def _check_condition(self, operation: str, table: FakeTable, key: Item, request: Mapping[str, Any]) -> None:
        [condition] = expressions_of(operation, request, "ConditionExpression")
        if condition is None:
            return
        found = table.get(key)
        if not holds(condition.root, found.item if found else None, request):
            wanted = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            item = copied(found.item) if found and wanted else None
            raise client_error(operation, "ConditionalCheckFailedException", "The conditional request failed", item)

    # ------------------------------------------------------------ reading

    def get_item(self, **request: Any) -> dict[str, Any]:
        """Read an item."""
        table = self._table("GetItem", request)
        [projection] = expressions_of("GetItem", request, "ProjectionExpression")
        found = table.get(key_of("GetItem", table.schema, request["Key"]), self._behind(request))
        return _answer() if found is None else _answer(Item=projected(found.item, projection, request))

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """Read items by key, in no order."""
        check_parameters("BatchGetItem", request)
        [(name, wanted)] = request["RequestItems"].items()
        if wanted.keys() - {"Keys", "ConsistentRead"}:
            raise UnsupportedRequestError(f"BatchGetItem with {sorted(wanted)}")
        table = self._named("BatchGetItem", name)
        keys = [key_of("BatchGetItem", table.schema, key) for key in wanted["Keys"]]
        if not 1 <= len(keys) <= BATCH_KEYS:
            raise invalid("BatchGetItem", "Too many items requested for the BatchGetItem call")
        if len({str(key) for key in keys}) < len(keys):
            raise invalid("BatchGetItem", "Provided list of item keys contains duplicates")
        served = self._served(len(keys))
        behind = self._behind(wanted)
        found = [table.get(key, behind) for key in reversed(keys[:served])]
        unread = {name: {**wanted, "Keys": keys[served:]}} if served < len(keys) else {}
        return _answer(Responses={name: [copied(each.item) for each in found if each]}, UnprocessedKeys=unread)

    def query(self, **request: Any) -> dict[str, Any]:
        """Read a page of one partition, of the table or of an index."""
        table = self._table("Query", request)
        condition, projection = expressions_of("Query", request, "KeyConditionExpression", "ProjectionExpression")
        place = place_of("Query", table, request)
        hash_key, low, high = key_span(place.schema, condition, request)
        if isinstance(place, FakeTable):
            partition = place.partition(hash_key, self._behind(request))
        else:
            partition = place.partitions.get(hash_key, Partition())
        positions = range(*partition.span(low, high))
        if not request.get("ScanIndexForward", True):
            positions = positions[::-1]
        if "ExclusiveStartKey" in request:
            positions = positions_behind(partition, positions, place.key(request["ExclusiveStartKey"]))
        found = (partition.items[at] for at in positions)
        return self._page(table, place, found, projection, request)

    def scan(self, **request: Any) -> dict[str, Any]:
        """Read a page of a table or an index, partition by partition as they were made."""
        table = self._table("Scan", request)
        [projection] = expressions_of("Scan", request, "ProjectionExpression")
        place = place_of("Scan", table, request)
        found = place.rows()
        if "ExclusiveStartKey" in request:
            start = request["ExclusiveStartKey"]
            found = dropwhile(lambda stored: any(stored.item[name] != start[name] for name in start), found)
            next(found)
        return self._page(table, place, found, projection, request)

    def _page(
        self,
        table: FakeTable,
        place: FakeTable | Index,
        found: Iterable[Stored],
        projection: Expression | None,
        request: Mapping[str, Any],
    ) -> dict[str, Any]:
        page, is_cut = page_of(found, request.get("Limit"))
        fitting = self._fitting(len(page))
        page, is_cut = page[:fitting], is_cut or fitting < len(page)
        items = [projected(each.item, projection, request) for each in page]
        answer = _answer(Items=items, Count=len(page), ScannedCount=len(page))
        if is_cut:
            names = dict.fromkeys([*table.schema.names, *place.schema.names])
            answer["LastEvaluatedKey"] = {name: dict(page[-1].item[name]) for name in names}
        return answer

    def _behind(self, request: Mapping[str, Any]) -> float:
        return 0.0 if request.get("ConsistentRead") else self._stale()

    def describe_table(self, **request: Any) -> dict[str, Any]:
        """Tell that a table is active."""
        table = self._table("DescribeTable", request)
        return _answer(Table={"TableName": table.name, "TableStatus": "ACTIVE"})

    def _table(self, operation: str, request: Mapping[str, Any]) -> FakeTable:
        check_parameters(operation, request)
        return self._named(operation, request["TableName"])

    def _named(self, operation: str, name: str) -> FakeTable:
        if name not in self.tables:
            raise client_error(operation, "ResourceNotFoundException", "Requested resource not found")
        return self.tables[name]


def _answer(**fields: Any) -> dict[str, Any]:
    return {**fields, "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}
