"""What the tests here share."""

from weakref import WeakValueDictionary

import pytest
from behest_langchain import BehestCallbackHandler, known_runs

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch):
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")
    monkeypatch.delenv("LANGCHAIN_TRACING")


@pytest.fixture(autouse=True)
def no_runs_of_other_tests(monkeypatch):
    """Some never end, by intention."""
    monkeypatch.setattr(known_runs, "_by_table", WeakValueDictionary())


@pytest.fixture
def handler(stack):
    return BehestCallbackHandler(stack.store)


@pytest.fixture
def config(handler):
    return {"callbacks": [handler], "configurable": {"thread_id": "thread-1"}}
