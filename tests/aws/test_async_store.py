"""AsyncRunStore: what RunStore does, for asyncio."""

import asyncio
import inspect
import threading

import pytest

from behest_core import AsyncRunStore, RunStore
from behest_core.async_store import PAGE, THREADS
from behest_core.errors import RunNotFoundError, SequenceConflictError, WaitTimeoutError
from behest_core.model.state import RunStatus
from tests.builders import run_completed, run_started, text_delta

METHODS = sorted(name for name in vars(RunStore) if not name.startswith("_") and name != "looks")


@pytest.fixture
def store(stack):
    return AsyncRunStore(stack.store)


@pytest.fixture
def run(store):
    """Create the run `r` with one event."""
    store.store.create_run(provider="p", model="m", run_id="r", session_id="s")
    store.store.append("r", [run_started()])


async def no_sleep(seconds):
    await asyncio.sleep(0)


@pytest.mark.parametrize("name", METHODS)
def test_it_has_every_method_of_a_store_with_the_same_arguments(name):
    mine, original = (
        {
            each: value.replace(annotation=None)
            for each, value in inspect.signature(getattr(of, name)).parameters.items()
        }
        for of in (AsyncRunStore, RunStore)
    )
    for each in ("sleep",):  # asyncio's own
        mine.pop(each, None), original.pop(each, None)
    assert mine == original


def test_it_writes_and_reads_as_a_store_does(stack, store):
    async def use():
        record = await store.create_run(provider="p", model="m", session_id="s")
        last = await store.append(record.run_id, [run_started(), text_delta(), run_completed()])
        stack.deliver()
        state = await store.wait(record.run_id, last)
        listed = [each async for each in store.states(status="completed")]
        events = [each.sequence async for each in store.events(record.run_id, after=1)]
        return state, listed, events, await store.state_at(record.run_id, sequence=1)

    state, listed, events, before = asyncio.run(use())
    assert listed == [state]
    assert (events, before.status) == ([2, 3], RunStatus.SESSION_LOADED)


def test_what_a_store_raises_is_raised(store):
    with pytest.raises(RunNotFoundError):
        asyncio.run(store.get_state("nowhere"))


def test_a_recorder_is_used_with_async_with(store):
    async def use():
        async with store.recorder(provider="p", model="m") as run:
            run.model_call()
        return [each.sequence async for each in store.events(run.run_id)]

    assert asyncio.run(use()) == [1, 2, 3]


def test_lists_are_read_no_further_ahead_than_a_page(store, run):
    store.store.append("r", [text_delta() for _ in range(4 * PAGE)])
    taken = []
    log = store.store.event_log
    read = log.events
    log.events = lambda *given: (taken.append(each) or each for each in read(*given))

    async def use():
        async for _ in store.events("r"):
            break

    asyncio.run(use())
    assert len(taken) == PAGE


def test_a_subscription_gives_what_is_there_and_what_comes(store, run):
    more = [[text_delta()], [], [run_completed()], []]

    async def sleep(seconds):
        events = more.pop(0)
        if events:
            await store.append("r", events)

    async def use():
        return [each.sequence async for each in store.subscribe("r", sleep=sleep)]

    assert asyncio.run(use()) == [1, 2, 3]


def test_waiting_ends_at_its_timeout(store, run):
    times = iter([0.0, 1.0, 31.0])
    with pytest.raises(WaitTimeoutError):
        asyncio.run(store.wait("r", 1, clock=lambda: next(times), sleep=no_sleep))


def test_many_that_wait_hold_up_nobody(stack, store, run):
    async def use():
        waiting = [asyncio.create_task(store.wait("r", 1)) for _ in range(3 * THREADS)]
        await asyncio.sleep(0)
        record = await store.get_record("r")
        stack.deliver()
        return record.run_id, {state.sequence for state in await asyncio.gather(*waiting)}

    assert asyncio.run(use()) == ("r", {1})


def test_an_append_that_is_cancelled_before_it_has_a_thread_never_begins(store, run):
    async def use():
        go = threading.Event()
        busy = [asyncio.create_task(store._run(go.wait)) for _ in range(THREADS)]
        append = asyncio.create_task(store.append("r", [text_delta()]))
        await asyncio.sleep(0)
        append.cancel()
        with pytest.raises(asyncio.CancelledError):
            await append
        go.set()
        await asyncio.gather(*busy)
        return [each.sequence async for each in store.events("r")]

    assert asyncio.run(use()) == [1]


def test_an_append_that_is_cancelled_once_it_has_begun_is_done(store, run, requests):
    begun, go = threading.Event(), threading.Event()
    requests.before("PutItem", lambda: (begun.set(), go.wait(30)))

    async def use():
        append = asyncio.create_task(store.append("r", [text_delta()], expected_sequence=1))
        await store._run(lambda: begun.wait(30))
        append.cancel()
        with pytest.raises(asyncio.CancelledError):
            await append
        go.set()
        await asyncio.get_running_loop().run_in_executor(None, store._pool.shutdown)
        return [each.sequence for each in store.store.events("r")]

    assert asyncio.run(use()) == [1, 2]
    with pytest.raises(SequenceConflictError):
        store.store.append("r", [text_delta()], expected_sequence=1)


def test_it_prints_as_what_it_is(stack, store):
    assert repr(store) == f"AsyncRunStore('{stack.event_table}', '{stack.state_table}')"
