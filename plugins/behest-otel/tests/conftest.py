"""What the tests here share."""

import pytest
from behest_otel import BehestSpanProcessor
from opentelemetry.sdk.trace import TracerProvider

from behest_core.testing.fixtures import stack, tables

__all__ = ["stack", "tables"]


@pytest.fixture
def tracer_of(stack):
    """Make a tracer whose spans are recorded."""

    def make(**settings):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BehestSpanProcessor(stack.store, **settings))
        return provider.get_tracer("an-instrumentation")

    return make
