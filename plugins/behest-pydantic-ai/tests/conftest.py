"""What the tests here share."""

import asyncio

import pytest
from behest_pydantic_ai import BehestRecording
from pydantic_ai import Agent
from pydantic_ai_models import FIRST, LAST, scripted, weather

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]


@pytest.fixture(autouse=True)
def _event_loop():
    """Return `run_sync` a loop that is closed in the end."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def recording(stack):
    return BehestRecording(stack.store)


@pytest.fixture
def agent(recording):
    return Agent(scripted(FIRST, LAST), capabilities=[recording], tools=[weather], name="forecaster")
