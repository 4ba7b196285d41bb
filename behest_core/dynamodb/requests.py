"""How requests to DynamoDB are made and answered, whatever they are for: pages, and conditions that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.exceptions import ClientError


def item_of_failed_condition(error: ClientError) -> dict[str, Any] | None:
    """Return the item that a failed condition returned, empty where there was none; None for any other error."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        return None
    found: dict[str, Any] = error.response.get("Item", {})  # type: ignore[assignment]
    return found


def pages(ask: Callable[..., Any], request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Make a query or a scan and give its items, page by page, as far as the caller reads."""
    while True:
        answer = ask(**request)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
