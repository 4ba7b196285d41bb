"""What a page of a run takes of the server, with DynamoDB by moto in the same process, and how large it is when compressed."""

from __future__ import annotations

import time
import zlib

import pytest

from behest_core.testing import LocalStack
from behest_core.web.application import App
from tests.builders import at, model_started, run_completed, run_record, run_started, text_delta
from tests.web.pages import Pages

ROUNDS = 7
GOALS = {200: 100, 20_000: 500}  # milliseconds of server time, by the events of a run
LARGEST_KB = 150
PATHS = ("/run?id=r", "/run/events?id=r", "/run/slices?id=r", "/run/at?id=r&at=100")


@pytest.mark.benchmark
@pytest.mark.parametrize("count", GOALS)
def test_the_pages_of_a_run(count: int):
    with LocalStack() as stack:
        stack.store.event_log.create(run_record("r", created_at=at(0)))
        events = [run_started(), model_started(), *[text_delta(delta="a word ")] * (count - 3), run_completed()]
        for first in range(0, count, 100):
            stack.store.append("r", events[first : first + 100])
        stack.deliver()
        pages = Pages(App(stack.store))
        for path in PATHS:
            taken, size = [], 0
            for _ in range(ROUNDS):
                began = time.perf_counter()
                got = pages.get(path)
                taken.append(1000 * (time.perf_counter() - began))
                assert got.status == 200
                size = len(zlib.compress(got.body.encode())) // 1024
            print(
                f"\n{path}, a run of {count:,} events: {min(taken):.0f} ms (goal {GOALS[count]}), "
                f"{size} KB compressed (goal {LARGEST_KB})"
            )
