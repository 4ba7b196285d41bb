"""Listing: what a query finds, read page by page as somebody goes through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")


class Listing(Iterable[Item]):
    """What a query finds. Each time it is gone through it is asked for anew, so it holds nothing, and is never used up.

    `list(…)` has it all. It is true where there is anything, which asks for the first. It is no iterator, so `next` wants
    ``iter(…)`` around it.
    """

    def __init__(self, ask: Callable[[], Iterator[Item]], what: str) -> None:
        self._ask = ask
        self._what = what

    def __iter__(self) -> Iterator[Item]:
        return self._ask()

    def __bool__(self) -> bool:
        return next(self._ask(), None) is not None

    def __repr__(self) -> str:
        return f"<{self._what}: go through them with `for`, or use list(…)>"
