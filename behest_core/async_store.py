"""AsyncRunStore: a RunStore for asyncio, such as a FastAPI application's.

- Each method is RunStore's of the same name, with the same arguments, run in a thread of the store's own pool. It has as many as
  boto3's client has connections, THREADS; whatever is more waits for one.
- Lists are asynchronous iterators, read in pages of PAGE ahead of who goes through them, and no further.
- `wait` and `subscribe` hold no thread while they wait.
- A call that is cancelled before it has a thread never begins. One that has begun goes on to its end, and its result is lost: an
  append is then done, or refused, as if nobody had cancelled it, in full or not at all for each item. To know, read the log on.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Self, TypeVar

from behest_core.dynamodb.subscription import Subscription
from behest_core.store import RunStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
    from datetime import timedelta
    from typing import Any

    from behest_core.model.packing import RecordedEvent
    from behest_core.model.state import RunState

THREADS: Final = 10
PAGE: Final = 25
"""How many events or states are read ahead: some MB of the largest."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _in_thread(
    method: Callable[Concatenate[RunStore, _P], _T],
) -> Callable[Concatenate[AsyncRunStore, _P], Coroutine[Any, Any, _T]]:
    """Return a method of RunStore as a coroutine function."""

    @functools.wraps(method)
    async def call(self: AsyncRunStore, /, *args: _P.args, **named: _P.kwargs) -> _T:
        return await self._run(functools.partial(method, self.store, *args, **named))

    return call


def _in_pages(
    method: Callable[Concatenate[RunStore, _P], Iterable[_T]],
) -> Callable[Concatenate[AsyncRunStore, _P], AsyncIterator[_T]]:
    """Return a method of RunStore that lists things as one that returns an asynchronous iterator."""

    @functools.wraps(method)
    def ask(self: AsyncRunStore, /, *args: _P.args, **named: _P.kwargs) -> AsyncIterator[_T]:
        return self._paged(method(self.store, *args, **named))

    return ask


def _at_once(
    method: Callable[Concatenate[RunStore, _P], _T],
) -> Callable[Concatenate[AsyncRunStore, _P], _T]:
    """Return a method of RunStore that makes no request as it is."""

    @functools.wraps(method)
    def call(self: AsyncRunStore, /, *args: _P.args, **named: _P.kwargs) -> _T:
        return method(self.store, *args, **named)

    return call


class AsyncRunStore:
    """A RunStore whose methods are awaited, and whose lists are gone through with ``async for``. `store` is the one beneath."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="behest-store")

    @classmethod
    def from_stack(cls, stack: str, *, expire_after: timedelta | None = None) -> Self:
        """Return the store of a CloudFormation stack, see `RunStore.from_stack`. Makes a request, so call it at the start."""
        return cls(RunStore.from_stack(stack, expire_after=expire_after))

    @classmethod
    def from_env(cls, *, expire_after: timedelta | None = None) -> Self:
        """Return the store of the tables that the environment names, see `RunStore.from_env`. Makes no request."""
        return cls(RunStore.from_env(expire_after=expire_after))

    def __repr__(self) -> str:
        return f"Async{self.store!r}"

    async def _run(self, call: Callable[[], _T]) -> _T:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, call)

    async def _paged(self, found: Iterable[_T]) -> AsyncIterator[_T]:
        left = iter(found)
        while page := await self._run(lambda: list(islice(left, PAGE))):
            for each in page:
                yield each

    create_run = _in_thread(RunStore.create_run)
    append = _in_thread(RunStore.append)
    annotate = _in_thread(RunStore.annotate)
    decide = _in_thread(RunStore.decide)
    delete_run = _in_thread(RunStore.delete_run)
    get_record = _in_thread(RunStore.get_record)
    get_state = _in_thread(RunStore.get_state)
    get_states = _in_thread(RunStore.get_states)
    state_at = _in_thread(RunStore.state_at)
    transcript = _in_thread(RunStore.transcript)
    search = _in_thread(RunStore.search)
    check_health = _in_thread(RunStore.check_health)
    events = _in_pages(RunStore.events)
    states = _in_pages(RunStore.states)
    parked_states = _in_pages(RunStore.parked_states)
    waiting_states = _in_pages(RunStore.waiting_states)
    stuck_states = _in_pages(RunStore.stuck_states)

    recorder = _at_once(RunStore.recorder)

    async def wait(
        self,
        run_id: str,
        sequence: int,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 (RunStore.wait has it)
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> RunState:
        """Wait until the run's state covers the sequence that an append returned, and return it, see `RunStore.wait`."""
        looks = self.store.looks(run_id, sequence, timeout, clock)
        while True:
            step: float | RunState = await self._run(functools.partial(next, looks))
            if not isinstance(step, float):
                return step
            await sleep(step)

    async def subscribe(
        self, run_id: str, *, after: int = 0, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[RecordedEvent]:
        """Return the run's events behind the sequence `after`, then those that come, until the run ends: `RunStore.subscribe`."""
        subscription = Subscription(self.store.event_log, self.store.state_table, run_id, after)
        while True:
            async for event in self._paged(subscription.look()):
                yield event
            if subscription.is_over:
                return
            await sleep(subscription.pause)
