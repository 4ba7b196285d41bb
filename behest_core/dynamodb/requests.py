"""How requests to DynamoDB are made and answered, whatever they are for: pages, conditions that fail, and what is left unread.

Nothing here tries for ever: botocore repeats a request that went wrong, these go on where an answer is not the whole.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_GET_ITEMS: Final = 100
"""How many items are asked for at once: as many as BatchGetItem takes."""

_SIDE_BY_SIDE: Final = 10
"""As many as boto3's clients have connections."""

_BATCH_GET_TRIES: Final = 8
_FIRST_PAUSE: Final = 0.1  # seconds


Given = TypeVar("Given")
Result = TypeVar("Result")


class Spread(Protocol):
    """`map`, or what does the same on several threads."""

    def __call__(self, function: Callable[[Given], Result], work: Iterable[Given], /) -> Iterable[Result]:
        """Apply the function to each, and give the results in order."""


def side_by_side(function: Callable[[Given], Result], work: Iterable[Given], /) -> Iterable[Result]:
    """Apply a function that makes a request to each, on threads that are gone when all is done: so a process may be forked."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
        return list(threads.map(function, work))


def pages(ask: Callable[..., Any], request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Make a query or a scan and return its items, page by page, as far as the caller reads."""
    while True:
        answer = ask(**request)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        request = {**request, "ExclusiveStartKey": answer["LastEvaluatedKey"]}


def put_if(client: DynamoDBClient, request: dict[str, Any]) -> dict[str, Any] | None:
    """Put an item on the request's condition.

    Return None where it was written, and where the condition failed the item that is there; it is empty where there is none.
    """
    try:
        client.put_item(**request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        found: dict[str, Any] = error.response.get("Item", {})  # type: ignore[assignment]
        return found
    return None


def batch_get(
    client: DynamoDBClient, table: str, keys: list[dict[str, Any]], sleep: Callable[[float], None]
) -> Iterator[dict[str, Any]]:
    """Read items by their keys, consistently, `BATCH_GET_ITEMS` at most; return those that are there, in no order.

    What DynamoDB leaves unread, busy or because an answer has 16 MB at most, is asked for again, after longer and longer pauses.
    Raises botocore's ClientError where it stays unread: it is not taken for missing.
    """
    for attempt in range(_BATCH_GET_TRIES):
        if attempt:
            sleep(_FIRST_PAUSE * 2 ** (attempt - 1))
        answer: Any = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
        yield from answer["Responses"].get(table, [])
        unread = answer.get("UnprocessedKeys", {})
        if table not in unread:
            return
        keys = list(unread[table]["Keys"])
    message = f"{len(keys)} keys of {table} were left unread {_BATCH_GET_TRIES} times"
    raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": message}}, "BatchGetItem")
