"""Callbacks that may end a run: they wait until it is in the log, and hold up no event loop meanwhile.

langchain-core looks a callback up for each event. From asynchronous code it awaits what is a coroutine function, and calls the
rest. From synchronous code it would run each coroutine in an event loop of its own, and so take away the one that the thread has.
So these callbacks are coroutine functions where they are looked up in an event loop, and nowhere else.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from behest_core.recording.adapter import END_WAIT, unobtrusive

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.recording.recorder import RunRecorder


def ending(callback: Callable[..., RunRecorder | None]) -> Any:  # noqa: ANN401 (it has two types)
    """Make a callback of a method that returns what is to be closed, if anything is."""
    return _Ending(callback)


class _Ending:
    def __init__(self, callback: Callable[..., RunRecorder | None]) -> None:
        self.__doc__ = callback.__doc__
        self._callback = callback

    def __get__(self, handler: object, owner: type) -> Callable[..., Any]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return partial(self._call, handler)
        return partial(self._call_and_await, handler)

    @unobtrusive()
    def _call(self, *args: object, **kwargs: object) -> None:
        if (recorder := self._callback(*args, **kwargs)) is not None:
            recorder.close(END_WAIT)

    async def _call_and_await(self, *args: object, **kwargs: object) -> None:
        with unobtrusive():
            if (recorder := self._callback(*args, **kwargs)) is not None:
                await recorder.aclose(END_WAIT)
