"""A stream in memory, and a mapping that delivers it."""

import pytest

from behest_core.testing import EventSourceMapping, FunctionSettings, ManualClock, MappingSettings, MemoryStream


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def stream(clock):
    return MemoryStream(clock=clock)


@pytest.fixture
def failures():
    return []


@pytest.fixture
def connect(stream, clock, failures):
    """Make a mapping of the stream to a function: ``connect(function, batch_size=2)``."""

    def connect(function, *, source=stream, random=None, lane_by="partition_key", retry_delay=None, **settings):
        return EventSourceMapping(
            source,
            function,
            MappingSettings(**settings),
            function=FunctionSettings(timeout_seconds=60, memory_mb=512),
            clock=clock,
            random=random,
            on_failure=failures.append,
            lane_by=lane_by,
            retry_delay=retry_delay or (lambda _retry: 0),
        )

    return connect
