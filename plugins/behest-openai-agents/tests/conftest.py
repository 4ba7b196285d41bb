"""What the tests here share."""

import asyncio

import pytest
from behest_openai_agents import BehestRunner

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]


@pytest.fixture
def runner(stack):
    return BehestRunner(stack.store)


@pytest.fixture
def loop():
    """Return the loop that `run_sync` takes, and leaves open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()
