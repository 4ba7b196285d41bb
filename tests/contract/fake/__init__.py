"""A DynamoDB in memory, for tests that need many thousands of calls, or a scheduler between any two of them."""

from tests.contract.fake.client import FakeDynamoDB
from tests.contract.fake.faults import UnsupportedRequestError, client_error, internal, invalid, throttled

__all__ = ["FakeDynamoDB", "UnsupportedRequestError", "client_error", "internal", "invalid", "throttled"]
