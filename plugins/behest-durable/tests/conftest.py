"""What the tests here share."""

import pytest
from behest_durable import recorded
from durable_processes import Service

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]


@pytest.fixture
def service():
    """Return a service that runs durable functions, in processes that begin anew with each invocation."""
    with Service() as running:
        yield running


@pytest.fixture
def record(stack):
    """Make a durable function of a handler, recorded."""

    def make(handler, **more):
        return recorded(stack.store, **{"provider": "stub", "model": "stub-1", **more})(handler)

    return make
