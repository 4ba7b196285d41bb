"""What the adapters' users can set."""

from __future__ import annotations

import asyncio

import pytest
from behest_ag_ui import record
from behest_langchain import BehestCallbackHandler
from behest_openai_agents import BehestRunner
from behest_pydantic_ai import BehestRecording
from behest_strands import BehestHooks


async def _recorded(store, **settings):
    async def events():
        yield {}

    return [event async for event in record(events(), store, **settings)]


@pytest.mark.parametrize(
    "make",
    [
        BehestCallbackHandler,
        BehestHooks,
        BehestRecording,
        BehestRunner,
        lambda store, **settings: asyncio.run(_recorded(store, **settings)),
    ],
    ids=["langchain", "strands", "pydantic-ai", "openai-agents", "ag-ui"],
)
def test_a_setting_that_there_is_not_is_refused_when_the_adapter_is_made(make):
    with pytest.raises(TypeError, match="intervall is no setting"):
        make(None, intervall=1.0)
