"""Faults of the calls of the database, each time that there is one for a quarter of an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ReadTimeoutError

from tests.alarms.making import QUARTER, RUN, answering, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.alarms.watch import Watch


def each_read(answer: Callable[[Watch], Callable[..., Any]]) -> Callable[[Watch], None]:
    """Return what lets each reading of states go wrong."""

    def befall(watch: Watch) -> None:
        write(watch)
        with answering("BatchGetItem", answer(watch)):
            watch.wait(QUARTER)

    return befall


def each_query(answer: Callable[..., Any]) -> Callable[[Watch], None]:
    """Return what answers each query of a sweep."""

    def befall(watch: Watch) -> None:
        write(watch)
        watch.wait(2)
        with answering("Query", answer):
            watch.sweep()

    return befall


def refused(code: str) -> Callable[..., Any]:
    def answer(call: Any, params: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "Any")

    return answer


def lost(call: Callable[[], Any], params: Any) -> Any:
    call()
    raise ReadTimeoutError(endpoint_url="https://dynamodb")


def stalled(watch: Watch) -> Callable[..., Any]:
    def answer(call: Callable[[], Any], _: Any) -> Any:
        watch.clock.advance(59)
        return call()

    return answer


def unprocessed(_: Any, params: Any) -> Any:
    return {"Responses": {table: [] for table in params["RequestItems"]}, "UnprocessedKeys": params["RequestItems"]}


def blocked(watch: Watch) -> None:
    """One run's save is refused, each time; others behind it are held up."""
    write(watch)
    write(watch, "run-2")

    def answer(call: Callable[[], Any], params: Any) -> Any:
        if params["TableName"] == watch.stack.state_table and params["Item"]["run_id"]["S"] == RUN:
            return refused("InternalServerError")(call, params)
        return call()

    with answering("PutItem", answer):
        watch.wait(QUARTER)


def stale(call: Callable[[], Any], params: Any) -> Any:
    """Answer from an index as it was before anything was written."""
    return {"Items": []} if "IndexName" in params else call()


def in_short_pages(call: Callable[[Any], Any], params: Any) -> Any:
    return call({**params, "Limit": 1})


def sweep_takes_long(watch: Watch) -> None:
    def answer(call: Callable[[], Any], _: Any) -> Any:
        watch.clock.advance(899)
        return call()

    write(watch)
    with answering("Query", answer):
        watch.sweep()
