"""What the tests here share."""

import pytest
from behest_strands import BehestHooks
from strands import Agent
from strands_models import StubModel

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]


@pytest.fixture
def agent_of(stack):
    """Make an agent that is recorded, of the turns of its model."""

    def make(*turns, settings=None, hooks=(), **more):
        behest = BehestHooks(stack.store, session_id="s", **(settings or {}))
        model = more.pop("model", None) or StubModel(*turns)
        return Agent(model=model, hooks=[behest, *hooks], callback_handler=None, **more)

    return make
