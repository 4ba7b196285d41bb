"""Run behest on a laptop, and test what is built on it. Needs the extra `testing`.

    LocalStack            the deployed stack in this process: template.yaml's tables on moto, the real projector
    Template              the tables, functions and stream mappings of template.yaml

    check_plugin          asserts that a plugin keeps behest's rules; given begins a plain test of one: see conformance.py

    EventSourceMapping    a model of what stands between a stream and a function, driven step by step
    MappingSettings       its settings: batch size, retries, age, lanes
    FunctionSettings      what it knows of the function: name, time-out, memory
    Delivery              a batch on its way, for a test that starts and ends invocations itself, with the results
                          Returned, Failed and Throttled
    LambdaContext         the second argument of a handler
    MemoryStream          a stream of shards in memory for it to read; RecordSource is the protocol of any other one, with
                          Shard and Page
    ManualClock           a time that moves when told to
    FunctionKilled, InvocationThrottled
                          what a handler raises to stand in for a dead process, or for Lambda's own throttling
    MappingNotIdleError   it was to deliver everything, and could not

The model needs nothing but the standard library. LocalStack, Template and what is for plugins
are imported when they are asked for.

Modules that the tests of plugins and adapters import by themselves:

    builders              events, commits and run records, with what a test doesn't care about filled in
    folding               a plugin's slice after some events, in any batches
    recorded              what an adapter recorded, and a table that refuses its writes
    adapter_kit           scripts that an adapter's framework plays, and what has to hold for the logs
    fixtures              a stack for each test; needs pytest
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from behest_core.testing.event_source_mapping import Delivery, EventSourceMapping, MappingNotIdleError
from behest_core.testing.invocation import (
    Failed,
    FunctionKilled,
    FunctionSettings,
    InvocationThrottled,
    LambdaContext,
    Returned,
    Throttled,
)
from behest_core.testing.lane import MappingSettings
from behest_core.testing.record_source import ManualClock, MemoryStream, Page, RecordSource, Shard

if TYPE_CHECKING:
    from behest_core.testing.conformance import check_plugin, given
    from behest_core.testing.local_stack import LocalStack
    from behest_core.testing.template import Template

__all__ = [
    "Delivery",
    "EventSourceMapping",
    "Failed",
    "FunctionKilled",
    "FunctionSettings",
    "InvocationThrottled",
    "LambdaContext",
    "LocalStack",
    "ManualClock",
    "MappingNotIdleError",
    "MappingSettings",
    "MemoryStream",
    "Page",
    "RecordSource",
    "Returned",
    "Shard",
    "Template",
    "Throttled",
    "check_plugin",
    "given",
]

_LAZY = {"check_plugin": "conformance", "given": "conformance", "LocalStack": "local_stack", "Template": "template"}


def __getattr__(name: str) -> object:
    """Import what needs moto or PyYAML, and say what to install where they aren't there."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        error.add_note('behest_core.testing needs more than behest itself: pip install "behest-core[testing]"')
        raise
