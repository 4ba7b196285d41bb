"""What DynamoDB answers where it refuses: botocore's ClientError, in the shape that botocore itself makes."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


class UnsupportedRequestError(Exception):
    """behest makes no such request as far as the fake knows. Teach the fake, and the contract suite, what DynamoDB does."""


def client_error(operation: str, code: str, message: str, item: dict[str, Any] | None = None) -> ClientError:
    response: dict[str, Any] = {
        "Error": {"Message": message, "Code": code},
        "ResponseMetadata": {"HTTPStatusCode": 500 if code == "InternalServerError" else 400, "RetryAttempts": 0},
        "message": message,
    }
    if item is not None:
        response["Item"] = item
    return ClientError(response, operation)  # type: ignore[arg-type]


def invalid(operation: str, message: str) -> ClientError:
    return client_error(operation, "ValidationException", message)


def throttled(operation: str) -> ClientError:
    return client_error(
        operation, "ThrottlingException", "Throughput exceeds the current capacity of your table or index."
    )


def internal(operation: str) -> ClientError:
    """Return the 500 after which nobody knows whether a write happened."""
    return client_error(
        operation, "InternalServerError", "The request processing has failed because of an unknown error."
    )
