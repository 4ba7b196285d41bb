"""What the tests here share."""

import pytest
from behest_langchain import BehestCallbackHandler

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch):
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")
    monkeypatch.delenv("LANGCHAIN_TRACING")


@pytest.fixture
def handler(stack):
    return BehestCallbackHandler(stack.store)


@pytest.fixture
def config(handler):
    return {"callbacks": [handler], "configurable": {"thread_id": "thread-1"}}
